/** The server's broadcasts, all or one, kept current by server-sent events. */

import { KINDS, afterEvent } from './broadcast-list.js';
import { BroadcastPoll } from './broadcast-poll.js';
import { EventStream } from './event-stream.js';
import { SharedStream } from './shared-stream.js';
import { ROOT, at } from './site.js';
import { has, t } from './words.js';

/**
 * What does not suit some viewers.
 * @typedef {{kind: string, codec?: string, profile?: string, level?: string}} Misfit
 */

/**
 * @typedef {object} Broadcast
 * @property {string} name
 * @property {string} [title] What it is called, if not by its name.
 * @property {string} [description]
 * @property {string[]} [tags]
 * @property {'live'|'stale'|'slate'|'waiting'} state
 * @property {number} viewers
 * @property {string|null} started RFC 3339 time.
 * @property {'pipeline'|'whip'} source
 * @property {boolean} [chat] Its viewers may chat.
 * @property {boolean} [on_demand] Its source starts with the first viewer.
 * @property {{kind: 'video'|'audio', codec: string, transcoded_from?: string, stalled?: boolean, layers?: string[]}[]} tracks
 * @property {{name: string, kind?: 'video'|'audio', codec: string|null, viewers: number, misfit?: Misfit}[]} [renditions] `misfit` says why the
 *   server has added one.
 */

/** Pause before an event stream that was refused or has ended is reopened, in milliseconds; it doubles. */
const RETRY_MIN = 1_000;
const RETRY_MAX = 15_000;
/** A page that has been hidden for this many milliseconds closes its connection. */
const HIDDEN_MAX = 30_000;

/** Whether this page needs a stream of its own. */
let sharingFails = false;

/** Names a server accepts for a broadcast; the pattern fits `<input pattern>`. */
export const NAME_PATTERN = '[A-Za-z0-9_\\-][A-Za-z0-9._\\-]{0,63}';

/** So many broadcasts fit on one page. */
export const SEVERAL_MAX = 12;

/** What a name must not be. */
const RESERVED = ['whip', 'whep'];

/** @param {string} name */
export function isName(name) {
  return new RegExp(`^${NAME_PATTERN}$`).test(name) && !RESERVED.includes(name);
}

/** What people call a broadcast. @param {Broadcast} broadcast */
export const titleOf = ({ name, title }) => title ?? name;

const CODECS = new Map([
  ['h264', 'H.264'],
  ['h265', 'H.265'],
  ['vp8', 'VP8'],
  ['vp9', 'VP9'],
  ['av1', 'AV1'],
  ['opus', 'Opus'],
]);

/**
 * @param {Broadcast|undefined} broadcast
 * @returns {string} `H.264 + Opus`, empty if nothing is known.
 */
export function codecsText(broadcast) {
  const tracks = [...(broadcast?.tracks ?? [])].sort((a, b) => b.kind.localeCompare(a.kind)); // video first
  return tracks.map(({ codec }) => CODECS.get(codec) ?? codec.toUpperCase()).join(' + ');
}

/**
 * @param {Broadcast|undefined} broadcast
 * @returns {string} `Picture has stopped`, empty if every track arrives or the broadcast is not live.
 */
export function stalledText(broadcast) {
  if (broadcast?.state !== 'live') return '';
  const stalled = broadcast.tracks.filter((track) => track.stalled);
  return stalled.map(({ kind }) => t(`${kind}-stopped`)).join(', ');
}

/** @param {Misfit} misfit */
function misfitText({ kind, codec = '', profile = '', level = '' }) {
  const values = { codec: CODECS.get(codec) ?? codec, profile, level };
  return has(`misfit-${kind}`) ? t(`misfit-${kind}`, values) : kind;
}

/**
 * @param {Broadcast|undefined} broadcast
 * @returns {string} `H.264 for 2 viewers: a viewer does not accept VP8`, empty if nothing is transcoded automatically.
 */
export function transcodingText(broadcast) {
  const texts = [];
  for (const { codec, viewers, misfit } of broadcast?.renditions ?? []) {
    if (!misfit) continue;
    const name = CODECS.get(codec ?? '') ?? t('another-codec');
    texts.push(t('transcoded-for', { codec: name, count: viewers, reason: misfitText(misfit) }));
  }
  const foreign = (broadcast?.tracks ?? []).filter((track) => track.transcoded_from);
  texts.push(
    ...foreign.map(({ codec, transcoded_from }) =>
      t('transcoded-from', { codec: CODECS.get(codec) ?? codec, from: transcoded_from ?? '' }),
    ),
  );
  return texts.join('; ');
}

/** @param {Broadcast|undefined} broadcast True if it has sound and no picture. */
export function isSoundOnly(broadcast) {
  const kinds = (broadcast?.tracks ?? []).map(({ kind }) => kind);
  return kinds.includes('audio') && !kinds.includes('video');
}

