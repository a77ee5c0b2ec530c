/** What the system shows of a player: on the lock screen, for the keys of a keyboard. */

import { at } from './site.js';

/** The player that the system shows. @type {object|null} */
let shown = null;

/**
 * @param {{shownName: string, play: () => Promise<unknown>, pause: () => void}} player
 * @param {boolean} playing
 */
export function showToSystem(player, playing) {
  const { mediaSession } = navigator;
  if (!mediaSession || (!playing && shown !== player)) return;
  shown = player;
  mediaSession.playbackState = playing ? 'playing' : 'paused';
  const artwork = [{ src: at('touch-icon.png'), sizes: '180x180', type: 'image/png' }];
  mediaSession.metadata = new MediaMetadata({ title: player.shownName, artist: location.host, artwork });
  mediaSession.setActionHandler('play', () => void player.play().catch(() => {})); // the player says why
  mediaSession.setActionHandler('pause', () => player.pause());
}

/** @param {object} player One that is gone. */
export function hideFromSystem(player) {
  if (shown !== player || !navigator.mediaSession) return;
  shown = null;
  navigator.mediaSession.metadata = null;
  navigator.mediaSession.playbackState = 'none';
  for (const action of /** @type {const} */ (['play', 'pause'])) navigator.mediaSession.setActionHandler(action, null);
}
