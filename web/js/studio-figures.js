/** What the studio sends, in figures, and what is wrong with it. */

import { byId, h, setText } from './dom.js';
import { Plots } from './plots.js';
import { bitrateText } from './stats.js';
import { advice } from './studio-advice.js';
import { t } from './words.js';

/** Encoders take this many milliseconds to settle on a bitrate. */
const SETTLE = 10_000;

/**
 * @typedef {object} Sending
 * @property {import('./stats.js').Figures} figures
 * @property {number|null} viewers Null if nobody knows.
 */

/** @type {import('./plots.js').Plotted<Sending>[]} */
const PLOTTED = [
  {
    name: 'bitrate',
    words: 'stats-bitrate',
    least: 100_000,
    value: ({ figures }) => bitrate(figures),
    text: bitrateText,
  },
  {
    name: 'fps',
    words: 'stats-rate',
    least: 10,
    value: ({ figures }) => figures.video?.fps ?? null,
    text: (fps) => `${Math.round(fps)} fps`,
  },
  {
    name: 'loss',
    words: 'stats-loss',
    least: 0.02,
    value: ({ figures }) => figures.loss,
    text: (loss) => `${(loss * 100).toFixed(1)} %`,
  },
  {
    name: 'rtt',
    words: 'stats-trip',
    least: 50,
    value: ({ figures }) => figures.rtt,
    text: (rtt) => `${Math.round(rtt)} ms`,
  },
  { name: 'viewers', words: 'publish-viewers', least: 4, value: ({ viewers }) => viewers, text: String },
];

/**
 * What is sent in all, in bits per second.
 * @param {import('./stats.js').Figures} figures
 */
export const bitrate = ({ video, audio }) => (video?.bitrate ?? 0) + (audio?.bitrate ?? 0);

export class StudioFigures {
  #plots = new Plots(PLOTTED);
  #panel = byId('figures-panel', HTMLElement);
  #advice = byId('advice', HTMLElement);

  constructor() {
    byId('figures', HTMLElement).before(this.#plots.element);
  }

  /** @param {boolean} shown */
  show(shown) {
    this.#panel.hidden = !shown;
  }

  /**
   * @param {Sending} sending
   * @param {number} liveSince When it went live, 0 if it has not.
   */
  tell(sending, liveSince) {
    this.#plots.tell(sending);
    const { video, audio } = sending.figures;
    const rows = [
      ...(video ? pictureRows(video) : []),
      ...(audio ? [['publish-sound', `${audio.codec} · ${bitrateText(audio.bitrate)}`]] : []),
    ];
    byId('figures', HTMLElement).replaceChildren(
      ...rows.flatMap(([term, text]) => [h('dt', {}, t(term)), h('dd', {}, text)]),
    );
    const settled = liveSince > 0 && Date.now() - liveSince > SETTLE;
    const words = settled ? advice(sending.figures) : '';
    this.#advice.hidden = words === '';
    setText(this.#advice, words);
  }
}

/** @param {import('./stats.js').VideoFigures} video */
function pictureRows({ width, height, fps, codec, bitrate }) {
  const size = { width: String(width), height: String(height), fps: Math.round(fps) };
  return [
    ['publish-picture', t('publish-picture-size', size)],
    ['stats-video', `${codec} · ${bitrateText(bitrate)}`],
  ];
}
