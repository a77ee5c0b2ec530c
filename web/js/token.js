/**
 * The token of a page: from `?token=` in its address, or entered when the server requires one.
 *
 * It is kept until the tab is closed, separately for publishing and watching, and removed from the
 * address, so that a copied link does not contain it.
 */

import { h, setText } from './dom.js';
import { t } from './words.js';

/** @typedef {'publish'|'watch'|'admin'} Purpose */

/** Errors that another token may fix. */
const KINDS = new Set(['unauthorized', 'forbidden']);

/** @param {import('./errors.js').SessionError|null|undefined} error */
export function wantsToken(error) {
  return error ? KINDS.has(error.kind) : false;
}

/**
 * @param {Purpose} purpose
 * @returns {string} Empty if there is none.
 */
export function pageToken(purpose) {
  const address = new URL(location.href);
  const given = address.searchParams.get('token');
  if (given === null) return stored(purpose);
  address.searchParams.delete('token');
  history.replaceState(history.state, '', address);
  keepToken(purpose, given);
  return given;
}

/** @param {Purpose} purpose */
function stored(purpose) {
  try {
    return sessionStorage.getItem(`aerial-token-${purpose}`) ?? '';
  } catch {
    return ''; // storage is blocked in some embeddings
  }
}

/** @param {Purpose} purpose @param {string} token */
export function keepToken(purpose, token) {
  try {
    sessionStorage.setItem(`aerial-token-${purpose}`, token);
  } catch {
    // see stored
  }
}

/** A field for the token, hidden until one is needed. */
export class TokenForm {
  #input = h('input', {
    'id': 'token',
    'type': 'password',
    'autocomplete': 'off',
    'maxlength': '4096',
    'aria-describedby': 'token-hint',
    'required': true,
  });
  #hint = h('p', { 'class': 'hint', 'id': 'token-hint', 'aria-live': 'polite' });
  /** The element to put into the page. */
  element = h(
    'form',
    { 'class': 'panel token', 'aria-label': t('token'), 'hidden': true, 'novalidate': true },
    h('label', { for: 'token' }, t('token')),
    this.#input,
    this.#hint,
    h('button', { class: 'button primary', type: 'submit' }, t('token-continue')),
  );

  /**
   * @param {Purpose} purpose
   * @param {(token: string) => void} onToken
   */
  constructor(purpose, onToken) {
    this.element.addEventListener('submit', (event) => {
      event.preventDefault();
      const token = this.#input.value.trim();
      if (!token) {
        this.#input.focus();
        return;
      }
      keepToken(purpose, token);
      this.hide();
      onToken(token);
    });
  }

  /**
   * @param {string} why A sentence for the user.
   * @param {string} reason The same for programs.
   * @param {{focus?: boolean}} [options] Default: the field gets the focus.
   */
  ask(why, reason, { focus = true } = {}) {
    setText(this.#hint, why);
    this.element.dataset.reason = reason;
    if (!this.element.hidden) return;
    this.element.hidden = false;
    if (!focus) return;
    this.#input.focus();
    this.element.scrollIntoView({ block: 'nearest' });
  }

  hide() {
    this.element.hidden = true;
    this.#input.value = '';
  }
}
