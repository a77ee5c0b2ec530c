/**
 * Publish a MediaStream over WHIP (RFC 9725).
 *
 * ```js
 * import { WhipClient } from 'https://your.server/js/v1/whip.js';
 * const stream = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
 * const client = new WhipClient('https://your.server/whip/studio', stream, { maxVideoBitrate: 2_500_000 });
 * client.addEventListener('statechange', ({ detail }) => console.log(detail.state));
 * client.start();
 * ```
 *
 * States: `idle` `connecting` `live` `offline` (interrupted, reconnecting) `failed` (see
 * `client.error.words`) `closed`. Events: `statechange`, and `data` and `message` as of WhepClient: what viewers send is
 * a `message` of the type `control`. The tracks stay yours: stop() does not stop them.
 */

import { Client } from './client.js';
import { withOpusParameters, withStartBitrate } from './sdp.js';

/**
 * @typedef {object} PublishOptions
 * @property {string[]} [codecs] Video codecs in order of preference, lower case. Default
 *   `['h264', 'vp8']`: every viewer can decode H264; VP8 is for browsers that cannot encode it.
 *   Codecs not named follow in the browser's own order.
 * @property {number} [maxVideoBitrate] Bits per second. Default 2 500 000.
 * @property {number} [maxAudioBitrate] Bits per second. Default 128 000.
 * @property {number} [maxFramerate] Frames per second. Default 30.
 * @property {number} [maxHeight] Pictures higher than this many pixels are scaled down. Default: no limit.
 * @property {'motion'|'detail'|'text'|''} [contentHint] What matters in the picture; `detail` or
 *   `text` for a screen. Default '': the browser's choice.
 * @property {boolean} [stereo] Send stereo sound. Default true.
 * @property {1|2|3} [layers] Sizes to send at once (simulcast), each half as wide and high as the one before, so that
 *   viewers on slow networks get a smaller one. All of them together need half as much again as the largest. Default 1.
 */

/** @typedef {import('./client.js').ClientOptions & PublishOptions} WhipOptions */

/** After a loss, our own name may look taken for this many attempts. */
const TAKEN_RETRIES = 10;
/** First estimate of what the network carries: this share of the wanted bitrate, at most this many bits per second. */
const START_SHARE = 0.6;
const START_MAX = 2_000_000;

/**
 * The layers of simulcast, smallest first: how many times smaller than the picture, and their share of the bitrate.
 * Each is a stream of its own, not a part of a scalable one.
 */
const LAYERS = [
  { rid: 'l', down: 4, share: 0.12 },
  { rid: 'm', down: 2, share: 0.35 },
  { rid: 'h', down: 1, share: 1 },
];
const SEPARATE = 'L1T1';

export class WhipClient extends Client {
  /** @type {Required<PublishOptions>} */ #publish;
  /** @type {Map<string, MediaStreamTrack>} */ #tracks = new Map();
  /** @type {Map<string, RTCRtpSender>} */ #senders = new Map();
  #taken = 0;

  /**
   * @param {string|URL} url WHIP endpoint, for example `/whip/studio`.
   * @param {MediaStream} stream At most one of its video and one of its audio tracks are sent.
   * @param {WhipOptions} [options]
   */
  constructor(url, stream, options = {}) {
    const { codecs, maxVideoBitrate, maxAudioBitrate, maxFramerate, maxHeight, contentHint, stereo, layers, ...rest } =
      options;
    super('whip', url, rest);
    this.#publish = {
      codecs: codecs ?? ['h264', 'vp8'],
      maxVideoBitrate: maxVideoBitrate ?? 2_500_000,
      maxAudioBitrate: maxAudioBitrate ?? 128_000,
      maxFramerate: maxFramerate ?? 30,
      maxHeight: maxHeight ?? Infinity,
      contentHint: contentHint ?? '',
      stereo: stereo ?? true,
      layers: layers ?? 1,
    };
    for (const track of stream.getTracks()) if (!this.#tracks.has(track.kind)) this.#tracks.set(track.kind, track);
  }

