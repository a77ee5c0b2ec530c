/** The statistics panel of `<aerial-player>`: figures, and their course over the last minute. */

import { h } from './dom.js';
import { Plots } from './plots.js';
import { bitrateText, delayText } from './stats.js';
import { t } from './words.js';

/** @typedef {import('./stats.js').Figures} Figures */

/** @type {import('./plots.js').Plotted<Figures>[]} */
const PLOTTED = [
  { name: 'bitrate', words: 'stats-bitrate', least: 100_000, value: bitrate, text: bitrateText },
  {
    name: 'loss',
    words: 'stats-loss',
    least: 0.02,
    value: ({ loss }) => loss,
    text: (loss) => `${(loss * 100).toFixed(1)} %`,
  },
  { name: 'rtt', words: 'stats-trip', least: 50, value: ({ rtt }) => rtt, text: (rtt) => `${Math.round(rtt)} ms` },
  {
    name: 'fps',
    words: 'stats-rate',
    least: 10,
    value: ({ video }) => video?.fps ?? null,
    text: (fps) => `${Math.round(fps)} fps`,
  },
  {
    name: 'frameTime',
    words: 'stats-frame-time',
    least: 50,
    value: ({ video }) => (video?.frameTime ? video.frameTime.mean + video.frameTime.deviation : null),
    text: (_, { video }) =>
      `${Math.round(video?.frameTime?.mean ?? 0)} ± ${Math.round(video?.frameTime?.deviation ?? 0)} ms`,
  },
  { name: 'delay', words: 'stats-delay', least: 100, value: ({ delay }) => delay, text: delayText },
];

/** @param {Figures} figures */
function bitrate({ video, audio }) {
  return video || audio ? (video?.bitrate ?? 0) + (audio?.bitrate ?? 0) : null;
}

export class StatsPanel {
  /** The panel; hidden until toggle(). */
  element;

  #plots = new Plots(PLOTTED);
  #facts = h('dl');
  /** The latest reading, as it is copied. @type {Figures|null} */ #figures = null;
  #copy = h('button', { type: 'button', click: () => void this.#onCopy() }, t('stats-copy'));

  constructor() {
    this.element = h(
      'div',
      {
        'class': 'stats',
        'part': 'stats',
        'role': 'group',
        'aria-label': t('player-stats'),
        'tabindex': '0',
        'hidden': true,
      },
      this.#plots.element,
      this.#facts,
      this.#copy,
    );
  }

  get shown() {
    return !this.element.hidden;
  }

  toggle(shown = !this.shown) {
    this.element.hidden = !shown;
    this.#show();
  }

  /** @param {Figures|null} figures Null if there is no connection. */
  tell(figures) {
    if (figures === this.#figures) return;
    if (this.#figures || !figures) this.#plots.tell(figures); // the first reading has no rates yet
    this.#figures = figures;
    this.#show();
  }

  #show() {
    if (!this.shown) return;
    const figures = this.#figures;
    const facts = figures ? lines(figures) : [['connection', t('stats-none')]];
    this.#facts.replaceChildren(
      ...facts.flatMap(([term, text]) => [h('dt', {}, t(`stats-${term}`)), h('dd', {}, text)]),
    );
  }

  async #onCopy() {
    const text = JSON.stringify(
      { time: new Date().toISOString(), ...this.#figures, lastMinute: this.#plots.values },
      null,
      2,
    );
    try {
      await navigator.clipboard.writeText(text); // missing in insecure contexts
      this.#copy.textContent = t('copied');
    } catch (error) {
      console.warn('the figures cannot be copied', error);
    }
    setTimeout(() => (this.#copy.textContent = t('stats-copy')), 1_800);
  }
}

/**
 * @param {Figures} figures
 * @returns {[string, string][]} Key of the catalogue and value.
 */
function lines({ video, audio }) {
  /** @type {[string, string][]} */
  const rows = [];
  if (video) {
    const { dropped, frames } = video;
    rows.push(
      ['resolution', `${video.width} × ${video.height}`],
      ['video', `${video.codec} · ${bitrateText(video.bitrate)}`],
      ['video-buffer', `${Math.round(video.bufferDelay)} ms`],
      ['video-lost', lostText(video)],
      ['dropped', t('stats-dropped-of', { dropped, frames })],
      ['freezes', String(video.freezes)],
    );
  }
  if (audio) {
    const channels = t(audio.channels === 2 ? 'stats-stereo' : 'stats-mono');
    rows.push(
      ['audio', `${audio.codec} ${channels} · ${bitrateText(audio.bitrate)}`],
      ['audio-buffer', `${Math.round(audio.bufferDelay)} ms`],
      ['audio-lost', lostText(audio)],
    );
  }
  return rows.length > 0 ? rows : [['connection', t('stats-no-media')]];
}

/** @param {{lost: number, packets: number}} figures */
function lostText({ lost, packets }) {
  const all = lost + packets;
  return `${lost} (${all > 0 ? ((lost / all) * 100).toFixed(1) : '0.0'} %)`;
}
