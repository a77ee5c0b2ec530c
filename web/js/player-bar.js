/** The buttons of `<aerial-player>`'s bar. */

import { h } from './dom.js';
import { t } from './words.js';

/**
 * A button of the bar.
 * @param {() => void} click
 */
export const button = (click) => h('button', { type: 'button', click });

/**
 * @param {HTMLButtonElement} button
 * @param {string} label
 * @param {string} key
 */
export function describe(button, label, key) {
  button.setAttribute('aria-label', label);
  button.title = t('player-with-key', { what: label, key });
}
