/**
 * One WHIP (RFC 9725) or WHEP (draft-ietf-wish-whep) session: the HTTP resource and its peer
 * connection. It is opened once, trickles its candidates, and is closed once; retrying means a new
 * session, which is up to {@link ./client.js}.
 */

import { SessionError } from './errors.js';
import { fragment, iceServers } from './sdp.js';

/** Candidates found within this many milliseconds share one PATCH. */
const TRICKLE_BATCH = 60;
/** Time limit of a PATCH or DELETE in milliseconds. */
const REQUEST_TIMEOUT = 5_000;
/** How long the server may take to say how a session is, in milliseconds. */
const ASK_TIMEOUT = 2_000;
/** `fetch(keepalive)` is limited to 64 KiB of body; ours has none. */
const KEEPALIVE = true;

/**
 * @typedef {object} SessionOptions
 * @property {import('./errors.js').Role} role
 * @property {string|URL} url Endpoint; relative ones are resolved against the page.
 * @property {string} [token] Bearer token (RFC 6750).
 * @property {number} timeout Milliseconds for the POST to be answered.
 * @property {AbortSignal} signal Ends the opening.
 * @property {(sdp: string) => string} [adjustOffer]
 * @property {(sdp: string) => string} [adjustAnswer]
 */

export class Session {
  /** @type {RTCPeerConnection} */
  peer;
  /** When the session was opened, as performance.now(). */
  opened = performance.now();
  /** Absolute address of the session's resource, empty before it exists. */
  url = '';

  /** @type {SessionOptions} */ #options;
  #etag = '';
  #offer = '';
  /** @type {RTCIceCandidate[]} */ #candidates = [];
  #gathered = false;
  #trickling = true;
  #patching = false;
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #timer;
  #closed = false;

  /**
   * @param {RTCPeerConnection} peer With its transceivers already added.
   * @param {SessionOptions} options
   */
  constructor(peer, options) {
    this.peer = peer;
    this.#options = options;
    peer.addEventListener('icecandidate', ({ candidate }) => this.#onCandidate(candidate));
  }

  /**
   * Negotiates. On failure everything is released, including a resource that the server has already created.
   * @throws {SessionError}
   */
  async open() {
    try {
      await this.#negotiate();
    } catch (thrown) {
      void this.close();
      throw SessionError.from(thrown);
    }
  }

  async #negotiate() {
    const { adjustOffer, adjustAnswer, signal } = this.#options;
    const offer = await this.peer.createOffer();
    this.#offer = adjustOffer?.(offer.sdp ?? '') ?? offer.sdp ?? '';
    // The offer is sent before it is applied: gathering begins when it is applied, and must know
    // the ICE servers that come with the answer (RFC 9725 §4.6).
    const { answer, servers } = await this.#post();
    signal.throwIfAborted();
    if (servers.length > 0) {
      this.peer.setConfiguration({ ...this.peer.getConfiguration(), iceServers: servers });
    }
    await this.peer.setLocalDescription({ type: 'offer', sdp: this.#offer });
    await this.peer.setRemoteDescription({ type: 'answer', sdp: adjustAnswer?.(answer) ?? answer });
    signal.throwIfAborted();
  }

  /** @returns {Promise<{answer: string, servers: RTCIceServer[]}>} */
  async #post() {
    const { url, role, signal, timeout } = this.#options;
    const response = await request(
      new URL(url, document.baseURI),
      {
        method: 'POST',
        headers: this.#headers({ 'Content-Type': 'application/sdp' }),
        body: this.#offer,
      },
      timeout,
      signal,
    );
    if (response.status !== 201 && response.status !== 200) {
      throw await SessionError.fromResponse(response, role);
    }
    const location = response.headers.get('Location');
    // After a redirect, response.url is where the answer really came from.
    if (location) this.url = new URL(location, response.url).href;
    this.#etag = response.headers.get('ETag') ?? '';
    const answer = await response.text();
    if (!answer.startsWith('v=0')) throw new SessionError('protocol', 'the answer is not SDP');
    return { answer, servers: iceServers(response.headers.get('Link')) };
  }

  /**
   * @param {Record<string, string>} [more]
   * @returns {Record<string, string>}
   */
  #headers(more = {}) {
    const { token } = this.#options;
    return token ? { ...more, Authorization: `Bearer ${token}` } : more;
  }

