/**
 * The chat of one broadcast: what has been said, and what this user may do. Over the data channel of a client where
 * there is one, otherwise over HTTP.
 */

import { eventsOf } from './aerial-channel.js';
import { EventStream } from './event-stream.js';
import { read, store } from './storage.js';

const NAME_KEY = 'aerial-chat-name';
const DEVICE_KEY = 'aerial-chat-device';
/** How long a data channel may take before the chat goes over HTTP, in milliseconds. */
const CHANNEL_PATIENCE = 3_000;
/** Pause before the stream is opened again, in milliseconds; it doubles with each failure. */
const PAUSE_MIN = 1_000;
const PAUSE_MAX = 15_000;
/** Messages that are kept. */
const MESSAGES_MAX = 300;

/** @typedef {{id: number, from: number, name: string, moderator?: boolean, text: string, time: number}} ChatMessage */
/** @typedef {'channel'|'stream'|'none'} Transport */

/**
 * Events: `change` (anything about the room), `messages` (the list is another one), `message` (detail: one more),
 * `reactions` (detail: how many of each are new), `refused` (detail: the server's event).
 */
export class ChatRoom extends EventTarget {
  /** @type {ChatMessage[]} */ messages = [];
  you = 0;
  moderator = false;
  speaks = false;
  /** Until when this user may not write, as Date.now(); 0 if that does not end. */ silentUntil = 0;
  slow = 0;
  people = 0;
  /** What the server calls this user. */ name = '';
  /** The longest message and name, in characters. */ limits = { text: 500, name: 32 };
  /** @type {Transport} */ transport = 'none';

  #url;
  #token;
  /** @type {import('./client.js').Client|null} */ #client = null;
  /** @type {EventStream|null} */ #stream = null;
  #key = '';
  #failures = 0;
  #running = false;
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #timer;

  /**
   * @param {string|URL} url `/api/broadcasts/{name}/chat`.
   * @param {() => string} token
   */
  constructor(url, token) {
    super();
    this.#url = url;
    this.#token = token;
  }

  /** The name that this browser remembers. */
  get wantedName() {
    return read(NAME_KEY) ?? '';
  }

