/** What arrives of a broadcast, and what to change about it. Pure. */

import { bitrateText } from './stats.js';
import { t } from './words.js';

/** @typedef {{at: number, reports: Map<string, any>, first: Map<string, any>}} Reading */
/** @typedef {{what: string, value: string, advice: string}} Finding `advice` is a key of the catalogue, empty if all is well. */

/** Keyframes further apart than this many seconds are too far apart. */
const KEYFRAMES_MAX = 4;
/** Fewer frames per second than this are few. */
const RATE_MIN = 20;
/** Bits for each pixel of a frame below which a picture of H.264 looks coarse. */
const BITS_PER_PIXEL_MIN = 0.02;
/** Bits per second that not every viewer can receive. */
const BITRATE_MAX = 8_000_000;
/** What every browser plays. */
const EVERYWHERE = ['H264', 'VP8'];

/**
 * @param {Reading} now
 * @param {Reading|null} last
 * @param {import('./broadcasts.js').Broadcast|undefined} broadcast
 * @returns {Finding[]}
 */
export function findings(now, last, broadcast) {
  const [video, audio] = ['video', 'audio'].map((kind) => inbound(now, kind));
  const codec = now.reports.get(video?.codecId);
  const name = codec?.mimeType?.split('/')[1] ?? '';
  const found = [finding('codec', name, EVERYWHERE.includes(name) ? profileAdvice(codec) : 'obs-advice-codec')];
  if (video) found.push(...pictureFindings(video, now, last));
  const hasBFrames = (broadcast?.renditions ?? []).some(({ misfit }) => misfit?.kind === 'b_frames');
  found.push(finding('bframes', t(hasBFrames ? 'obs-yes' : 'obs-no'), hasBFrames ? 'obs-advice-bframes' : ''));
  const sound = now.reports.get(audio?.codecId)?.mimeType?.split('/')[1];
  const hears = audio && (audio.packetsReceived ?? 0) > 0;
  found.push(finding('audio', hears ? (sound ?? '') : t('obs-missing'), hears ? '' : 'obs-advice-audio'));
  return found;
}

/**
 * @param {any} video
 * @param {Reading} now
 * @param {Reading|null} last
 */
function pictureFindings(video, now, last) {
  const { frameWidth: width = 0, frameHeight: height = 0, framesPerSecond: rate = 0 } = video;
  const odd = width % 2 === 1 || height % 2 === 1;
  const before = last && inbound(last, 'video');
  const seconds = before ? (video.timestamp - before.timestamp) / 1_000 : 0;
  const bits = seconds > 0 ? ((video.bytesReceived - before.bytesReceived) * 8) / seconds : 0;
  const isCoarse = bits > 0 && rate > 0 && bits / rate / (width * height) < BITS_PER_PIXEL_MIN;
  const coarse = isCoarse ? 'obs-advice-bitrate' : '';
  return [
    finding('size', `${width} × ${height}`, odd ? 'obs-advice-size' : ''),
    finding('rate', `${Math.round(rate)} fps`, rate > 0 && rate < RATE_MIN ? 'obs-advice-rate' : ''),
    finding('bitrate', bitrateText(bits), bits > BITRATE_MAX ? 'obs-advice-bitrate-high' : coarse),
    keyframeFinding(video, now),
  ];
}

/**
 * Since the first reading, as keyframes are far apart.
 * @param {any} video
 * @param {Reading} now
 */
function keyframeFinding(video, now) {
  const first = [...now.first.values()].find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
  const seconds = first ? (video.timestamp - first.timestamp) / 1_000 : 0;
  const count = first ? video.keyFramesDecoded - first.keyFramesDecoded : 0;
  const far = seconds / Math.max(count, 1) > KEYFRAMES_MAX;
  if (count === 0 && !far) return finding('keyframes', t('obs-measuring'), '');
  const value = t('obs-keyframes-value', { seconds: (seconds / Math.max(count, 1)).toFixed(1) });
  return finding('keyframes', count === 0 ? `> ${value}` : value, far ? 'obs-advice-keyframes' : '');
}

/** @param {any} codec */
function profileAdvice(codec) {
  const profile = /profile-level-id=(..)/i.exec(codec?.sdpFmtpLine ?? '')?.[1]?.toLowerCase();
  return profile && !['42', '4d'].includes(profile) ? 'obs-advice-profile' : '';
}

/**
 * @param {Reading} reading
 * @param {string} kind
 */
function inbound({ reports }, kind) {
  return [...reports.values()].find((report) => report.type === 'inbound-rtp' && report.kind === kind);
}

/**
 * @param {string} what
 * @param {string} value
 * @param {string} advice
 * @returns {Finding}
 */
const finding = (what, value, advice) => ({ what, value, advice });
