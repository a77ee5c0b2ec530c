/** The last refusal of a publisher, such as OBS, which shows its user the same box for every reason. */

import { byId, durationText, setText } from './dom.js';
import { at } from './site.js';
import { t } from './words.js';

/** How often the page asks, in milliseconds. */
const EVERY = 5_000;

/**
 * @param {string} name The broadcast.
 * @param {string} token A token that may publish there; empty if none is needed.
 * @returns {Promise<string|null>} Empty if nobody was refused lately; null without the right token.
 */
async function lastRefusal(name, token) {
  try {
    const response = await fetch(at(`api/broadcasts/${encodeURIComponent(name)}/refusal`), {
      headers: token ? { authorization: `Bearer ${token}` } : {},
    });
    if (response.status === 401 || response.status === 403) return null;
    if (!response.ok) return '';
    const { time, detail, user_agent } = await response.json();
    if (!time) return '';
    const ago = durationText(Math.max(0, Date.now() - Date.parse(time)));
    return t('refused', { who: user_agent || t('refused-publisher'), time: ago, detail });
  } catch {
    return ''; // shown when the server can be reached again
  }
}

/** The line of the page that tells about refusals. */
export class RefusalLine {
  #name;
  #token;
  /** @type {string|null} A token that may not publish here: asking again would count as guessing. */ #denied = null;

  /**
   * @param {string} name The broadcast.
   * @param {() => string|null} token The token to ask with, null to not ask.
   */
  constructor(name, token) {
    this.#name = name;
    this.#token = token;
  }

  start() {
    setInterval(() => void this.#show(), EVERY);
    void this.#show();
  }

  async #show() {
    const token = this.#token();
    if (document.hidden || token === null || token === this.#denied) return;
    const text = await lastRefusal(this.#name, token);
    if (text === null) this.#denied = token;
    const line = byId('refusal', HTMLElement);
    line.hidden = !text;
    setText(line, text ?? '');
  }
}
