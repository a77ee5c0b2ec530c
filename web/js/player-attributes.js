/** The attributes of `<aerial-player>` as properties, for frameworks that set those. */

import { t } from './words.js';

export class AttributesElement extends HTMLElement {
  /**
   * Takes properties that a page has set before the element was defined.
   * @param {string[]} names
   */
  adopt(names) {
    const own = /** @type {any} */ (this);
    for (const name of names) {
      if (!Object.hasOwn(own, name)) continue;
      const value = own[name];
      delete own[name];
      own[name] = value;
    }
  }

  get src() {
    return this.getAttribute('src') ?? '';
  }
  set src(value) {
    this.#reflect('src', value);
  }

  get label() {
    return this.getAttribute('label') ?? '';
  }
  set label(value) {
    this.#reflect('label', value);
  }

  get token() {
    return this.getAttribute('token') ?? '';
  }
  set token(value) {
    this.#reflect('token', value);
  }

  /** @returns {number|null} */
  get viewers() {
    const value = this.getAttribute('viewers');
    return value === null ? null : Number(value);
  }
  set viewers(value) {
    this.#reflect('viewers', value);
  }

  /** @returns {string} `off`, or empty. */
  get controls() {
    return this.getAttribute('controls') ?? '';
  }
  /** @param {string|boolean|null} value */
  set controls(value) {
    this.#reflect('controls', value === false ? 'off' : value === true ? null : value);
  }

  /** False if nothing is loaded before play() is called: the attribute is `off`. */
  get autoplay() {
    return this.getAttribute('autoplay') !== 'off';
  }
  set autoplay(value) {
    this.#reflect('autoplay', value === false ? 'off' : null);
  }

  /** Address of a picture to show while there is none of the broadcast. */
  get poster() {
    return this.getAttribute('poster') ?? '';
  }
  set poster(value) {
    this.#reflect('poster', value);
  }

  get theatre() {
    return this.getAttribute('theatre') ?? '';
  }
  set theatre(value) {
    this.#reflect('theatre', value);
  }

  /** The name that is shown. */
  get shownName() {
    const last = this.src
      .split(/[?#]/)[0]
      .split('/')
      .filter((part) => part && part !== 'whep')
      .pop();
    return this.label || last || t('player-nameless');
  }

  /** @param {string} name @param {unknown} value */
  #reflect(name, value) {
    if (value === null || value === undefined || value === '') this.removeAttribute(name);
    else this.setAttribute(name, String(value));
  }
}
