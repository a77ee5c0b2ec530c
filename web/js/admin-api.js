/** The server's API, as the operator uses it. */

import { SessionError } from './errors.js';
import { at } from './site.js';

/** Time limit of a request, in milliseconds. */
const TIMEOUT = 10_000;

export class AdminApi {
  /** The operator's token; empty where none is needed. */
  token;

  /** @param {string} token */
  constructor(token) {
    this.token = token;
  }

  /**
   * @param {string} path Below `/api/`.
   * @returns {Promise<any>} The document.
   * @throws {SessionError}
   */
  async get(path) {
    return (await this.#ask(path)).json();
  }

  /**
   * @param {string} path
   * @returns {Promise<Blob>}
   */
  async blob(path) {
    return (await this.#ask(path)).blob();
  }

  /**
   * @param {'POST'|'PATCH'|'DELETE'} method
   * @param {string} path
   * @param {unknown} [change] Sent as JSON.
   */
  async send(method, path, change) {
    const json = change !== undefined && { 'Content-Type': 'application/json' };
    await this.#ask(path, { method, headers: json || {}, body: json ? JSON.stringify(change) : undefined });
  }

  /**
   * @param {string} path
   * @param {RequestInit} [options]
   */
  async #ask(path, options) {
    const headers = new Headers(options?.headers);
    if (this.token) headers.set('Authorization', `Bearer ${this.token}`);
    let response;
    try {
      response = await fetch(at(`api/${path}`), { ...options, headers, signal: AbortSignal.timeout(TIMEOUT) });
    } catch (error) {
      if (error instanceof TypeError) throw new SessionError('network', error.message, { cause: error });
      throw SessionError.from(error);
    }
    if (!response.ok) throw await SessionError.fromResponse(response, 'whep');
    return response;
  }
}

/** Bytes and bits that only grow, as bits per second since the last time. */
export class Rate {
  #bytes = 0;
  #at = 0;
  #rate = 0;

  /**
   * @param {number|undefined} bytes
   * @returns {number} 0 at first.
   */
  of(bytes = 0) {
    const now = performance.now();
    if (this.#at > 0 && now - this.#at < 500) return this.#rate;
    this.#rate = this.#at > 0 ? (Math.max(0, bytes - this.#bytes) * 8_000) / (now - this.#at) : 0;
    this.#bytes = bytes;
    this.#at = now;
    return this.#rate;
  }
}
