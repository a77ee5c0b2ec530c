/** What the studio sends, in figures. */

import { byId, h } from './dom.js';
import { bitrateText } from './stats.js';
import { t } from './words.js';

/**
 * @param {import('./stats.js').Figures} figures
 * @param {boolean} settled Whether encoders have had time to settle on a bitrate.
 */
export function showFigures({ video, audio, rtt }, settled) {
  const rows = [
    ...(video ? pictureRows(video) : []),
    ...(audio ? [['publish-sound', `${audio.codec} · ${bitrateText(audio.bitrate)}`]] : []),
    ...(video?.limited && settled
      ? [['publish-limited', t(video.limited === 'cpu' ? 'publish-limited-cpu' : 'publish-limited-network')]]
      : []),
    ['publish-lost', String((video?.lost ?? 0) + (audio?.lost ?? 0))],
    ...(rtt === null ? [] : [['stats-trip', `${Math.round(rtt)} ms`]]),
  ];
  byId('figures', HTMLElement).replaceChildren(
    ...rows.flatMap(([term, text]) => [h('dt', {}, t(term)), h('dd', {}, text)]),
  );
}

/** @param {import('./stats.js').VideoFigures} video */
function pictureRows({ width, height, fps, codec, bitrate }) {
  const size = { width: String(width), height: String(height), fps: Math.round(fps) };
  return [
    ['publish-picture', t('publish-picture-size', size)],
    ['stats-video', `${codec} · ${bitrateText(bitrate)}`],
  ];
}
