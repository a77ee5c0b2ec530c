/** Figures of a peer connection, from two readings of getStats(). */

import { PlayoutDelay } from './playout-delay.js';

/**
 * @typedef {object} VideoFigures
 * @property {string} codec
 * @property {string} implementation Decoder or encoder in use.
 * @property {number} width
 * @property {number} height
 * @property {number} fps
 * @property {number} bitrate Bits per second.
 * @property {number} bufferDelay Jitter buffer delay in milliseconds; 0 when sending.
 * @property {number} packets
 * @property {number} lost
 * @property {number} frames Decoded or encoded in all.
 * @property {number} dropped
 * @property {number} freezes
 * @property {{mean: number, deviation: number}|null} frameTime From one frame to the next, in milliseconds.
 * @property {string} limited What keeps the sender below its bitrate: `cpu`, `bandwidth` or empty.
 */

/**
 * @typedef {object} AudioFigures
 * @property {string} codec
 * @property {number} channels
 * @property {number} bitrate Bits per second.
 * @property {number} bufferDelay Milliseconds.
 * @property {number} packets
 * @property {number} lost
 */

/**
 * @typedef {object} Figures
 * @property {VideoFigures|null} video
 * @property {AudioFigures|null} audio
 * @property {number|null} rtt Milliseconds.
 * @property {number|null} delay From the server to the screen, in milliseconds; null if the browser does not tell.
 * @property {number|null} loss Share of the packets that were lost lately; null if nobody knows.
 * @property {number|null} available What the network takes when sending, in bits per second, as the browser estimates it.
 */

export class StatsSampler {
  /** @type {RTCPeerConnection|null} */ #peer = null;
  /** @type {Map<string, any>} */ #last = new Map();
  #delay = new PlayoutDelay();
  /** Packets so far. */ #counted = { lost: 0, all: 0 };

  /**
   * @param {RTCPeerConnection} peer
   * @param {'inbound-rtp'|'outbound-rtp'} direction
   * @returns {Promise<Figures>} Rates are since the last call with the same peer.
   */
  async sample(peer, direction = 'inbound-rtp') {
    if (peer !== this.#peer) this.#reset();
    this.#peer = peer;
    /** @type {Map<string, any>} */
    const reports = new Map();
    (await peer.getStats()).forEach((report) => reports.set(report.id, report));
    /** @type {Figures} */
    const figures = { video: null, audio: null, rtt: null, delay: null, loss: null, available: null };
    for (const report of reports.values()) {
      if (report.type === direction && report.kind === 'video')
        figures.video = together(figures.video, this.#video(report, reports));
      if (report.type === direction && report.kind === 'audio') figures.audio = this.#audio(report, reports);
      if (report.type === 'candidate-pair' && report.nominated && report.currentRoundTripTime !== undefined) {
        figures.rtt = report.currentRoundTripTime * 1000;
        figures.available = report.availableOutgoingBitrate ?? null;
      }
    }
    figures.delay = this.#delay.of(reports, figures.rtt);
    figures.loss = direction === 'inbound-rtp' ? this.#loss(figures) : reportedLoss(reports);
    this.#last = reports;
    return figures;
  }

  /** Another connection counts from the beginning. */
  #reset() {
    this.#last.clear();
    this.#delay.reset();
    this.#counted = { lost: 0, all: 0 };
  }

  /** Since the last sample. @param {Figures} figures */
  #loss({ video, audio }) {
    const lost = (video?.lost ?? 0) + (audio?.lost ?? 0);
    const all = lost + (video?.packets ?? 0) + (audio?.packets ?? 0);
    const before = this.#counted;
    this.#counted = { lost, all };
    return all > before.all ? Math.max(0, lost - before.lost) / (all - before.all) : null;
  }

