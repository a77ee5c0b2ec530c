/** The statistics panel of `<aerial-player>`. */

import { h } from './dom.js';
import { StatsSampler, bitrateText } from './stats.js';
import { t } from './words.js';

/** How often the figures are read, in milliseconds. */
const INTERVAL = 1_000;

export class StatsPanel {
  /** The panel; hidden until toggle(). */
  element;

  #list = h('dl');
  /** The latest reading, as it is copied. @type {import('./stats.js').Figures|null} */ #figures = null;
  #copy = h('button', { type: 'button', click: () => void this.#onCopy() }, t('stats-copy'));
  #sampler = new StatsSampler();
  #peer;
  /** @type {ReturnType<typeof setInterval>|undefined} */ #timer;

  /** @param {() => RTCPeerConnection|null} peer Where the figures come from. */
  constructor(peer) {
    this.#peer = peer;
    this.element = h(
      'div',
      { 'class': 'stats', 'part': 'stats', 'role': 'group', 'aria-label': t('player-stats'), 'tabindex': '0' },
      this.#list,
      this.#copy,
    );
    this.element.hidden = true;
  }

  get shown() {
    return !this.element.hidden;
  }

  toggle() {
    this.element.hidden = !this.element.hidden;
    if (this.shown) this.#start();
    else this.stop();
  }

  #start() {
    this.stop();
    this.#timer = setInterval(() => void this.#update(), INTERVAL);
    void this.#update();
  }

  stop() {
    clearInterval(this.#timer);
  }

  async #update() {
    const peer = this.#peer();
    this.#figures = peer ? await this.#sampler.sample(peer) : null;
    const rows = this.#figures ? lines(this.#figures) : [['connection', t('stats-none')]];
    this.#list.replaceChildren(...rows.flatMap(([term, text]) => [h('dt', {}, t(`stats-${term}`)), h('dd', {}, text)]));
  }

  async #onCopy() {
    const text = JSON.stringify({ time: new Date().toISOString(), ...this.#figures }, null, 2);
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
 * @param {import('./stats.js').Figures} figures
 * @returns {[string, string][]} Key of the catalogue and value.
 */
function lines({ video, audio, rtt }) {
  /** @type {[string, string][]} */
  const rows = [];
  if (video) {
    const { dropped, frames } = video;
    rows.push(
      ['resolution', `${video.width} × ${video.height}`],
      ['rate', `${Math.round(video.fps)} fps`],
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
  if (rtt !== null) rows.push(['trip', `${Math.round(rtt)} ms`]);
  return rows.length > 0 ? rows : [['connection', t('stats-no-media')]];
}

/** @param {{lost: number, packets: number}} figures */
function lostText({ lost, packets }) {
  const all = lost + packets;
  return `${lost} (${all > 0 ? ((lost / all) * 100).toFixed(1) : '0.0'} %)`;
}
