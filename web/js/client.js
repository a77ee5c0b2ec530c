/**
 * What publishing and watching have in common: a client that keeps one session alive, reports its
 * state, and reconnects by itself.
 *
 * ```text
 *   idle -> connecting -> live <-> offline        closed: stop() was called
 *               |   ^                |            failed: retrying would not help
 *               v   +----------------+
 *            waiting (the broadcast has not started)
 * ```
 */

import { AerialChannel } from './aerial-channel.js';
import { SessionError } from './errors.js';
import { Session } from './session.js';

/** @typedef {'idle'|'connecting'|'live'|'waiting'|'offline'|'failed'|'closed'} State */

/**
 * Detail of the `statechange` event.
 * @typedef {{state: State, previous: State, error: SessionError|null}} StateChange
 */

/**
 * @typedef {object} ClientOptions
 * @property {string} [token] Bearer token.
 * @property {(refused: string) => string|null|Promise<string|null>} [getToken] Gives another token when
 *   the server refuses this one, such as after it has expired. Asked once until the client is live again.
 * @property {AbortSignal} [signal] Stops the client, as stop() does.
 * @property {RTCIceServer[]} [iceServers] Used in addition to those that the server provides.
 * @property {boolean} [reconnect] Reconnect after a loss. Default true.
 * @property {() => boolean|Promise<boolean>} [ready] Asked before each attempt: false if the broadcast is known not
 *   to be there. Then no request is made until retry(). Default: always true.
 * @property {boolean} [channel] Offer a data channel, for chat and data. Default true.
 * @property {number} [requestTimeout] Milliseconds for the POST. Default 10 000.
 * @property {number} [connectTimeout] Milliseconds from the answer to a connection. Default 10 000.
 * @property {number} [disconnectTimeout] Milliseconds a connection may be interrupted. Default 4 000.
 * @property {number} [backoffMax] Longest pause between two attempts in milliseconds. Default 10 000.
 */

/** First pause between two attempts, in milliseconds; it doubles with each failure. */
const BACKOFF_MIN = 300;
/** How often a session is checked, in milliseconds, before and after it is live. */
const PROBE_CONNECTING = 50;
const PROBE_LIVE = 500;
/** How long a client waits for a broadcast that is not there before it looks again, in milliseconds. */
const READY_PAUSE = 30_000;
/** How long ending a lost session may delay the next one, in milliseconds. */
const CLOSE_WAIT = 1_000;

/** @abstract */
export class Client extends EventTarget {
  /** @type {Required<Omit<ClientOptions, 'signal' | 'getToken'>> & Pick<ClientOptions, 'getToken'>} */
  settings;
  /** Endpoint. */
  url;
  /** True once this client has been live. */
  hasBeenLive = false;

  /** @type {import('./errors.js').Role} */ #role;
  /** @type {State} */ #state = 'idle';
  /** @type {SessionError|null} */ #error = null;
  /** @type {Session|null} */ #session = null;
  /** @type {AerialChannel|null} */ #channel = null;
  /** @type {AbortController|null} */ #running = null;
  /** @type {(() => void)|null} */ #wake = null;
  #suspended = false;
  #stops = 0;