  /** Takes part. */
  start() {
    if (this.#running) return;
    this.#running = true;
    if (this.#client?.channelOpen) this.#use('channel');
    else this.#timer = setTimeout(() => this.#listen(), CHANNEL_PATIENCE);
  }

  stop() {
    this.#running = false;
    clearTimeout(this.#timer);
    this.#close();
    this.transport = 'none';
  }

  /**
   * Uses the data channel of a client.
   * @param {import('./client.js').Client} client
   */
  attach(client) {
    this.#client = client;
    client.addEventListener('channel', () => {
      if (client === this.#client) this.#onChannel(client.channelOpen);
    });
    client.addEventListener('message', (event) => {
      if (client === this.#client) this.#take(/** @type {CustomEvent} */ (event).detail);
    });
    client.addEventListener('statechange', () => this.#claim());
  }

  /** @param {string} name */
  rename(name) {
    store(NAME_KEY, name);
    this.#request({ type: 'join', name, device: device() });
  }

  /** @param {string} text */
  say(text) {
    this.#request({ type: 'say', text });
  }

  /** @param {string} reaction */
  react(reaction) {
    this.#request({ type: 'react', reaction });
  }

  /** @param {number} message */
  delete(message) {
    this.#request({ type: 'delete', message });
  }

  /** @param {number} member @param {number} seconds */
  silence(member, seconds) {
    this.#request({ type: 'timeout', member, seconds });
  }

  /** @param {number} member */
  ban(member) {
    this.#request({ type: 'ban', member });
  }

  /** @param {number} seconds */
  setSlow(seconds) {
    this.#request({ type: 'slow', seconds });
  }

  // --- inside -------------------------------------------------------------------------------

  /** @param {boolean} open */
  #onChannel(open) {
    if (!this.#running) return;
    if (open) {
      clearTimeout(this.#timer);
      this.#close();
      this.#use('channel');
    } else if (this.transport === 'channel') {
      this.#use('none');
      this.#timer = setTimeout(() => this.#listen(), CHANNEL_PATIENCE);
    }
  }

  /** @param {Transport} transport */
  #use(transport) {
    this.transport = transport;
    this.#tell('change');
  }

  #close() {
    this.#stream?.close();
    this.#stream = null;
    this.#key = '';
  }

  /** Opens the stream over HTTP. */
  #listen() {
    if (!this.#running || this.#client?.channelOpen) return;
    const stream = new EventStream(this.#url, this.#token());
    this.#stream = stream;
    stream.addEventListener('chat', (event) => {
      if (stream !== this.#stream) return;
      this.#failures = 0;
      for (const one of eventsOf(/** @type {MessageEvent} */ (event).data)) {
        if (one.type === 'data' || one.type === 'control') this.#client?.take(one);
        else this.#take(one);
      }
    });
    stream.addEventListener('error', () => {
      if (stream !== this.#stream) return;
      this.#close();
      this.#use('none');
      const pause = Math.min(PAUSE_MIN * 2 ** this.#failures, PAUSE_MAX);
      this.#failures += 1;
      this.#timer = setTimeout(() => this.#listen(), pause * (0.75 + 0.5 * Math.random()));
    });
  }

  /** Proves that this user is the publisher, unless a token or the channel shows that already. */
  #claim() {
    const session = this.#client?.sessionUrl.split('/').pop();
    if (session && this.#key && !this.moderator) this.#request({ type: 'claim', session });
  }

  /** @param {{type: string} & Record<string, unknown>} request */
  #request(request) {
    if (this.#client?.send(request)) return;
    if (this.#key) void this.#post({ ...request, key: this.#key });
  }

  /** @param {object} request Refusals come as events, too. */
  async #post(request) {
    const token = this.#token();
    const headers = { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) };
    try {
      await fetch(this.#url, { method: 'POST', headers, body: JSON.stringify(request), cache: 'no-store' });
    } catch {
      this.dispatchEvent(new CustomEvent('refused', { detail: { reason: 'offline' } }));
    }
  }

  /** @param {import('./aerial-channel.js').ServerEvent} event */
  #take(event) {
    switch (event.type) {
      case 'hello':
        this.#greet(event);
        break;
      case 'standing':
        this.#stand(event);
        break;
      case 'message':
        this.messages.push(/** @type {any} */ (event));
        if (this.messages.length > MESSAGES_MAX) this.messages.shift();
        this.dispatchEvent(new CustomEvent('message', { detail: event }));
        return;
      case 'deleted':
        return this.#remove(({ id }) => id === event.message);
      case 'removed':
        return this.#remove(({ from }) => from === event.from);
      case 'people':
        this.people = event.count;
        break;
      case 'slow':
        this.slow = event.seconds;
        break;
      case 'reactions':
        this.dispatchEvent(new CustomEvent('reactions', { detail: event.added }));
        return;
      case 'refused':
        this.dispatchEvent(new CustomEvent('refused', { detail: event }));
        return;
      default:
        return;
    }
    this.#tell('change');
  }

  /** @param {any} hello */
  #greet(hello) {
    this.#key = hello.key ?? '';
    if (this.#key) this.transport = 'stream';
    this.messages = hello.history;
    this.slow = hello.slow;
    this.people = hello.people;
    this.limits = hello.limits;
    this.#stand(hello);
    this.#tell('messages');
    // Also without a name: the device is what a time-out is about.
    this.#request({ type: 'join', name: this.wantedName, device: device() });
    this.#claim();
  }

  /** @param {any} standing */
  #stand({ you, name, moderator, speaks, silent }) {
    Object.assign(this, { you, name, moderator, speaks });
    this.silentUntil = silent ? Date.now() + silent * 1000 : 0;
  }

  /** @param {(message: ChatMessage) => boolean} gone */
  #remove(gone) {
    this.messages = this.messages.filter((message) => !gone(message));
    this.#tell('messages');
  }

  /** @param {string} event */
  #tell(event) {
    this.dispatchEvent(new Event(event));
  }
}

/** A random text by which the server recognises this browser. */
function device() {
  const known = read(DEVICE_KEY);
  if (known) return known;
  const bytes = [...crypto.getRandomValues(new Uint8Array(16))];
  const made = bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');
  store(DEVICE_KEY, made);
  return made;
}
