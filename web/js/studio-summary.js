/** What a broadcast was, once it has ended. */

import { byId, durationText, h } from './dom.js';
import { bitrateText } from './stats.js';
import { bitrate } from './studio-figures.js';
import { language, t } from './words.js';

export class StudioSummary {
  #panel = byId('summary', HTMLElement);
  /** When it went live, 0 before that. */ #since = 0;
  /** Of all readings while live. */ #bits = 0;
  #readings = 0;
  /** The most viewers at once, null if nobody knows. @type {number|null} */ #most = null;
  #interruptions = 0;
  /** @type {import('./client.js').State} */ #state = 'idle';

  /** Another broadcast begins. */
  begin() {
    this.#panel.hidden = true;
    this.#since = this.#bits = this.#readings = this.#interruptions = 0;
    this.#most = null;
    this.#state = 'idle';
  }

  /** When it went live, 0 before that. */
  get since() {
    return this.#since;
  }

  /** @param {import('./client.js').State} state */
  follow(state) {
    if (state === 'live') this.#since ||= Date.now();
    if (this.#state === 'live' && (state === 'offline' || state === 'connecting')) this.#interruptions += 1;
    if (state === 'closed' || state === 'failed') this.#show();
    this.#state = state;
  }

  /** @param {import('./studio-figures.js').Sending} sending */
  tell({ figures, viewers }) {
    if (this.#state !== 'live') return;
    const bits = bitrate(figures);
    if (bits > 0) {
      this.#bits += bits;
      this.#readings += 1;
    }
    if (viewers !== null) this.#most = Math.max(this.#most ?? 0, viewers);
  }

  #show() {
    if (!this.#since || !this.#panel.hidden) return;
    const rows = [
      ['summary-duration', durationText(Date.now() - this.#since)],
      ['summary-viewers', this.#most === null ? '–' : this.#most.toLocaleString(language)],
      ['summary-bitrate', this.#readings > 0 ? bitrateText(this.#bits / this.#readings) : '–'],
      ['summary-interruptions', this.#interruptions.toLocaleString(language)],
    ];
    const list = rows.map(([term, text]) => h('div', {}, h('dt', {}, t(term)), h('dd', {}, text)));
    byId('summary-figures', HTMLElement).replaceChildren(...list);
    this.#panel.hidden = false;
  }
}
