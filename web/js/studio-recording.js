/** Records in the browser what the studio sends, for download. Nothing is uploaded. */

import { byId, durationText, h, press, setText } from './dom.js';
import { language, t } from './words.js';

/** Formats, the best first. Unlike MP4, WebM takes pictures that change their size. */
const FORMATS = ['video/webm;codecs=vp8,opus', 'video/webm', 'video/mp4'];
const SOUND_FORMATS = ['audio/webm;codecs=opus', 'audio/mp4'];
/** How often the recorder hands over what it has, in milliseconds. */
const SLICE = 1_000;
/** Browsers keep recordings in memory or in a temporary file: a new one begins after this many bytes. */
const PART_BYTES_MAX = 1_000_000_000;
/** What is kept: recordings, and bytes of all of them. No recording begins beyond that, and none gives way. */
const PARTS_MAX = 20;
const KEPT_BYTES_MAX = 20_000_000_000;
/** Bits per second of the recorded picture, as a share of what is sent: it is not sent, so it may be better. */
const BETTER = 1.5;

/**
 * One recording.
 * @typedef {object} Part
 * @property {MediaRecorder} recorder
 * @property {Blob[]} pieces
 * @property {number} bytes
 * @property {number} since
 */

export class LocalRecording {
  #name;
  #button = byId('record', HTMLButtonElement);
  #panel = byId('recordings-panel', HTMLElement);
  #list = byId('recordings', HTMLUListElement);
  #wanted;
  /** @type {Part|null} */ #part = null;
  /** What is recorded. @type {MediaStreamTrack[]} */ #tracks = [];
  #number = 0;
  /** Bytes of the recordings in the list, and what the browser has room for. */ #kept = 0;
  #room = KEPT_BYTES_MAX;
  #hint = byId('recordings-room', HTMLElement);

  /**
   * @param {string} name Of the broadcast.
   * @param {() => {tracks: MediaStreamTrack[], bitrate: number}} wanted What there is to record.
   */
  constructor(name, wanted) {
    this.#name = name;
    this.#wanted = wanted;
    this.#button.hidden = typeof MediaRecorder !== 'function';
    this.#button.addEventListener('click', () => this.#toggle());
  }

  get running() {
    return this.#part !== null;
  }

  /** What is sent has changed. A recorder cannot follow, so a new recording begins. */
  follow() {
    const { tracks } = this.#wanted();
    this.#button.disabled = tracks.length === 0 && !this.#part;
    const isSame = tracks.length === this.#tracks.length && tracks.every((track) => this.#tracks.includes(track));
    if (!this.#part || isSame) return;
    this.#end();
    if (tracks.length > 0) this.#begin();
  }

  #toggle() {
    if (this.#part) this.#end();
    else void this.#start();
  }

  /** Begins once it is known how much there is room for. */
  async #start() {
    try {
      const { quota = KEPT_BYTES_MAX, usage = 0 } = await navigator.storage.estimate();
      this.#room = Math.min(KEPT_BYTES_MAX, this.#kept + quota - usage);
    } catch {
      // Nobody knows, in insecure contexts for example.
    }
    if (!this.#part) this.#begin();
  }

  /** Whether nothing more can be kept. */
  get #isFull() {
    return this.#list.children.length >= PARTS_MAX || this.#left <= 0;
  }

  /** Bytes for which there is still room. */
  get #left() {
    return this.#room - this.#kept - (this.#part?.bytes ?? 0);
  }

  #begin() {
    this.#panel.hidden = false;
    this.#show();
    if (this.#isFull) return;
    const { tracks, bitrate } = this.#wanted();
    const mimeType = recordingType(tracks);
    const recorder = new MediaRecorder(new MediaStream(tracks), { mimeType, videoBitsPerSecond: bitrate * BETTER });
    /** @type {Part} */
    const part = { recorder, pieces: [], bytes: 0, since: Date.now() };
    recorder.addEventListener('dataavailable', ({ data }) => {
      part.pieces.push(data);
      part.bytes += data.size;
      if (this.#part !== part || (part.bytes < PART_BYTES_MAX && !this.#isFull)) return;
      this.#end();
      this.#begin();
    });
    recorder.addEventListener('stop', () => {
      if (this.#part === part) this.#part = null; // its tracks have ended
      this.#offer(part);
      this.#show();
    });
    recorder.start(SLICE);
    this.#part = part;
    this.#tracks = tracks;
    this.#show();
  }

  #end() {
    const part = this.#part;
    this.#part = null;
    if (part && part.recorder.state !== 'inactive') part.recorder.stop();
    this.#show();
  }

  /** @param {Part} part */
  #offer({ recorder, pieces, bytes, since }) {
    if (bytes === 0) return;
    this.#number += 1;
    const type = recorder.mimeType.split(';')[0];
    const url = URL.createObjectURL(new Blob(pieces, { type }));
    const file = `${this.#name}-${this.#number}.${type.split('/')[1]}`;
    const facts = h('span', { class: 'muted' }, `${durationText(Date.now() - since)} · ${sizeText(bytes)}`);
    const remove = h('button', {
      'type': 'button',
      'class': 'button quiet small',
      'aria-label': t('remove-file', { file }),
    });
    remove.append(t('remove'));
    const item = h('li', {}, h('a', { href: url, download: file }, file), facts, remove);
    remove.addEventListener('click', () => {
      URL.revokeObjectURL(url);
      item.remove();
      this.#kept -= bytes;
      this.#show();
    });
    this.#list.prepend(item);
    this.#kept += bytes;
  }

  #show() {
    press(this.#button, this.running, this.running ? 'stop' : 'record');
    const left = { size: sizeText(Math.max(0, this.#left)), count: PARTS_MAX - this.#list.children.length };
    setText(this.#hint, this.#isFull ? t('publish-recordings-full') : t('publish-recordings-room', left));
  }
}

/** @param {number} bytes */
function sizeText(bytes) {
  const digits = { maximumFractionDigits: 1 };
  return bytes < 1e9
    ? `${(bytes / 1e6).toLocaleString(language, digits)} MB`
    : `${(bytes / 1e9).toLocaleString(language, digits)} GB`;
}

/**
 * The best format that the browser records.
 * @param {MediaStreamTrack[]} tracks
 */
export function recordingType(tracks) {
  const hasPicture = tracks.some(({ kind }) => kind === 'video');
  return (hasPicture ? FORMATS : SOUND_FORMATS).find((type) => MediaRecorder.isTypeSupported(type));
}
