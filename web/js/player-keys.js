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
