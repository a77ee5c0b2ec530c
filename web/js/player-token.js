/** The lock inside `<aerial-player>`: says which token is needed, and takes one. */

import { h, setText } from './dom.js';
import { t } from './words.js';

export class TokenLock {
  #input = h('input', {
    'id': 'token',
    'type': 'password',
    'autocomplete': 'off',
    'maxlength': '4096',
    'aria-label': t('token'),
    'placeholder': t('token'),
    'required': true,
  });
  #words = h('p', { class: 'hint' });
  /** Part of the player's cover, hidden until a token is needed. */
  element = h(
    'form',
    { 'class': 'token', 'aria-label': t('token'), 'novalidate': true, 'hidden': true },
    this.#words,
    h('div', {}, this.#input, h('button', { type: 'submit' }, t('token-continue'))),
  );

  /** @param {(token: string) => void} onToken */
  constructor(onToken) {
    this.element.addEventListener('submit', (event) => {
      event.preventDefault();
      const token = this.#input.value.trim();
      if (token) onToken(token);
      else this.#input.focus();
    });
  }

  /**
   * Never takes the focus: the player may be part of somebody's page.
   * @param {import('./errors.js').SessionError|null} error
   * @param {string} label The broadcast.
   * @param {boolean} given Whether a token was sent.
   * @returns {string} The title for the cover; empty if this error is not about tokens.
   */
  show(error, label, given) {
    const asks = error?.kind === 'unauthorized' || error?.reason === 'token-insufficient';
    this.element.hidden = !asks;
    if (!asks) {
      this.#input.value = '';
      return '';
    }
    const forbidden = error.kind === 'forbidden';
    setText(this.#words, forbidden ? t('token-other-hint') : given ? error.words : t('token-kept'));
    this.element.dataset.reason = error.kind;
    return t(forbidden ? 'token-other' : 'token-needed', { name: label });
  }
}
