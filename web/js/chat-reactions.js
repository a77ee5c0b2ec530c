/** Reactions that float over a picture. */

import { h } from './dom.js';

/** What people react with. */
export const REACTIONS = ['👏', '❤️', '😂', '😮', '🎉', '👍'];
/** Reactions over the picture at once. */
const FLOATS_MAX = 16;
/** Of one kind in one event. */
const EACH_MAX = 6;
const FLIGHT = 3_200;

const SHEET = new CSSStyleSheet();
SHEET.replaceSync(`
.floats { position: absolute; inset: 0; overflow: hidden; pointer-events: none; }
.floats span { position: absolute; bottom: 48px; inset-inline-end: 24px; font-size: 34px; line-height: 1; opacity: 0; }
`);

export class FloatingReactions {
  #layer = h('div', { 'class': 'floats', 'aria-hidden': 'true' });

  /** @param {HTMLElement|ShadowRoot} over What they float over. */
  constructor(over) {
    const root = /** @type {Document|ShadowRoot} */ (over.getRootNode());
    root.adoptedStyleSheets = [...root.adoptedStyleSheets, SHEET];
    over.append(this.#layer);
  }

  /** @param {Record<string, number>} added How many of each. */
  show(added) {
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    for (const [reaction, count] of Object.entries(added)) {
      for (let one = 0; one < Math.min(count, EACH_MAX); one += 1) this.#float(reaction, one * 140, calm);
    }
  }

  /** @param {string} reaction @param {number} delay @param {boolean} calm */
  #float(reaction, delay, calm) {
    if (this.#layer.childElementCount >= FLOATS_MAX) return;
    const mark = h('span', {}, reaction);
    this.#layer.append(mark);
    const aside = `${Math.round(-150 * Math.random())}px`;
    const flight = calm
      ? [{ opacity: 0 }, { opacity: 1, offset: 0.2 }, { opacity: 1, offset: 0.8 }, { opacity: 0 }]
      : [
          { transform: `translate(${aside}, 20px) scale(0.6)`, opacity: 0 },
          { transform: `translate(${aside}, -30px) scale(1.1)`, opacity: 1, offset: 0.15 },
          { transform: `translate(calc(${aside} + 14px), -130px)`, opacity: 1, offset: 0.7 },
          { transform: `translate(calc(${aside} - 10px), -220px)`, opacity: 0 },
        ];
    const animation = mark.animate(flight, { duration: FLIGHT, delay, easing: 'ease-out' });
    animation.addEventListener('finish', () => mark.remove());
    animation.addEventListener('cancel', () => mark.remove());
  }
}
