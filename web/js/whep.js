/**
 * Watch a broadcast over WHEP.
 *
 * ```js
 * import { WhepClient } from 'https://your.server/js/v1/whep.js';
 * const client = new WhepClient('https://your.server/whep/demo', { video: document.querySelector('video') });
 * client.addEventListener('statechange', ({ detail }) => console.log(detail.state));
 * client.start();
 * ```
 *
 * States: `idle` `connecting` `live` `waiting` (not started yet) `offline`
 * (interrupted, reconnecting) `failed` (retrying would not help; see `client.error.words`) `closed`.
 * Events: `statechange`, `stream` whenever there is a new MediaStream to show, `data` (detail: `data` and `time`) when
 * the frame is shown that data for programs belongs to, and `message` with every other event of docs/chat.md.
 */

import { CatchUp } from './catch-up.js';
import { Client } from './client.js';
import { SessionError } from './errors.js';
import { withOpusParameters } from './sdp.js';
import { ShownFrames } from './shown-frames.js';

/**
 * @typedef {object} WatchOptions
 * @property {HTMLMediaElement} [video] Gets each new stream as its srcObject. Playing it is up to you.
 * @property {boolean} [receiveVideo] Default true.
 * @property {boolean} [receiveAudio] Default true.
 * @property {number} [jitterBufferTarget] Milliseconds of buffer the browser should aim at. Default 0: lowest latency.
 * @property {number} [lossyJitterBufferTarget] The same while packets are being lost, so that the picture
 *   does not freeze while they are sent again. Default 250.
 * @property {number} [stallTimeout] Milliseconds without media until the state is `offline`, unless the server says that the
 *   broadcast is live: it pauses, as between slides without sound. Default 2 500.
 * @property {number} [renewTimeout] Milliseconds without media until the client starts a new session, likewise. Default
 *   12 000.
 */

/** @typedef {import('./client.js').ClientOptions & WatchOptions} WhepOptions */

/** Share of lost packets above which a link counts as lossy. */
const LOSSY_SHARE = 0.01;
/** Milliseconds without such a loss until it no longer does. */
const LOSSY_TIME = 30_000;

/**
 * Milliseconds without media until the server is asked whether the session is gone; each time it is not, this doubles.
 */
const DOUBT_TIME = 800;
/** The longest time between two such questions, in milliseconds. */
const DOUBT_INTERVAL_MAX = 5_000;
/** What a server has sent arrives within so many milliseconds of its report about that, or is lost. */
const REPORT_TIME = 2_500;

export class WhepClient extends Client {
  /** @type {MediaStream|null} */ stream = null;
  /** The simulcast layer to ask for, empty while the server chooses. */ layer = '';

  /** @type {Required<Omit<WatchOptions, 'video'>> & Pick<WatchOptions, 'video'>} */ #watch;
  #bytes = 0;
  #pictureBytes = 0;
  #frames = 0;
  #flowing = 0;
  #decoding = 0;
  #doubtAfter = DOUBT_TIME;
  /** Whether the server says that the broadcast is live, although nothing arrives. */ #pauses = false;
  /** Packets that the server has reported as sent, and when their number last changed. */ #sent = { count: 0, at: 0 };
  /** When a packet last arrived. */ #arrived = 0;
  #catchUp = new CatchUp();
  #packets = { received: 0, lost: 0 };
  #lossyUntil = 0;
  #shown;

