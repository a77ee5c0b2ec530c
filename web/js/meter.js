/** Shows how loud an audio track is. */

import { t } from './words.js';

/** Quietest level shown, in dB below full scale. */
const FLOOR = -60;
/** How fast the bar falls, in dB per second, and how long the peak is held, in milliseconds. */
const FALL = 30;
const PEAK_HOLD = 1_200;
/** How often a screen reader needs the level, in milliseconds. */
const SPOKEN_EVERY = 1_000;

/** After these, browsers let a page make sound. */
const GESTURES = ['pointerdown', 'keydown'];

export class LevelMeter {
  #element;
  /** @type {HTMLElement} */ #shade;
  /** @type {HTMLElement} */ #peakMark;
  /** @type {MediaStreamTrack|null} */ #track = null;
  /** @type {AudioContext|null} */ #context = null;
  /** @type {MediaStreamAudioSourceNode|null} */ #source = null;
  /** @type {AnalyserNode|null} */ #analyser = null;
  #frame = 0;
  #level = FLOOR;
  #peak = FLOOR;
  #peakAt = 0;
  #drawnAt = 0;
  #spokenAt = 0;

  /** @param {HTMLElement} element With an `<i>` that shades the bar and a `<b>` for the peak. */
  constructor(element) {
    this.#element = element;
    this.#shade = /** @type {HTMLElement} */ (element.querySelector('i'));
    this.#peakMark = /** @type {HTMLElement} */ (element.querySelector('b'));
    this.#draw(FLOOR, FLOOR);
  }

  /** @param {MediaStreamTrack|null} track null shows silence. */
  watch(track) {
    if (track && track === this.#track) return;
    this.#track = track;
    this.#source?.disconnect();
    this.#source = null;
    cancelAnimationFrame(this.#frame);
    this.#level = this.#peak = FLOOR;
    this.#draw(FLOOR, FLOOR);
    if (!track) return;
    this.#context ??= this.#open();
    this.#analyser ??= new AnalyserNode(this.#context, { fftSize: 1024 });
    this.#source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(this.#analyser);
    this.#drawnAt = performance.now();
    this.#frame = requestAnimationFrame(this.#step);
  }

  /** Shows silence, and gives back what the browser holds for it. */
  close() {
    this.watch(null);
    for (const name of GESTURES) document.removeEventListener(name, this.#resume);
    void this.#context?.close();
    this.#context = this.#analyser = null;
  }

  /** A context that is made before a user gesture stays suspended until there is one. */
  #open() {
    for (const name of GESTURES) document.addEventListener(name, this.#resume);
    return new AudioContext();
  }

  #resume = () => {
    void this.#context?.resume();
  };

  #step = (/** @type {number} */ now) => {
    if (!this.#analyser) return;
    const samples = new Float32Array(this.#analyser.fftSize);
    this.#analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    const level = Math.max(FLOOR, 10 * Math.log10(power + 1e-9));
    this.#level = Math.max(level, this.#level - (FALL * (now - this.#drawnAt)) / 1000, FLOOR);
    if (level >= this.#peak || now - this.#peakAt > PEAK_HOLD) {
      this.#peak = level;
      this.#peakAt = now;
    }
    this.#drawnAt = now;
    this.#draw(this.#level, this.#peak);
    if (now - this.#spokenAt > SPOKEN_EVERY) {
      this.#spokenAt = now;
      this.#element.setAttribute('aria-valuenow', String(Math.round(this.#level)));
      this.#element.setAttribute('aria-valuetext', t('publish-level-db', { count: Math.round(this.#level) }));
    }
    this.#frame = requestAnimationFrame(this.#step);
  };

  /**
   * @param {number} level
   * @param {number} peak
   */
  #draw(level, peak) {
    this.#shade.style.transform = `scaleX(${level / FLOOR})`;
    this.#peakMark.style.transform = `translateX(${(1 - peak / FLOOR) * 100 - (peak <= FLOOR ? 5 : 0)}%)`;
  }
}
