/** The last refusal of a publisher, such as OBS, which shows its user the same box for every reason. */

import { byId, durationText, setText } from './dom.js';
import { at } from './site.js';
import { has, t } from './words.js';

/** How often the page asks, in milliseconds. */
const EVERY = 5_000;
/** Reasons of which the server knows more than their name. */
const DETAILED = new Set(['unsupported', 'codec-mismatch', 'malformed', 'denied']);
/** The codecs do not fit. */
const UNFIT = new Set(['unsupported', 'codec-mismatch']);
const NOBODY = { text: '', reason: '' };

/**
 * Why, in the language of the page.
 * @param {string} reason The last part of the problem's type.
 * @param {string} detail The server's own words.
 */
function wordsFor(reason, detail) {
  const sentence = detail.replace(/\.?$/, '.');
  const words = t(UNFIT.has(reason) ? 'refused-unfit' : `problem-${reason}`);
  if (!UNFIT.has(reason) && !has(`problem-${reason}`)) return sentence;
  return DETAILED.has(reason) ? t('server-says', { words, detail: sentence }) : words;
}

/**
 * @param {string} name The broadcast.
 * @param {string} token A token that may publish there; empty if none is needed.
 * @returns {Promise<{text: string, reason: string}|null>} Empty if nobody was refused lately; null without the right
 *   token.
 */
async function lastRefusal(name, token) {
  try {
    const response = await fetch(at(`api/broadcasts/${encodeURIComponent(name)}/refusal`), {
      headers: token ? { authorization: `Bearer ${token}` } : {},
    });
    if (response.status === 401 || response.status === 403) return null;
    if (!response.ok) return NOBODY;
    const { time, reason, detail, user_agent } = await response.json();
    if (!time) return NOBODY;
    const ago = durationText(Math.max(0, Date.now() - Date.parse(time)));
    const who = user_agent || t('refused-publisher');
    return { text: t('refused', { who, time: ago, words: wordsFor(reason, detail) }), reason };
  } catch {
    return NOBODY; // shown when the server can be reached again
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
    const refusal = await lastRefusal(this.#name, token);
    if (refusal === null) this.#denied = token;
    const { text, reason } = refusal ?? NOBODY;
    const line = byId('refusal', HTMLElement);
    line.hidden = !text;
    line.dataset.reason = reason;
    setText(line, text);
  }
}