  /**
   * @param {string|URL} url WHEP endpoint, for example `/whep/demo`.
   * @param {WhepOptions} [options]
   */
  constructor(url, options = {}) {
    const {
      video,
      receiveVideo,
      receiveAudio,
      jitterBufferTarget,
      lossyJitterBufferTarget,
      stallTimeout,
      renewTimeout,
      ...rest
    } = options;
    super('whep', url, rest);
    this.#watch = {
      video,
      receiveVideo: receiveVideo ?? true,
      receiveAudio: receiveAudio ?? true,
      jitterBufferTarget: jitterBufferTarget ?? 0,
      lossyJitterBufferTarget: lossyJitterBufferTarget ?? 250,
      stallTimeout: stallTimeout ?? 2_500,
      renewTimeout: renewTimeout ?? 12_000,
    };
    this.#shown = new ShownFrames(video);
  }

  /** @param {RTCPeerConnection} peer */
  prepare(peer) {
    if (this.#watch.receiveVideo) peer.addTransceiver('video', { direction: 'recvonly' });
    if (this.#watch.receiveAudio) peer.addTransceiver('audio', { direction: 'recvonly' });
    this.#bytes = this.#pictureBytes = this.#frames = this.#decoding = 0;
    this.#catchUp = new CatchUp();
    this.#flowing = performance.now();
    this.#doubtAfter = DOUBT_TIME;
    this.#pauses = false;
    this.#packets = { received: 0, lost: 0 };
    this.#sent = { count: 0, at: 0 };
    this.#buffer(peer);
  }

  /** @param {number|undefined} rtp @param {() => void} run */
  whenShown(rtp, run) {
    this.#shown.when(rtp, run);
  }

  /** @param {string} sdp */
  adjustOffer(sdp) {
    return withOpusParameters(sdp, { stereo: 1 });
  }

  /**
   * Asks for the shortest delay that the link allows, in whichever way this browser offers.
   * @param {RTCPeerConnection} peer
   */
  #buffer(peer) {
    const { jitterBufferTarget, lossyJitterBufferTarget } = this.#watch;
    const lossy = performance.now() < this.#lossyUntil;
    const target = lossy ? Math.max(jitterBufferTarget, lossyJitterBufferTarget) : jitterBufferTarget;
    for (const transceiver of peer.getTransceivers()) {
      /** @type {any} RTCRtpReceiver, with what only some browsers have. */
      const receiver = transceiver.receiver;
      if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = target;
      else if ('playoutDelayHint' in receiver) receiver.playoutDelayHint = target / 1000;
    }
  }

  /**
   * Notes what was lost since the last call; a packet counts as lost even if it arrives when sent again.
   * @param {RTCPeerConnection} peer
   * @param {{ received: number, lost: number }} packets
   */
  #noteLoss(peer, packets) {
    const received = packets.received - this.#packets.received;
    const lost = packets.lost - this.#packets.lost;
    this.#packets = packets;
    if (lost > received * LOSSY_SHARE) this.#lossyUntil = performance.now() + LOSSY_TIME;
    this.#buffer(peer);
  }

  /** @param {import('./session.js').Session} session */
  negotiated({ peer }) {
    this.#flowing = performance.now();
    const tracks = peer
      .getTransceivers()
      .filter(({ currentDirection }) => currentDirection === 'recvonly' || currentDirection === 'sendrecv')
      .map(({ receiver }) => receiver.track);
    if (tracks.length === 0) throw new SessionError('unsupported', 'the server accepted no track');
    const stream = new MediaStream(tracks);
    const show = () => {
      if (this.peer === peer && this.stream !== stream) this.#show(stream);
    };
    // A picture that is already there stays until the new one arrives.
    if (!this.stream) show();
    else tracks.forEach((track) => track.addEventListener('unmute', show, { once: true }));
    if (this.layer) void this.#sendLayer();
  }

  /** @param {MediaStream} stream */
  #show(stream) {
    this.stream = stream;
    if (this.#watch.video) this.#watch.video.srcObject = stream;
    this.dispatchEvent(new CustomEvent('stream', { detail: { stream } }));
  }

  /**
   * Asks for one of a simulcast publisher's layers, now and in each later session.
   * @param {string} rid Empty: the server chooses.
   */
  async selectLayer(rid) {
    this.layer = rid;
    await this.#sendLayer();
  }

  async #sendLayer() {
    const rid = this.layer;
    const section = this.peer?.getTransceivers().find(({ receiver }) => receiver.track.kind === 'video')?.mid;
    if (!this.sessionUrl || !section) return;
    const { token } = this.settings;
    try {
      const response = await fetch(`${this.sessionUrl}/layer`, {
        method: rid ? 'POST' : 'DELETE',
        headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) },
        body: rid ? JSON.stringify({ mediaId: section, rid }) : undefined,
      });
      if (!response.ok) console.warn('layer refused', response.status);
    } catch (error) {
      console.warn('layer not selected', error);
    }
  }

  async stop() {
    // At once: another client may show its stream before this session has ended.
    const { video } = this.#watch;
    if (video && video.srcObject === this.stream) video.srcObject = null;
    this.stream = null;
    await super.stop();
  }

  /**
   * @param {import('./session.js').Session} session
   * @returns {Promise<import('./client.js').State>}
   */
  async probe(session) {
    const { peer } = session;
    const { bytes, pictureBytes, frames, packets, sent } = await received(peer);
    const now = performance.now();
    if (packets.received !== this.#packets.received) this.#arrived = now;
    if (sent !== this.#sent.count) this.#sent = { count: sent, at: now };
    this.#noteLoss(peer, packets);
    if (bytes !== this.#bytes) this.#flowing = now;
    // Neither a hidden page, which may decode nothing, nor a picture that pauses, such as that of a camera which is off,
    // is a stall: only a picture that arrives and is not decoded.
    const arrives = pictureBytes !== this.#pictureBytes;
    if (frames !== this.#frames || !arrives || document.hidden || this.#decoding === 0) this.#decoding = now;
    const begun = bytes > 0 && (frames > 0 || pictureBytes === 0) && !this.#catchUp.lasts(frames, now);
    this.#bytes = bytes;
    this.#pictureBytes = pictureBytes;
    this.#frames = frames;
    if (now === this.#flowing) {
      this.#doubtAfter = DOUBT_TIME;
      this.#pauses = false;
    } else if (now - this.#flowing > this.#doubtAfter) {
      this.#doubtAfter += Math.min(this.#doubtAfter, DOUBT_INTERVAL_MAX);
      const { gone, state } = await session.ask();
      if (gone) throw new SessionError('lost', 'the server does not have the session any more');
      this.#pauses = state === 'live';
    }
    // Slides without sound: the server has nothing to send, and nothing that it sends is missing.
    const isPaused = this.#pauses && bytes > 0 && this.#sent.at - this.#arrived < REPORT_TIME;
    const quiet = Math.max(isPaused ? 0 : now - this.#flowing, now - this.#decoding);
    if (quiet > this.#watch.renewTimeout) throw new SessionError('stalled', `no media for ${Math.round(quiet)} ms`);
    if (quiet > this.#watch.stallTimeout) return 'offline';
    return begun || (this.hasBeenLive && this.state === 'live')
      ? 'live'
      : this.state === 'offline'
        ? 'offline'
        : 'connecting';
  }
}

/**
 * What has been received so far.
 * @param {RTCPeerConnection} peer
 */
async function received(peer) {
  let bytes = 0;
  let pictureBytes = 0;
  let frames = 0;
  let sent = 0;
  const packets = { received: 0, lost: 0 };
  (await peer.getStats()).forEach((report) => {
    if (report.type === 'remote-outbound-rtp') sent += report.packetsSent ?? 0;
    if (report.type !== 'inbound-rtp') return;
    bytes += report.bytesReceived ?? 0;
    packets.received += report.packetsReceived ?? 0;
    packets.lost += report.packetsLost ?? 0;
    if (report.kind !== 'video') return;
    pictureBytes += report.bytesReceived ?? 0;
    frames += report.framesDecoded ?? 0;
  });
  return { bytes, pictureBytes, frames, packets, sent };
}
