/** What `<aerial-player>` has in common with HTMLMediaElement: properties and events. */

import { h } from './dom.js';
import { AttributesElement } from './player-attributes.js';
import { screenshot, toggleFullscreen, togglePip } from './player-screen.js';
import { StatsSampler } from './stats.js';

/** Events of the video element that the player fires as its own. */
const FORWARDED = [
  ...['play', 'pause', 'playing', 'waiting', 'stalled', 'volumechange', 'timeupdate'],
  ...['loadedmetadata', 'loadeddata', 'canplay', 'resize', 'enterpictureinpicture', 'leavepictureinpicture'],
];
/** How often `stats` is fired, in milliseconds. */
const STATS_EVERY = 1_000;

/** @typedef {{promise: Promise<void>, resolve: () => void, reject: (error: DOMException) => void}} Awaited */

/** @returns {Awaited} A promise that is settled from outside. */
function awaited() {
  const settle = {};
  const promise = new Promise((resolve, reject) => Object.assign(settle, { resolve, reject }));
  return /** @type {Awaited} */ (Object.assign(settle, { promise }));
}

export class PlayerMediaElement extends AttributesElement {
  /** The element that shows the picture. */
  video = h('video', { autoplay: true, playsinline: true, tabindex: '-1', part: 'video' });
  /** @type {import('./whep.js').WhepClient|null} */ client = null;

  /** @type {((refused: string) => string|null|Promise<string|null>)|undefined} */ #getToken;
  #ended = false;
  /** What {@link awaitPlaying} has promised. @type {Awaited|null} */ #awaited = null;
  #sampler = new StatsSampler();
  /** @type {ReturnType<typeof setInterval>|undefined} */ #statsTimer;

  constructor() {
    super();
    for (const name of FORWARDED) this.video.addEventListener(name, () => this.dispatchEvent(new Event(name)));
    this.video.addEventListener('playing', () => this.#settlePlay());
  }

  connectedCallback() {
    this.#statsTimer = setInterval(() => void this.#sample(), STATS_EVERY);
  }

  disconnectedCallback() {
    clearInterval(this.#statsTimer);
    this.forget();
  }

  /** Settles when it plays. Rejects if it cannot be played, or if another source takes its place. */
  awaitPlaying() {
    this.#awaited ??= awaited();
    return this.#awaited.promise;
  }

  /** Another source begins. */
  forget() {
    this.#ended = false;
    this.#settlePlay(new DOMException('another source has been chosen', 'AbortError'));
  }

  /** @param {DOMException} [error] */
  #settlePlay(error) {
    const awaited = this.#awaited;
    this.#awaited = null;
    if (error) awaited?.reject(error);
    else awaited?.resolve();
  }

  async #sample() {
    const peer = this.client?.peer;
    if (!peer || this.state !== 'live' || document.hidden) return;
    const detail = await this.#sampler.sample(peer);
    this.dispatchEvent(new CustomEvent('stats', { detail }));
  }

  /**
   * Fires what a media element would.
   * @param {import('./client.js').StateChange} change
   */
  tell({ state }) {
    if (state === 'failed') {
      this.#settlePlay(new DOMException(this.error?.words, 'NotSupportedError'));
      this.dispatchEvent(new Event('error'));
    }
    const ended = state === 'waiting' && (this.client?.hasBeenLive ?? false);
    if (ended && !this.#ended) this.dispatchEvent(new Event('ended'));
    if (ended || state === 'live') this.#ended = ended;
  }

  /** @returns {import('./client.js').State} */
  get state() {
    return this.client?.state ?? 'idle';
  }

  /** Gives a token, and another one when the server has refused it. */
  get getToken() {
    return this.#getToken;
  }
  set getToken(value) {
    this.#getToken = value;
  }

  get muted() {
    return this.isConnected ? this.video.muted : this.hasAttribute('muted');
  }
  set muted(value) {
    this.toggleAttribute('muted', Boolean(value));
    if (this.isConnected) this.video.muted = Boolean(value);
  }

  get defaultMuted() {
    return this.hasAttribute('muted');
  }
  set defaultMuted(value) {
    this.toggleAttribute('muted', Boolean(value));
  }

  get volume() {
    return this.video.volume;
  }
  set volume(value) {
    this.video.volume = value;
  }

  get paused() {
    return this.video.paused;
  }

  /** True once a broadcast that has been seen is over, until it plays again. */
  get ended() {
    return this.#ended;
  }

  /** Why it cannot be played, null unless it has failed. */
  get error() {
    return this.state === 'failed' ? (this.client?.error ?? null) : null;
  }

  /** The address in use, absolute. */
  get currentSrc() {
    return this.client ? String(this.client.url) : '';
  }

  /** Seconds that have been played. */
  get currentTime() {
    return this.video.currentTime;
  }

  /** Live: there is no end yet. */
  get duration() {
    return this.video.readyState > 0 ? Infinity : NaN;
  }

  get readyState() {
    return this.video.readyState;
  }

  get videoWidth() {
    return this.video.videoWidth;
  }

  get videoHeight() {
    return this.video.videoHeight;
  }

  togglePip() {
    return togglePip(this.video);
  }

  toggleFullscreen() {
    return toggleFullscreen(this, this.video);
  }

  /** Saves the picture as a file. */
  screenshot() {
    return screenshot(this.video, this.shownName);
  }
}
