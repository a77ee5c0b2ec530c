/** The course of a figure over the last minute, as a line. */

const SVG = 'http://www.w3.org/2000/svg';
/** Figures that a line has: a minute of them, one a second. */
export const POINTS = 60;
const HEIGHT = 24;
/** Room for the stroke at the top and at the bottom. */
const MARGIN = 2;

export class Sparkline {
  /** @type {(number|null)[]} */ #values = [];
  /** The line never shows changes smaller than this at full height. */ #least;
  #line = document.createElementNS(SVG, 'path');
  /** @type {SVGSVGElement} */ element = document.createElementNS(SVG, 'svg');

  /** @param {number} least A figure that reaches the top if none is larger. */
  constructor(least) {
    this.#least = least;
    for (const [name, value] of Object.entries({
      'class': 'sparkline',
      'viewBox': `0 0 ${POINTS - 1} ${HEIGHT}`,
      'preserveAspectRatio': 'none',
      'aria-hidden': 'true', // the figure beside it is text
    }))
      this.element.setAttribute(name, value);
    this.#line.setAttribute('vector-effect', 'non-scaling-stroke');
    this.element.append(this.#line);
  }

  /** The figures that are shown, the oldest first; null where there was none. */
  get values() {
    return [...this.#values];
  }

  /** @param {number|null} value */
  push(value) {
    this.#values.push(value);
    if (this.#values.length > POINTS) this.#values.shift();
    this.#line.setAttribute('d', path(this.#values, this.#least));
  }
}

/**
 * A path whose right end is the newest figure, broken where there is none.
 * @param {(number|null)[]} values
 * @param {number} least
 */
export function path(values, least) {
  const top = Math.max(least, ...values.map((value) => value ?? 0));
  let isDrawing = false;
  let text = '';
  for (const [index, value] of values.entries()) {
    if (value !== null) {
      const x = POINTS - values.length + index;
      const y = HEIGHT - MARGIN - (value / top) * (HEIGHT - 2 * MARGIN);
      text += `${isDrawing ? 'L' : 'M'}${x} ${y.toFixed(1)}`;
    }
    isDrawing = value !== null;
  }
  return text;
}