/**
 * A name that nobody uses.
 * @param {string} name
 * @param {(name: string) => boolean} isTaken
 */
export function freeName(name, isTaken) {
  for (let number = 2; ; number += 1) {
    const free = `${name.slice(0, 58)}-${number}`;
    if (!isTaken(free)) return free;
  }
}

/** A default name, different from everybody else's. */
export const newName = () => `live-${(1_000 + Math.floor(Math.random() * 9_000)).toString()}`;

/**
 * The broadcast that a page's address names: `/watch/{name}`.
 * @param {string} page First part of the path.
 * @returns {string} Empty if there is none.
 */
export function nameFromPath(page) {
  const [first, name] = location.pathname.slice(ROOT.pathname.length).split('/');
  if (first !== page || !name) return '';
  try {
    return decodeURIComponent(name);
  } catch {
    return '';
  }
}

/**
 * Events: `broadcasts` (detail: Broadcast[]) at each change, `connection` (detail: boolean),
 * `refused` when the token is wrong: setting another one reopens the stream.
 */
export class BroadcastFeed extends EventTarget {
  /** @type {Broadcast[]|null} Null until the first answer. */ broadcasts = null;
  /** @type {boolean|null} Null until it is known. */ connected = null;

  #name;
  #polls;
  #token;
  /** @type {EventSource|EventStream|SharedStream|BroadcastPoll|null} */ #source = null;
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #timer;
  #pause = RETRY_MIN;

  /**
   * @param {string} [token] Bearer token; without one, only public broadcasts are listed.
   * @param {{name?: string, polls?: boolean}} [options] `name`: only this broadcast. `polls`: asks for it now and then
   *   instead of holding a connection, of which browsers allow six to one server over HTTP/1.1.
   */
  constructor(token = '', { name = '', polls = false } = {}) {
    super();
    this.#token = token;
    this.#name = name;
    this.#polls = polls;
  }

  /** @param {string} token */
  set token(token) {
    this.#token = token;
    this.#close();
    this.#open();
  }

  start() {
    document.addEventListener('visibilitychange', this.#onVisibility);
    addEventListener('online', this.#open);
    addEventListener('pagehide', this.#close);
    addEventListener('pageshow', this.#open);
    this.#open();
  }

  /** @param {string} name */
  find(name) {
    return this.broadcasts?.find((broadcast) => broadcast.name === name);
  }

  #open = () => {
    if (this.#source) return;
    clearTimeout(this.#timer);
    const source = this.#connect();
    this.#source = source;
    for (const kind of KINDS)
      source.addEventListener(kind, (event) => this.#onEvent(kind, /** @type {MessageEvent} */ (event).data));
    source.addEventListener('error', () => this.#onError(source));
  };

  #connect() {
    const name = encodeURIComponent(this.#name);
    if (this.#polls) return new BroadcastPoll(at(`api/broadcasts/${name}`), this.#token);
    if (SharedStream.isAvailable && !sharingFails) {
      try {
        return new SharedStream(this.#name, this.#token);
      } catch {
        sharingFails = true; // the page's policy forbids workers, or it is on another site
      }
    }
    const url = at(name ? `api/events?broadcast=${name}` : 'api/events');
    return this.#token ? new EventStream(url, this.#token) : new EventSource(url);
  }

  #close = () => {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  };

  /**
   * @param {import('./broadcast-list.js').Kind} kind
   * @param {any} data As text, unless it comes from the worker.
   */
  #onEvent(kind, data) {
    this.#pause = RETRY_MIN;
    this.#connection(true);
    try {
      this.broadcasts = afterEvent(this.broadcasts, kind, typeof data === 'string' ? JSON.parse(data) : data);
    } catch (error) {
      console.warn('unreadable event', error);
      return;
    }
    this.dispatchEvent(new CustomEvent('broadcasts', { detail: this.broadcasts }));
  }

  /** @param {EventSource|EventStream|SharedStream|BroadcastPoll} source */
  #onError(source) {
    if (source !== this.#source) return;
    if ('refused' in source && source.refused) {
      this.dispatchEvent(new Event('refused')); // asking again would not help
      return;
    }
    if (source instanceof SharedStream && source.broken) sharingFails = true;
    this.#connection(false);
    // Browsers reopen a dropped stream by themselves, but at their own pace, and a refused one
    // never.
    this.#close();
    this.#timer = setTimeout(this.#open, this.#pause * (0.75 + Math.random() / 2));
    this.#pause = Math.min(this.#pause * 2, RETRY_MAX);
  }

  /** @param {boolean} connected */
  #connection(connected) {
    if (this.connected === connected) return;
    this.connected = connected;
    this.dispatchEvent(new CustomEvent('connection', { detail: connected }));
  }

  #onVisibility = () => {
    clearTimeout(this.#timer);
    if (document.hidden) this.#timer = setTimeout(this.#close, HIDDEN_MAX);
    else this.#open();
  };
}