  /**
   * @param {any} report
   * @param {Map<string, any>} reports
   * @returns {VideoFigures}
   */
  #video(report, reports) {
    const frames = report.framesDecoded ?? report.framesEncoded ?? 0;
    return {
      ...this.#common(report, reports),
      implementation: report.decoderImplementation ?? report.encoderImplementation ?? '',
      width: report.frameWidth ?? 0,
      height: report.frameHeight ?? 0,
      fps: report.framesPerSecond ?? this.#rate(report, 'framesDecoded') ?? 0,
      frames,
      dropped: report.framesDropped ?? 0,
      freezes: report.freezeCount ?? 0,
      frameTime: this.#frameTime(report),
      limited: ['cpu', 'bandwidth'].includes(report.qualityLimitationReason) ? report.qualityLimitationReason : '',
    };
  }

  /** @param {any} report */
  #frameTime(report) {
    const frames = this.#change(report, 'framesRendered') || this.#change(report, 'framesDecoded');
    if (report.totalInterFrameDelay === undefined || frames <= 0) return null;
    const mean = this.#change(report, 'totalInterFrameDelay') / frames;
    const variance = this.#change(report, 'totalSquaredInterFrameDelay') / frames - mean ** 2;
    return { mean: mean * 1000, deviation: Math.sqrt(Math.max(0, variance)) * 1000 };
  }

  /**
   * @param {any} report
   * @param {Map<string, any>} reports
   * @returns {AudioFigures}
   */
  #audio(report, reports) {
    const codec = reports.get(report.codecId);
    const stereo = /\bstereo=1/.test(codec?.sdpFmtpLine ?? '');
    return { ...this.#common(report, reports), channels: stereo ? 2 : 1 };
  }

  /**
   * @param {any} report
   * @param {Map<string, any>} reports
   */
  #common(report, reports) {
    const remote = reports.get(report.remoteId);
    const bytes = report.type === 'inbound-rtp' ? 'bytesReceived' : 'bytesSent';
    const emitted = this.#change(report, 'jitterBufferEmittedCount');
    return {
      codec: reports.get(report.codecId)?.mimeType?.split('/')[1] ?? '',
      bitrate: this.#rate(report, bytes) * 8,
      bufferDelay: emitted > 0 ? (this.#change(report, 'jitterBufferDelay') / emitted) * 1000 : 0,
      packets: report.packetsReceived ?? report.packetsSent ?? 0,
      lost: Math.max(0, report.packetsLost ?? remote?.packetsLost ?? 0), // duplicates make it negative
    };
  }

  /**
   * @param {any} report
   * @param {string} key
   * @returns {number} Change since the last sample; since the beginning at the first one.
   */
  #change(report, key) {
    return (report[key] ?? 0) - (this.#last.get(report.id)?.[key] ?? 0);
  }

  /**
   * @param {any} report
   * @param {string} key
   * @returns {number} Per second, 0 at the first sample.
   */
  #rate(report, key) {
    const last = this.#last.get(report.id);
    const seconds = last ? (report.timestamp - last.timestamp) / 1000 : 0;
    return seconds > 0 ? this.#change(report, key) / seconds : 0;
  }
}

/**
 * The figures of several layers of a picture: those of the largest, and what they cost together.
 * @param {VideoFigures|null} one
 * @param {VideoFigures} other
 * @returns {VideoFigures}
 */
function together(one, other) {
  if (!one) return other;
  return {
    ...(one.width > other.width ? one : other),
    bitrate: one.bitrate + other.bitrate,
    packets: one.packets + other.packets,
    lost: one.lost + other.lost,
  };
}

/**
 * The worst that the receiver has last reported of any stream.
 * @param {Map<string, any>} reports
 */
function reportedLoss(reports) {
  const received = [...reports.values()].filter(({ type }) => type === 'remote-inbound-rtp');
  const shares = received.map(({ fractionLost }) => fractionLost).filter((share) => share !== undefined);
  return shares.length > 0 ? Math.max(...shares) : null;
}

/**
 * @param {number} bits Per second.
 * @returns {string}
 */
export function bitrateText(bits) {
  return bits >= 1e6 ? `${(bits / 1e6).toFixed(1)} Mb/s` : `${Math.round(bits / 1e3)} kb/s`;
}

/**
 * @param {number} ms
 * @returns {string} `40 ms`, `1.2 s`
 */
export function delayText(ms) {
  return ms < 1_000 ? `${Math.round(ms / 10) * 10} ms` : `${(ms / 1_000).toFixed(1)} s`;
}
