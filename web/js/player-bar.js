/** The buttons of `<aerial-player>`'s bar. */

import { h, icon } from './dom.js';
import { t } from './words.js';

/**
 * A button of the bar.
 * @param {() => void} click
 * @param {{name: import('./dom.js').Icon, label: string, key: string}} [face] If it stays the same.
 */
export function button(click, face) {
  const element = h('button', { type: 'button', part: 'button', click });
  if (face) {
    element.append(icon(face.name));
    describe(element, face.label, face.key);
  }
  return element;
}

/**
 * @param {HTMLButtonElement} button
 * @param {string} label
 * @param {string} key
 */
export function describe(button, label, key) {
  button.setAttribute('aria-label', label);
  button.title = t('player-with-key', { what: label, key });
}
