/** The badge of `<aerial-player>`: whether it is live, and how far behind. */

import { h, setText } from './dom.js';
import { delayText } from './stats.js';
import { t } from './words.js';

export class LiveBadge {
  #word = h('span');
  #delay = h('span', { class: 'delay', hidden: true });
  element = h('span', { class: 'chip live off', part: 'live' }, this.#word, this.#delay);

  /** @param {boolean} live */
  show(live) {
    this.element.classList.toggle('off', !live);
    setText(this.#word, t(live ? 'player-live' : 'player-off-air'));
    if (!live) this.tell(null);
  }

  /** @param {number|null} delay From the server to the screen, in milliseconds. */
  tell(delay) {
    this.#delay.hidden = delay === null;
    if (delay === null) {
      this.element.removeAttribute('title');
      return;
    }
    setText(this.#delay, delayText(delay));
    this.element.title = t('player-delay', { delay: delayText(delay) });
  }
}