  /** The tracks being sent. */
  get tracks() {
    return [...this.#tracks.values()];
  }

  /**
   * Replaces a track while live, within the same session. A kind that was not sent before (a camera in
   * addition to a voice) gets a new session.
   * @param {'video'|'audio'} kind
   * @param {MediaStreamTrack|null} track null sends nothing of this kind.
   */
  async replaceTrack(kind, track) {
    if ((this.#tracks.get(kind) ?? null) === track) return;
    if (track) this.#tracks.set(kind, track);
    else this.#tracks.delete(kind);
    const sender = this.#senders.get(kind);
    if (sender && this.peer) {
      await sender.replaceTrack(track);
      await this.#tune();
    } else if (track && this.peer) {
      await this.renew(); // without a connection, the next one takes it
    }
  }

  /**
   * Changes limits while live.
   * @param {Partial<PublishOptions>} options
   */
  async configure(options) {
    const negotiated = this.#negotiated;
    Object.assign(this.#publish, options);
    if (this.#negotiated !== negotiated) await this.renew();
    else await this.#tune();
  }

  /** What changes only with a new session. */
  get #negotiated() {
    const { codecs, layers } = this.#publish;
    return [...codecs, layers].join();
  }

  /** @param {RTCPeerConnection} peer */
  prepare(peer) {
    this.#senders.clear();
    const stream = new MediaStream(this.tracks);
    for (const kind of ['video', 'audio']) {
      const track = this.#tracks.get(kind);
      if (!track) continue;
      const sendEncodings = kind === 'video' ? this.#encodings() : undefined;
      const transceiver = peer.addTransceiver(track, { direction: 'sendonly', streams: [stream], sendEncodings });
      this.#senders.set(kind, transceiver.sender);
      if (kind === 'video') this.#prefer(transceiver);
    }
    void this.#tune();
    peer.addEventListener('connectionstatechange', () => {
      if (peer === this.peer && peer.connectionState === 'connected') void this.#tune();
    });
  }

  /** @returns {RTCRtpEncodingParameters[]|undefined} */
  #encodings() {
    const { layers } = this.#publish;
    if (layers === 1) return undefined;
    return LAYERS.slice(-layers).map(({ rid, down }) => ({
      rid,
      scaleResolutionDownBy: down,
      scalabilityMode: SEPARATE,
    }));
  }

  /** @param {RTCRtpTransceiver} transceiver */
  #prefer(transceiver) {
    const known = RTCRtpSender.getCapabilities?.('video')?.codecs;
    if (!known || !('setCodecPreferences' in transceiver)) return;
    try {
      transceiver.setCodecPreferences(ordered(known, this.#publish.codecs));
    } catch (error) {
      console.warn('codec preferences refused', error); // the browser's own order works as well
    }
  }

  /** @param {string} sdp */
  adjustOffer(sdp) {
    return this.#publish.stereo ? withOpusParameters(sdp, { 'stereo': 1, 'sprop-stereo': 1 }) : sdp;
  }

  /** The browser sends what the other side says it wants. @param {string} sdp */
  adjustAnswer(sdp) {
    const { stereo, maxAudioBitrate, maxVideoBitrate } = this.#publish;
    const answer = withStartBitrate(sdp, Math.min(maxVideoBitrate * START_SHARE, START_MAX));
    return stereo
      ? withOpusParameters(answer, { stereo: 1, maxaveragebitrate: maxAudioBitrate })
      : withOpusParameters(answer, { stereo: 0 });
  }

  /** @param {import('./session.js').Session} _session */
  async negotiated(_session) {
    await this.#tune();
  }

  /** @param {import('./errors.js').SessionError} error */
  mayRetry(error) {
    if (error.kind !== 'name-taken') return super.mayRetry(error);
    this.#taken += 1;
    return this.hasBeenLive && this.#taken <= TAKEN_RETRIES;
  }

  /** @returns {Promise<import('./client.js').State>} */
  async probe() {
    this.#taken = 0;
    return 'live';
  }

  /** Applies the limits to the senders. */
  async #tune() {
    const video = this.#senders.get('video');
    const audio = this.#senders.get('audio');
    const { maxVideoBitrate, maxAudioBitrate, maxFramerate, contentHint, maxHeight } = this.#publish;
    if (video?.track) {
      if ('contentHint' in video.track) video.track.contentHint = contentHint;
      const height = video.track.getSettings().height ?? 0;
      // Until it is connected, Chromium takes the network for a slow one: it would halve the picture for each frame
      // that the camera delivers, and need several seconds to undo that.
      const sharp = contentHint === 'detail' || contentHint === 'text' || this.peer?.connectionState !== 'connected';
      await limit(
        video,
        ({ rid }) => {
          const { down, share } = LAYERS.find((layer) => layer.rid === rid) ?? { down: 1, share: 1 };
          const scaleResolutionDownBy = down * Math.max(1, height / maxHeight);
          return { maxBitrate: Math.round(maxVideoBitrate * share), maxFramerate, scaleResolutionDownBy };
        },
        sharp ? 'maintain-resolution' : 'balanced',
      );
    }
    if (audio?.track) await limit(audio, () => ({ maxBitrate: maxAudioBitrate }));
  }
}

/**
 * @param {RTCRtpSender} sender
 * @param {(encoding: RTCRtpEncodingParameters) => RTCRtpEncodingParameters} limits
 * @param {RTCDegradationPreference} [preference]
 */
async function limit(sender, limits, preference) {
  const parameters = sender.getParameters();
  if (!parameters.encodings?.length) return; // not negotiated yet; negotiated() comes back here
  for (const encoding of parameters.encodings) Object.assign(encoding, limits(encoding));
  if (preference) parameters.degradationPreference = preference;
  try {
    await sender.setParameters(parameters);
  } catch (error) {
    console.warn('sending limits refused', error); // the stream continues without them
  }
}

/**
 * Codecs by preference; retransmission and redundancy formats stay behind them.
 * @param {RTCRtpCodec[]} known
 * @param {string[]} wanted
 * @returns {RTCRtpCodec[]}
 */
function ordered(known, wanted) {
  const rank = (/** @type {RTCRtpCodec} */ codec) => {
    const name = codec.mimeType.split('/')[1].toLowerCase();
    if (['rtx', 'red', 'ulpfec', 'flexfec-03'].includes(name)) return 1_000;
    const place = wanted.indexOf(name);
    const fits = name !== 'h264' || /packetization-mode=1/.test(codec.sdpFmtpLine ?? '');
    return (place < 0 ? 100 : place * 10) + (fits ? 0 : 5) + (/42e0/i.test(codec.sdpFmtpLine ?? '') ? 0 : 1);
  };
  return known
    .map((codec, index) => ({ codec, index, place: rank(codec) }))
    .sort((a, b) => a.place - b.place || a.index - b.index)
    .map(({ codec }) => codec);
}
