/** The operator's strip: what the server uses, with plots of the last half hour. */

import { h, setText } from './dom.js';
import { bitrateText } from './stats.js';
import { t } from './words.js';

const SVG = 'http://www.w3.org/2000/svg';
/** Size of a plot, in its own units. */
const WIDTH = 120;
const HEIGHT = 32;

/**
 * @typedef {object} Reading As `/api/server/load` has it.
 * @property {number} time
 * @property {number} cpu
 * @property {number} memory
 * @property {number} files
 * @property {number} threads
 * @property {number} sessions
 * @property {number} viewers
 * @property {number} received
 * @property {number} sent
 */

/** @typedef {{processors: number, files_max: number, readings: Reading[]}} Load */

/**
 * Each figure: its words, its value, how it is written, and what is the least that fills its plot.
 * @typedef {object} Figure
 * @property {string} term
 * @property {(reading: Reading) => number} value
 * @property {(value: number, load: Load) => string} text
 * @property {(load: Load) => number} least
 */

/** @type {Figure[]} */
const FIGURES = [
  {
    term: 'admin-cpu',
    value: ({ cpu }) => cpu,
    text: (cpu, { processors }) =>
      t('admin-of', { value: `${Math.round(cpu * 100)} %`, most: `${processors * 100} %` }),
    least: () => 1,
  },
  {
    term: 'admin-memory',
    value: ({ memory }) => memory,
    text: (memory) => `${Math.round(memory / 1e6)} MB`,
    least: () => 100e6,
  },
  { term: 'admin-received', value: ({ received }) => received, text: bitrateText, least: () => 1e6 },
  { term: 'admin-sent', value: ({ sent }) => sent, text: bitrateText, least: () => 1e6 },
  { term: 'admin-sessions', value: ({ sessions }) => sessions, text: String, least: () => 5 },
  {
    term: 'admin-files',
    value: ({ files }) => files,
    text: (files, { files_max: most }) => t('admin-of', { value: files, most }),
    least: () => 100,
  },
];

export class Strip {
  /** @type {{figure: Figure, text: HTMLElement, line: SVGPolylineElement}[]} */ #cells;

  /** @param {HTMLElement} list A `<dl>`. */
  constructor(list) {
    this.#cells = FIGURES.map((figure) => {
      const text = h('span', {}, '–');
      const { plot, line } = makePlot();
      list.append(h('div', { class: 'panel' }, h('dt', {}, t(figure.term)), h('dd', {}, text, plot)));
      return { figure, text, line };
    });
  }

  /** @param {Load} load */
  show(load) {
    const last = load.readings.at(-1);
    if (!last) return;
    for (const { figure, text, line } of this.#cells) {
      const values = load.readings.map(figure.value);
      const most = Math.max(figure.least(load), ...values);
      const step = WIDTH / Math.max(1, values.length - 1);
      const points = values.map(
        (value, index) => `${(index * step).toFixed(1)},${(HEIGHT - 1 - (value / most) * (HEIGHT - 2)).toFixed(1)}`,
      );
      line.setAttribute('points', points.join(' '));
      setText(text, figure.text(figure.value(last), load));
    }
  }
}

function makePlot() {
  const plot = document.createElementNS(SVG, 'svg');
  const attributes = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', class: 'plot' };
  for (const [name, value] of Object.entries(attributes)) plot.setAttribute(name, value);
  plot.setAttribute('aria-hidden', 'true');
  const line = document.createElementNS(SVG, 'polyline');
  plot.append(line);
  return { plot, line };
}
