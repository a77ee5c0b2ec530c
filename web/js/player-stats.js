/** The statistics panel of `<aerial-player>`. */

import { h } from './dom.js';
import { StatsSampler, bitrateText } from './stats.js';

/** How often the figures are read, in milliseconds. */
const INTERVAL = 1_000;

export class StatsPanel {
  /** The panel; hidden until toggle(). */
  element;

  #list = h('dl');
  #sampler = new StatsSampler();
  #peer;
  /** @type {ReturnType<typeof setInterval>|undefined} */ #timer;

  /** @param {() => RTCPeerConnection|null} peer Where the figures come from. */
  constructor(peer) {
    this.#peer = peer;
    this.element = h(
      'div',
      { 'class': 'stats', 'part': 'stats', 'role': 'group', 'aria-label': 'Statistics', 'tabindex': '0' },
      this.#list,
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
    const rows = peer ? lines(await this.#sampler.sample(peer)) : [['Connection', 'none']];
    this.#list.replaceChildren(...rows.flatMap(([term, text]) => [h('dt', {}, term), h('dd', {}, text)]));
  }
}

/**
 * @param {import('./stats.js').Figures} figures
 * @returns {[string, string][]}
 */
function lines({ video, audio, rtt }) {
  /** @type {[string, string][]} */
  const rows = [];
  if (video) {
    rows.push(
      ['Resolution', `${video.width} × ${video.height}`],
      ['Frame rate', `${Math.round(video.fps)} fps`],
      ['Video', `${video.codec} · ${bitrateText(video.bitrate)}`],
      ['Video buffer', `${Math.round(video.bufferDelay)} ms`],
      ['Video lost', lostText(video)],
      ['Frames dropped', `${video.dropped} of ${video.frames}`],
      ['Freezes', String(video.freezes)],
    );
  }
  if (audio) {
    rows.push(
      ['Audio', `${audio.codec} ${audio.channels === 2 ? 'stereo' : 'mono'} · ${bitrateText(audio.bitrate)}`],
      ['Audio buffer', `${Math.round(audio.bufferDelay)} ms`],
      ['Audio lost', lostText(audio)],
    );
  }
  if (rtt !== null) rows.push(['Round trip', `${Math.round(rtt)} ms`]);
  return rows.length > 0 ? rows : [['Connection', 'no media yet']];
}

/** @param {{lost: number, packets: number}} figures */
function lostText({ lost, packets }) {
  const all = lost + packets;
  return `${lost} (${all > 0 ? ((lost / all) * 100).toFixed(1) : '0.0'} %)`;
}
