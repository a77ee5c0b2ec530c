/** Advice for the publisher when the figures are bad. */

import { bitrateText } from './stats.js';
import { t } from './words.js';

/** Thresholds for advice: share of lost packets, and round trip to the server in milliseconds. */
const LOSS_BAD = 0.05;
const TRIP_BAD = 500;

/**
 * The worst problem, in words; empty if there is none.
 * @param {import('./stats.js').Figures} figures
 */
export function advice({ video, rtt, loss, available }) {
  if (video?.limited === 'cpu') return t('advice-cpu');
  if (video?.limited === 'bandwidth') {
    return t('advice-upload', { rate: bitrateText(available ?? video.bitrate) });
  }
  if (loss !== null && loss >= LOSS_BAD) return t('advice-loss', { share: Math.round(loss * 100) });
  return rtt !== null && rtt >= TRIP_BAD ? t('advice-trip', { time: Math.round(rtt) }) : '';
}
