/** The keys of `<aerial-player>`, as an overlay. */

import { h } from './dom.js';
import { t } from './words.js';

/** Key and what it does, as keys of the catalogue or as they are. */
const KEYS = [
  ['key-space', 'player-pause'],
  ['m', 'player-mute'],
  ['key-arrows', 'player-volume'],
  ['f', 'player-full'],
  ['t', 'player-theatre'],
  ['p', 'player-pip'],
  ['s', 'player-screenshot'],
  ['i', 'player-stats'],
  ['?', 'key-help'],
];

export class KeysPanel {
  element = h(
    'div',
    { 'class': 'keys', 'role': 'group', 'aria-label': t('player-keys'), 'tabindex': '0', 'hidden': true },
    h('dl', {}, ...KEYS.flatMap(([key, what]) => [h('dt', {}, h('kbd', {}, t(key))), h('dd', {}, t(what))])),
  );

  toggle(shown = this.element.hidden) {
    this.element.hidden = !shown;
  }
}

/** @typedef {import('./player.js').AerialPlayer} AerialPlayer */

/** @type {Record<string, (player: AerialPlayer) => unknown>} */
const ACTIONS = {
  'i': (player) => player.toggleStats(),
  'm': (player) => player.toggleMute(),
  'f': (player) => player.toggleFullscreen(),
  'p': (player) => player.togglePip(),
  's': (player) => player.screenshot(),
  't': (player) => player.toggleTheatre(),
  '?': (player) => player.keys.toggle(),
  ' ': (player) => player.togglePlay(),
  'k': (player) => player.togglePlay(),
  'ArrowUp': (player) => player.step(0.1),
  'ArrowDown': (player) => player.step(-0.1),
};

/**
 * What a key does.
 * @param {AerialPlayer} player
 * @param {KeyboardEvent} event
 * @returns {(() => unknown)|undefined}
 */
export function actionOf(player, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return undefined;
  if (event.repeat && !/^Arrow/.test(event.key)) return undefined;
  const target = event.composedPath()[0];
  if (target instanceof HTMLElement && target !== player && /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
    return undefined;
  if (target instanceof HTMLButtonElement && (event.key === ' ' || event.key === 'Enter')) return undefined;
  const act = ACTIONS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  return act && (() => act(player));
}
