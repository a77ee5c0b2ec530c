/** A recording in the operator's list: it is played, downloaded and deleted here. */

import { durationText, h, setText } from './dom.js';
import { SessionError } from './errors.js';
import { at } from './site.js';
import { language, t } from './words.js';

const TIMES = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'medium' });
const HLS = 'application/vnd.apple.mpegurl';

/**
 * @typedef {object} Recording As `/api/recordings` has it.
 * @property {string} id
 * @property {string} broadcast
 * @property {string} started
 * @property {number} seconds
 * @property {number} bytes
 * @property {boolean} growing
 * @property {{codec: string, width: number, height: number}} [video]
 * @property {{name: string, bytes: number, growing: boolean}[]} files
 * @property {string} link
 */

/** @param {number} bytes */
function sizeText(bytes) {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

export class RecordingRow {
  #api;
  #onDeleted;
  /** @type {Recording} */ #recording;
  #facts = h('span', { class: 'facts muted' });
  #badge = h('span', { class: 'badge live', hidden: true }, t('recordings-growing'));
  #notice = h('p', { class: 'hint', role: 'alert', hidden: true });
  #downloads = h('div', { class: 'acts downloads' });
  #play;
  #delete;
  /** @type {HTMLVideoElement|null} */ #video = null;
  /** Which of its files is played, where the browser plays no playlists. */ #part = 0;
  element;

  /**
   * @param {import('./admin-api.js').AdminApi} api
   * @param {Recording} recording
   * @param {() => void} onDeleted
   */
  constructor(api, recording, onDeleted) {
    this.#api = api;
    this.#recording = recording;
    this.#onDeleted = onDeleted;
    const name = recording.id;
    this.#play = h(
      'button',
      {
        'class': 'button small',
        'type': 'button',
        'aria-label': t('recordings-play-one', { name }),
        'click': () => this.#start(),
      },
      t('recordings-play'),
    );
    this.#delete = h(
      'button',
      {
        'class': 'button small',
        'type': 'button',
        'aria-label': t('recordings-delete-one', { name }),
        'click': () => void this.#remove(),
      },
      t('recordings-delete'),
    );
    const started = h('span', { class: 'muted' }, TIMES.format(new Date(recording.started)));
    this.element = h(
      'li',
      { class: 'panel recording' },
      h(
        'div',
        { class: 'line' },
        h('div', {}, h('span', {}, h('strong', {}, recording.broadcast), ' ', this.#badge), started, this.#facts),
        h('div', { class: 'acts' }, this.#play, this.#delete),
      ),
      this.#downloads,
      this.#notice,
    );
    this.show(recording);
  }

  get id() {
    return this.#recording.id;
  }

  /** @param {Recording} recording The same one, perhaps longer. */
  show(recording) {
    this.#recording = recording;
    const { bytes, files, growing, seconds, video } = recording;
    const facts = [
      durationText(seconds * 1000),
      sizeText(bytes),
      video ? `${video.codec} ${video.width} × ${video.height}` : recording.id.split('.').pop(),
      t('recordings-parts', { count: files.length }),
    ];
    setText(this.#facts, facts.join(' · '));
    this.#badge.hidden = !growing;
    this.#delete.disabled = growing;
    const links = files.map(({ name }, index) => {
      const text = t('recordings-download') + (files.length > 1 ? ` ${index + 1}` : '');
      const label = t('recordings-download-one', { name });
      return h('a', { 'href': this.#address(`${name}?download=1`), 'download': name, 'aria-label': label }, text);
    });
    // Whoever is on a link stays there.
    if (!this.#downloads.contains(document.activeElement)) this.#downloads.replaceChildren(...links);
  }

  /** @param {string} file */
  #address(file) {
    return at(this.#recording.link.replace(/^\//, '') + file);
  }

  #start() {
    this.#video?.remove();
    this.#notice.hidden = true;
    this.#part = 0;
    const video = h('video', { controls: true, playsInline: true });
    this.#video = video;
    const name = this.#recording.id;
    video.setAttribute('aria-label', t('recordings-play-one', { name }));
    const playsLists = name.endsWith('.mp4') && video.canPlayType(HLS) !== '';
    const source = () => (playsLists ? 'index.m3u8' : this.#recording.files[this.#part].name);
    video.addEventListener('error', () => this.#tell(t('recordings-unplayable')));
    video.addEventListener('ended', () => {
      if (playsLists || this.#part + 1 >= this.#recording.files.length) return;
      this.#part += 1;
      video.src = this.#address(source());
      void video.play();
    });
    this.#notice.before(video);
    video.src = this.#address(source());
    // Refused: the error has told, or the user starts it.
    video.play().catch(() => {});
  }

  async #remove() {
    if (this.#delete.dataset.sure === undefined) {
      this.#delete.dataset.sure = '';
      setText(this.#delete, t('recordings-delete-sure'));
      this.#delete.addEventListener('blur', () => this.#calm(), { once: true });
      return;
    }
    this.#calm();
    try {
      await this.#api.send('DELETE', `recordings/${encodeURIComponent(this.#recording.id)}`);
      this.element.remove();
      this.#onDeleted();
    } catch (error) {
      this.#tell(SessionError.from(error).words);
    }
  }

  #calm() {
    delete this.#delete.dataset.sure;
    setText(this.#delete, t('recordings-delete'));
  }

  /** @param {string} words */
  #tell(words) {
    setText(this.#notice, words);
    this.#notice.hidden = false;
  }
}
