/** Choosing several broadcasts of the list, to watch them at once. */

import { byId, h, setText } from './dom.js';
import { SEVERAL_MAX } from './broadcasts.js';
import { at } from './site.js';
import { t } from './words.js';

export class Choosing {
  /** @type {Set<string>} */ #names = new Set();
  /** By name. @type {Map<string, HTMLInputElement>} */ #boxes = new Map();
  #button = byId('several', HTMLButtonElement);
  #bar = byId('choosing', HTMLElement);
  #go = byId('choosing-go', HTMLAnchorElement);

  constructor() {
    this.#button.addEventListener('click', () => this.#show(true));
    byId('choosing-cancel', HTMLButtonElement).addEventListener('click', () => this.#show(false));
    setText(byId('choosing-hint', HTMLElement), t('list-several-hint', { count: SEVERAL_MAX }));
  }

  /** @param {number} count How many there are. */
  offer(count) {
    this.#button.hidden = count < 2;
  }

  /**
   * The box on a card.
   * @param {string} name
   */
  box(name) {
    const input = h('input', { 'type': 'checkbox', 'aria-label': t('list-several-pick', { name }) });
    input.addEventListener('change', () => {
      if (input.checked) this.#names.add(name);
      else this.#names.delete(name);
      this.#describe();
    });
    this.#boxes.set(name, input);
    this.#describe();
    return h('label', { class: 'pick' }, input);
  }

  /**
   * The card is gone.
   * @param {string} name
   */
  forget(name) {
    this.#boxes.delete(name);
    this.#names.delete(name);
    this.#describe();
  }

  /** @param {boolean} shown */
  #show(shown) {
    this.#bar.hidden = !shown;
    document.documentElement.classList.toggle('picking', shown);
    this.#button.setAttribute('aria-expanded', String(shown));
    this.#describe();
    if (!shown) this.#button.focus();
  }

  #describe() {
    const { size } = this.#names;
    for (const box of this.#boxes.values()) box.disabled = !box.checked && size >= SEVERAL_MAX;
    this.#go.hidden = size === 0;
    setText(this.#go, t('list-several-go', { count: size }));
    this.#go.href = at(`watch/${[...this.#names].map(encodeURIComponent).join('+')}`);
  }
}
