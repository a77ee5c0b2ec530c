/** Figures as text, each with its course over the last minute. */

import { h, setText } from './dom.js';
import { POINTS, Sparkline } from './sparkline.js';
import { t } from './words.js';

/** How often figures come, in milliseconds. */
const INTERVAL = 1_000;
const NOTHING = '–';

/**
 * What is plotted, from figures of type T.
 * @template T
 * @typedef {object} Plotted
 * @property {string} name As it is copied.
 * @property {string} words Key of the catalogue.
 * @property {number} least What reaches the top of the plot if nothing larger has been there.
 * @property {(figures: T) => number|null} value
 * @property {(value: number, figures: T) => string} text
 */

/** @template T */
export class Plots {
  /** A list with label, line and text of each. */ element;
  #plots;
  /** When figures came last, 0 before the first. */ #at = 0;

  /** @param {Plotted<T>[]} all */
  constructor(all) {
    this.#plots = all.map((plotted) => ({ plotted, line: new Sparkline(plotted.least), text: h('span', {}, NOTHING) }));
    const rows = this.#plots.map(({ plotted, line, text }) =>
      h('div', { 'data-plot': plotted.name }, h('dt', {}, t(plotted.words)), h('dd', {}, line.element, text)),
    );
    this.element = h('dl', { class: 'plots' }, ...rows);
  }

  /** What is plotted, the oldest first; null where there was none. */
  get values() {
    return Object.fromEntries(this.#plots.map(({ plotted, line }) => [plotted.name, line.values]));
  }

  /** @param {T|null} figures Null if there are none any more. */
  tell(figures) {
    const now = Date.now();
    // A page that nobody sees reads no figures.
    const missed = figures && this.#at ? Math.min(Math.round((now - this.#at) / INTERVAL) - 1, POINTS) : 0;
    if (figures) this.#at = now;
    for (const { plotted, line, text } of this.#plots) {
      const value = figures && plotted.value(figures);
      setText(text, figures && value !== null ? plotted.text(value, figures) : NOTHING);
      for (let gap = 0; gap < missed; gap += 1) line.push(null);
      if (figures) line.push(value);
    }
  }
}