  /**
   * @param {import('./errors.js').Role} role
   * @param {string|URL} url
   * @param {ClientOptions} options
   */
  constructor(role, url, options) {
    super();
    this.#role = role;
    this.url = url;
    const { signal, ...settings } = options;
    this.settings = {
      token: '',
      iceServers: [],
      reconnect: true,
      channel: true,
      requestTimeout: 10_000,
      ready: () => true,
      connectTimeout: 10_000,
      disconnectTimeout: 4_000,
      backoffMax: 10_000,
      ...settings,
    };
    signal?.addEventListener('abort', () => void this.stop(), { once: true });
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  /** The last error, null while all is well. */
  get error() {
    return this.#error;
  }

  /** The peer connection in use, null between sessions. */
  get peer() {
    return this.#session?.peer ?? null;
  }

  /** Address of the session on the server, empty without one. */
  get sessionUrl() {
    return this.#session?.url ?? '';
  }

  /** Whether send() reaches the server. */
  get channelOpen() {
    return this.#channel?.open ?? false;
  }

  /**
   * Sends a request over the data channel, such as `{ type: 'say', text: 'Hello' }`: see docs/chat.md.
   * @param {object} request
   * @returns {boolean} False if there is no channel.
   */
  send(request) {
    return this.#channel?.send(request) ?? false;
  }

  /** True between start() and stop() or failure. */
  get running() {
    return this.#running !== null;
  }

  /** Starts, or starts again after failed or closed. */
  start() {
    if (this.#running) return;
    this.#running = new AbortController();
    this.hasBeenLive = false;
    addEventListener('pagehide', this.#onPageHide);
    addEventListener('pageshow', this.#onPageShow);
    addEventListener('online', this.#onOnline);
    this.#become('connecting');
    void this.#run(this.#running.signal);
  }

  /** Ends the session on the server too. Settles when that is done; never rejects. */
  async stop() {
    this.#stops += 1;
    this.#suspended = false;
    removeEventListener('pageshow', this.#onPageShow);
    const closing = this.#halt();
    if (this.#state !== 'idle') this.#become('closed');
    await closing;
  }

  /** Cuts the pause between two attempts short; starts again after a failure. */
  retry() {
    if (this.#running) this.#wake?.();
    else this.start();
  }

  /** Replaces the session with a new one, for changes that need a new negotiation. */
  async renew() {
    if (!this.#running) return;
    const stops = this.#stops;
    const hadBeenLive = this.hasBeenLive;
    const closing = this.#halt();
    addEventListener('pagehide', this.#onPageHide);
    await closing;
    // Meanwhile it may have been stopped, started, or put aside with its page.
    if (this.#stops !== stops || this.#running || this.#suspended) return;
    this.start();
    this.hasBeenLive = hadBeenLive;
  }

  // --- for subclasses -----------------------------------------------------------------------

  /**
   * Adds transceivers to a new peer connection.
   * @param {RTCPeerConnection} _peer
   */
  prepare(_peer) {}

  /** @param {string} sdp */
  adjustOffer(sdp) {
    return sdp;
  }

  /**
   * Runs something when the frame with this RTP timestamp is shown.
   * @param {number|undefined} _rtp
   * @param {() => void} run
   */
  whenShown(_rtp, run) {
    run();
  }

  /** @param {string} sdp */
  adjustAnswer(sdp) {
    return sdp;
  }

  /**
   * Called after negotiation.
   * @param {Session} _session
   * @returns {Promise<void>|void}
   */
  negotiated(_session) {}

  /**
   * Checks a connected session.
   * @param {Session} _session
   * @returns {Promise<State>} `live`, `offline` or `connecting`
   * @throws {SessionError} if a new session is needed
   */
  async probe(_session) {
    return 'live';
  }

  /**
   * @param {SessionError} error
   * @returns {boolean}
   */
  mayRetry(error) {
    return error.retryable;
  }

  // --- inside -------------------------------------------------------------------------------

  /** @param {AbortSignal} signal */
  async #run(signal) {
    let failures = 0;
    let mayRenew = true;
    while (!signal.aborted) {
      if (!(await this.settings.ready())) {
        if (signal.aborted) return;
        this.#become('waiting', new SessionError('not-live'));
        await this.#pause(READY_PAUSE, signal);
        continue;
      }
      if (signal.aborted) return;
      try {
        await this.#connect(signal);
        await this.#hold(signal, () => {
          failures = 0;
          mayRenew = true;
        });
      } catch (thrown) {
        if (signal.aborted) return;
        const error = SessionError.from(thrown);
        await this.#release();
        if (signal.aborted) return;
        if (error.kind === 'unauthorized' && mayRenew) {
          mayRenew = false;
          if (await this.#renewToken()) continue;
          if (signal.aborted) return;
        }
        if (!this.settings.reconnect || !this.mayRetry(error)) {
          this.#running = null;
          this.#unlisten();
          this.#become('failed', error);
          return;
        }
        this.#become(error.kind === 'not-live' ? 'waiting' : 'offline', error);
        await this.#pause(this.#delay(error, failures), signal);
        failures += 1;
      }
    }
  }

  /** Whether the page has another token. */
  async #renewToken() {
    const { token: refused, getToken } = this.settings;
    try {
      const token = await getToken?.(refused);
      if (!token || token === refused) return false;
      this.settings.token = token;
      return true;
    } catch {
      return false;
    }
  }

  /** @param {AbortSignal} signal */
  async #connect(signal) {
    const peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle', iceServers: this.settings.iceServers });
    const session = new Session(peer, {
      role: this.#role,
      url: this.url,
      token: this.settings.token,
      timeout: this.settings.requestTimeout,
      signal,
      adjustOffer: (sdp) => this.adjustOffer(sdp),
      adjustAnswer: (sdp) => this.adjustAnswer(sdp),
    });
    this.#session = session;
    peer.addEventListener('connectionstatechange', () => this.#wake?.());
    this.prepare(peer);
    this.#openChannel(peer);
    await session.open();
    session.opened = performance.now();
    for (const transport of session.transports) {
      transport.addEventListener('statechange', () => this.#wake?.());
    }
    await this.negotiated(session);
    this.#become('connecting');
  }

  /** @param {RTCPeerConnection} peer */
  #openChannel(peer) {
    if (!this.settings.channel) return;
    const isOurs = () => this.#channel === channel;
    const channel = new AerialChannel(
      peer,
      () => isOurs() && this.dispatchEvent(new Event('channel')),
      (event) => isOurs() && this.take(event),
    );
    this.#channel = channel;
  }

  /**
   * Hands an event of the server to the page.
   * @param {import('./aerial-channel.js').ServerEvent} event
   */
  take(event) {
    if (event.type !== 'data') {
      this.dispatchEvent(new CustomEvent('message', { detail: event }));
      return;
    }
    const { data, time, rtp } = event;
    this.whenShown(rtp, () => this.dispatchEvent(new CustomEvent('data', { detail: { data, time } })));
  }

  /**
   * Watches the session until it is lost.
   * @param {AbortSignal} signal
   * @param {() => void} onLive
   */
  async #hold(signal, onLive) {
    let interrupted = 0;
    while (!signal.aborted && this.#session) {
      const connection = this.#session.connection;
      const now = performance.now();
      if (connection !== 'disconnected') interrupted = 0;
      else interrupted ||= now;
      if (connection === 'failed' || connection === 'closed')
        throw new SessionError('lost', `connection ${connection}`);
      if (interrupted && now - interrupted > this.settings.disconnectTimeout)
        throw new SessionError('lost', 'connection interrupted');
      if (connection === 'new' || connection === 'connecting') {
        if (now - this.#session.opened > this.settings.connectTimeout)
          throw new SessionError('blocked', 'the server answers, but no media gets through');
      } else {
        const state = interrupted ? 'offline' : await this.probe(this.#session);
        if (signal.aborted) return;
        if (state === 'live') {
          onLive();
          this.hasBeenLive = true;
        }
        this.#become(state, state === 'offline' ? new SessionError('stalled') : null);
      }
      await this.#pause(this.#state === 'live' ? PROBE_LIVE : PROBE_CONNECTING, signal);
    }
  }

  /**
   * @param {SessionError} error
   * @param {number} failures
   * @returns {number} Milliseconds, with jitter, so that many clients do not return at once.
   */
  #delay(error, failures) {
    const backoff = Math.min(BACKOFF_MIN * 2 ** Math.min(failures, 16), this.settings.backoffMax);
    const base = error.retryAfter > 0 ? error.retryAfter : backoff;
    return base * (0.75 + 0.5 * Math.random());
  }

  /**
   * @param {number} ms
   * @param {AbortSignal} signal
   * @returns {Promise<void>} Settles early when woken or aborted.
   */
  #pause(ms, signal) {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        if (this.#wake === done) this.#wake = null;
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', done);
      this.#wake = done;
    });
  }

  async #release() {
    const closing = this.#session?.close();
    this.#session = null;
    const had = this.#channel !== null;
    this.#channel = null;
    if (had) this.dispatchEvent(new Event('channel'));
    // The old session ends first, so that the server has the name free again.
    if (closing) await Promise.race([closing, new Promise((resolve) => setTimeout(resolve, CLOSE_WAIT))]);
  }

  #halt() {
    this.#running?.abort();
    this.#running = null;
    this.#unlisten();
    return this.#release();
  }

  #unlisten() {
    removeEventListener('pagehide', this.#onPageHide);
    removeEventListener('online', this.#onOnline);
  }

  #onOnline = () => this.#wake?.();

  #onPageHide = () => {
    this.#suspended = true;
    void this.#halt();
  };

  /** A page restored from the back/forward cache resumes. */
  #onPageShow = (/** @type {PageTransitionEvent} */ event) => {
    if (!event.persisted || !this.#suspended) return;
    this.#suspended = false;
    this.start();
  };

  /**
   * @param {State} state
   * @param {SessionError|null} [error]
   */
  #become(state, error = null) {
    const previous = this.#state;
    const same = previous === state && this.#error?.kind === error?.kind;
    this.#state = state;
    this.#error = error;
    if (same) return;
    /** @type {StateChange} */
    const detail = { state, previous, error };
    this.dispatchEvent(new CustomEvent('statechange', { detail }));
  }
}
