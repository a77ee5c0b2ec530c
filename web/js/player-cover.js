/** What is on the cover of `<aerial-player>`. `again` is `-again` for a broadcast that has played before. */

import { h, icon } from './dom.js';
import { t } from './words.js';

/** The mark above the words. @returns {HTMLDivElement} */
export const coverMark = () => h('div', { 'class': 'mark', 'aria-hidden': 'true' }, h('i'), h('i'), icon('signal'));

/**
 * @param {string} state
 * @param {string} again
 * @param {string} name The broadcast.
 * @param {number} pausedAt When the viewer paused, 0 if nobody has.
 */
export function coverTitle(state, again, name, pausedAt) {
  if (state !== 'live') return t(`player-${state}${again}`, { name });
  return t(pausedAt ? 'player-paused' : 'player-ready');
}

/**
 * @param {string} state
 * @param {string} again
 * @param {number} pausedAt
 */
export function coverHint(state, again, pausedAt) {
  if (state === 'live')
    return pausedAt ? t('player-behind', { count: Math.round((Date.now() - pausedAt) / 1_000) }) : '';
  if (state === 'waiting') return t(`player-waiting${again}-hint`);
  return state === 'offline' ? t('player-trying') : '';
}

/**
 * @param {string} state
 * @param {number} pausedAt
 */
export function coverAction(state, pausedAt) {
  if (state === 'live') return t(pausedAt ? 'player-back' : 'player-play');
  if (state === 'idle') return t('player-play');
  return t(state === 'failed' ? 'player-again' : 'player-start-again');
}
