/** What `<aerial-player>` shows where there is no picture: the name and how loud it is. */

import { h, icon, setText } from './dom.js';
import { LevelMeter } from './meter.js';
import { t } from './words.js';

/** How often the picture is looked at, in milliseconds, and how often it has to be black in a row. */
const LOOK_EVERY = 1_000;
const BLACK_LOOKS = 3;
/** Size of the sample, in pixels, and what counts as black, of 255. */
const WIDTH = 16;
const HEIGHT = 9;
const BLACK = 24;

export class SoundCover {
  #name = h('div', { class: 'title' });
  #meterElement = h(
    'div',
    {
      'class': 'meter',
      'role': 'meter',
      'aria-label': t('player-level'),
      'aria-valuemin': '-60',
      'aria-valuemax': '0',
      'aria-valuenow': '-60',
    },
    h('i'),
    h('b'),
  );
  element = h(
    'div',
    { class: 'cover sound-only', part: 'sound', hidden: true },
    h('div', { 'class': 'mark', 'aria-hidden': 'true' }, icon('volume')),
    this.#name,
    h('div', { class: 'hint' }, t('player-sound-only')),
    this.#meterElement,
  );

  /** @type {LevelMeter|null} */ #meter = null;
  /** @type {MediaStreamTrack|null} */ #track = null;
  /** @type {MediaStream|null} */ #stream = null;
  #video;
  #black = 0;
  /** @type {OffscreenCanvasRenderingContext2D|null} */ #context = null;
  /** @type {ReturnType<typeof setInterval>|undefined} */ #timer;

  /** @param {HTMLVideoElement} video */
  constructor(video) {
    this.#video = video;
  }

  /**
   * @param {MediaStream|null} stream What plays; null if nothing does.
   * @param {string} label
   */
  follow(stream, label) {
    setText(this.#name, label);
    if (stream === this.#stream) return;
    this.#stream = stream;
    clearInterval(this.#timer);
    this.#black = 0;
    if (!stream?.getAudioTracks().length) return this.#show(null);
    this.#look(stream);
    this.#timer = setInterval(() => this.#look(stream), LOOK_EVERY);
  }

  /** For a player that leaves the page. */
  close() {
    this.follow(null, '');
    this.#meter?.close();
  }

  /** @param {MediaStream} stream */
  #look(stream) {
    if (document.hidden) return;
    const hasPicture = this.#video.videoWidth > 0;
    this.#black = hasPicture && this.#isBlack() ? this.#black + 1 : 0;
    const without = stream.getVideoTracks().length === 0 || (!hasPicture && this.#video.currentTime > 1);
    this.#show(without || this.#black >= BLACK_LOOKS ? stream.getAudioTracks()[0] : null);
  }

  /** A camera that is switched off sends black pictures. */
  #isBlack() {
    this.#context ??= new OffscreenCanvas(WIDTH, HEIGHT).getContext('2d', { willReadFrequently: true });
    if (!this.#context) return false;
    this.#context.drawImage(this.#video, 0, 0, WIDTH, HEIGHT);
    const { data } = this.#context.getImageData(0, 0, WIDTH, HEIGHT);
    return data.every((value, index) => index % 4 === 3 || value < BLACK);
  }

  /** @param {MediaStreamTrack|null} track */
  #show(track) {
    this.element.hidden = !track;
    if (track === this.#track) return;
    this.#track = track;
    if (track) this.#meter ??= new LevelMeter(this.#meterElement);
    this.#meter?.watch(track);
  }
}