  /** @param {RTCIceCandidate|null} candidate */
  #onCandidate(candidate) {
    if (candidate?.candidate) this.#candidates.push(candidate);
    else this.#gathered = true;
    if (!this.#trickling || this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#trickle(), this.#gathered ? 0 : TRICKLE_BATCH);
  }

  /** Sends what has been gathered; one PATCH at a time. */
  async #trickle() {
    if (this.#patching || this.#closed || !this.url) return;
    const batch = this.#candidates.splice(0);
    if (batch.length === 0 && !this.#gathered) return;
    const complete = this.#gathered;
    this.#patching = true;
    try {
      const headers = { 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': this.#etag || '*' };
      const response = await request(
        this.url,
        {
          method: 'PATCH',
          headers: this.#headers(headers),
          body: fragment(this.#offer, batch, complete),
        },
        REQUEST_TIMEOUT,
      );
      // Trickling helps but is not required: the server also learns our addresses from our checks.
      this.#trickling = response.ok && !complete;
    } catch {
      this.#trickling = false;
    } finally {
      this.#patching = false;
    }
    if (this.#trickling && (this.#candidates.length > 0 || this.#gathered)) await this.#trickle();
  }

  /**
   * `connectionState`, but `closed` also when the server has ended DTLS: browsers differ in whether
   * they say so on the peer connection.
   * @returns {RTCPeerConnectionState}
   */
  get connection() {
    const state = this.peer.connectionState;
    const broken = this.transports.some((transport) => transport.state === 'failed');
    return (broken || this.ended) && state !== 'failed' ? 'closed' : state;
  }

  /** True if the other side has said goodbye (DTLS close_notify). */
  get ended() {
    return this.peer.signalingState !== 'closed' && this.transports.some((transport) => transport.state === 'closed');
  }

  /** The DTLS transports in use (one, as everything is bundled). */
  get transports() {
    const all = this.peer.getTransceivers().map(({ sender, receiver }) => receiver.transport ?? sender.transport);
    return [...new Set(all.filter((transport) => transport !== null))];
  }

  /**
   * Asks the server about the session: the server may have restarted, or this machine of several may have died.
   * @returns {Promise<{gone: boolean, state: string}>} Whether the session is gone, and the state of its broadcast, empty
   *   if the server does not say. Never rejects.
   */
  async ask() {
    if (!this.url || this.#closed) return { gone: false, state: '' };
    try {
      const { status, headers } = await request(this.url, { headers: this.#headers() }, ASK_TIMEOUT);
      return { gone: status === 404, state: headers.get('Broadcast-State') ?? '' };
    } catch {
      return { gone: false, state: '' };
    }
  }

  /**
   * Ends the session on both sides. Also works while the page is unloading.
   * @returns {Promise<void>} Settles when the server has answered; never rejects.
   */
  async close() {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    const deleted =
      this.url && !this.ended
        ? request(this.url, { method: 'DELETE', headers: this.#headers(), keepalive: KEEPALIVE }, REQUEST_TIMEOUT)
        : undefined;
    this.peer.close();
    try {
      await deleted;
    } catch {
      // The server notices the closed peer by itself.
    }
  }
}

/**
 * fetch with a time limit, failing only with SessionError.
 * @param {string|URL} url
 * @param {RequestInit} init
 * @param {number} timeout Milliseconds until the headers have arrived.
 * @param {AbortSignal} [signal]
 * @returns {Promise<Response>}
 */
async function request(url, init, timeout, signal) {
  const abort = new AbortController();
  const stop = () => abort.abort();
  signal?.addEventListener('abort', stop);
  const timer = setTimeout(() => abort.abort(new SessionError('timeout')), timeout);
  try {
    signal?.throwIfAborted();
    return await fetch(url, { cache: 'no-store', credentials: 'same-origin', ...init, signal: abort.signal });
  } catch (thrown) {
    if (signal?.aborted) throw new SessionError('aborted');
    if (abort.signal.aborted) throw new SessionError('timeout');
    throw new SessionError('network', String(thrown), { cause: thrown });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
  }
}
