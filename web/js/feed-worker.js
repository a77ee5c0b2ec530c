/**
 * A SharedWorker: one event stream for all pages of a browser, which opens no more than six connections to a server
 * over HTTP/1.1. While all pages want the same broadcast, the stream is about that one.
 */

import { KINDS, afterEvent } from './broadcast-list.js';
import { EventStream } from './event-stream.js';
import { ROOT } from './site.js';

/** @typedef {import('./broadcasts.js').Broadcast} Broadcast */

/** The pages with the same token, and their stream. */
class Channel {
  #token;
  /** What each page wants: a broadcast's name, empty for all. @type {Map<MessagePort, string>} */ #pages = new Map();
  /** @type {EventStream|null} */ #stream = null;
  /** What the stream is about. */ #name = '';
  /** @type {Broadcast[]|null} Null until the first event. */ #broadcasts = null;

  /** @param {string} token */
  constructor(token) {
    this.#token = token;
  }

  /** @param {MessagePort} port @param {string} name */
  add(port, name) {
    this.#pages.set(port, name);
    this.#settle();
    if (this.#broadcasts) this.#tell(port);
  }

  /** @param {MessagePort} port @returns {boolean} True if it was the last one. */
  remove(port) {
    this.#pages.delete(port);
    if (this.#pages.size === 0) this.#close();
    return this.#pages.size === 0;
  }

  /** Opens the stream that all pages need. */
  #settle() {
    const names = new Set(this.#pages.values());
    const [only] = names;
    const name = names.size === 1 ? only : '';
    // A stream with more than is needed is not worth another connection.
    if (this.#stream && (this.#name === name || this.#name === '')) return;
    this.#close();
    this.#name = name;
    const url = new URL(name ? `api/events?broadcast=${encodeURIComponent(name)}` : 'api/events', ROOT);
    const stream = new EventStream(url, this.#token);
    this.#stream = stream;
    for (const kind of KINDS) {
      stream.addEventListener(kind, (event) => {
        if (stream === this.#stream) this.#take(kind, JSON.parse(/** @type {MessageEvent<string>} */ (event).data));
      });
    }
    stream.addEventListener('error', () => {
      if (stream !== this.#stream) return;
      this.#close();
      for (const port of this.#pages.keys()) port.postMessage({ error: true, refused: stream.refused });
      this.#pages.clear(); // those that are still there come back
    });
  }

  #close() {
    this.#stream?.close();
    this.#stream = null;
    this.#broadcasts = null;
  }

  /**
   * @param {import('./broadcast-list.js').Kind} kind
   * @param {any} data
   */
  #take(kind, data) {
    this.#broadcasts = afterEvent(this.#broadcasts, kind, data);
    const changed = new Set(kind === 'changes' ? [...data.removed, ...data.changed.map(nameOf)] : []);
    for (const [port, name] of this.#pages) {
      if (kind !== 'changes' || !name || changed.has(name)) this.#tell(port);
    }
  }

  /** @param {MessagePort} port */
  #tell(port) {
    const name = this.#pages.get(port);
    const broadcasts = this.#broadcasts ?? [];
    port.postMessage({ broadcasts: name ? broadcasts.filter((each) => each.name === name) : broadcasts });
  }
}

const nameOf = (/** @type {{name: string}} */ { name }) => name;

/** By token. @type {Map<string, Channel>} */
const channels = new Map();

addEventListener('connect', (event) => {
  const [port] = /** @type {MessageEvent} */ (event).ports;
  /** @type {string|null} */
  let joined = null;
  port.addEventListener('message', ({ data: { token, name } }) => {
    if (joined !== null && channels.get(joined)?.remove(port)) channels.delete(joined);
    joined = token;
    if (joined === null) return;
    const channel = channels.get(token) ?? new Channel(token);
    channels.set(token, channel);
    channel.add(port, name);
  });
  port.start();
});
