/**
 * `<aerial-player src="/whep/demo">`: a live player as one element, for Aerial's own pages and for
 * anyone else's.
 *
 * ```html
 * <script type="module" src="https://your.server/js/player.js"></script>
 * <aerial-player src="https://your.server/whep/demo"></aerial-player>
 * ```
 *
 * Attributes: `src` (WHEP endpoint), `label` (the name to show), `muted`, `token` (bearer
 * token), `viewers` (the number to show), `controls="off"`. Event: `statechange`, as of WhepClient.
 * Keys, when focused: space pause, `m` mute, up and down volume, `f` fullscreen, `p` picture in
 * picture, `i` statistics.
 */

import { h, icon, setText } from './dom.js';
import { StatsPanel } from './player-stats.js';
import { STYLE } from './player-style.js';
import { WhepClient } from './whep.js';

/** Controls hide after this many milliseconds without movement. */
const QUIET_AFTER = 2_800;
const VOLUME_KEY = 'aerial-volume';

const sheet = new CSSStyleSheet();
sheet.replaceSync(STYLE);

/**
 * Title and hint for each state, `again` for one that has been live before; `{label}` is the broadcast.
 * @type {Record<string, [string, string]>}
 */
const COVERS = {
  'idle': ['Ready', ''],
  'connecting': ['Connecting…', ''],
  'waiting': ['{label} has not started yet', 'Stay on this page: it will start by itself.'],
  'waiting again': ['{label} is off air', 'Stay on this page: it will resume by itself.'],
  'offline': ['Not connected yet', 'Trying again…'],
  'offline again': ['Interrupted', 'Trying again…'],
  'failed': ['This broadcast cannot be played', ''],
  'closed': ['Stopped', ''],
};

export class AerialPlayer extends HTMLElement {
  static observedAttributes = ['src', 'label', 'muted', 'token', 'viewers', 'controls'];

  /** The element that shows the picture. */
  video = h('video', { autoplay: true, playsinline: true, tabindex: '-1', part: 'video' });
  /** @type {WhepClient|null} */ client = null;

  #stats = new StatsPanel(() => this.client?.peer ?? null);
  #live = h('span', { class: 'chip live off' }, 'OFF AIR');
  #viewers = h('span', { class: 'chip', hidden: true });
  #title = h('div', { class: 'title' });
  #hint = h('div', { class: 'hint' });
  #action = h('button', { class: 'action', type: 'button', hidden: true, click: () => this.#act() }, 'Try again');
  /** @type {HTMLDivElement} */ #cover = h(
    'div',
    { class: 'cover', part: 'cover' },
    h('div', { 'class': 'mark', 'aria-hidden': 'true' }, h('i'), h('i'), icon('signal')),
    this.#title,
    this.#hint,
    this.#action,
  );
  #spoken = h('div', { class: 'unseen', role: 'status' });
  #sound = h(
    'button',
    { class: 'sound', type: 'button', hidden: true, click: () => this.#unmute() },
    icon('muted'),
    'Tap for sound',
  );
  #playButton = h('button', { type: 'button', click: () => this.#togglePlay() });
  #muteButton = h('button', { type: 'button', click: () => this.toggleMute() });
  #volume = h('input', {
    'type': 'range',
    'min': '0',
    'max': '1',
    'step': '0.05',
    'aria-label': 'Volume',
    'input': () => this.#onVolumeInput(),
  });
  #statsButton = h(
    'button',
    {
      'type': 'button',
      'aria-label': 'Statistics',
      'title': 'Statistics (i)',
      'aria-pressed': 'false',
      'click': () => this.toggleStats(),
    },
    icon('stats'),
  );
  #pipButton = h(
    'button',
    {
      'type': 'button',
      'aria-label': 'Picture in picture',
      'title': 'Picture in picture (p)',
      'click': () => void this.togglePip(),
    },
    icon('pip'),
  );
  #fullButton = h('button', { type: 'button', click: () => void this.toggleFullscreen() });
  /** @type {HTMLDivElement} */ #bar = h(
    'div',
    { 'class': 'bar', 'role': 'group', 'aria-label': 'Player controls' },
    this.#playButton,
    this.#muteButton,
    this.#volume,
    h('span', { class: 'spacer' }),
    this.#statsButton,
    this.#pipButton,
    this.#fullButton,
  );
  #top = h('div', { class: 'top' }, this.#live, this.#viewers);
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #quietTimer;
  #paused = false;

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    root.adoptedStyleSheets = [sheet];
    root.append(this.video, this.#cover, this.#stats.element, this.#sound, this.#top, this.#bar, this.#spoken);
    this.#pipButton.hidden = !document.pictureInPictureEnabled;
    this.#fullButton.hidden = !(document.fullscreenEnabled || 'webkitEnterFullscreen' in this.video);
    const stored = Number.parseFloat(readStored(VOLUME_KEY) ?? '');
    if (stored > 0 && stored <= 1) this.video.volume = stored;
    this.video.addEventListener('volumechange', () => this.#showVolume());
    this.video.addEventListener('click', () => this.#stir());
    this.video.addEventListener('dblclick', () => void this.toggleFullscreen());
    for (const name of ['play', 'pause']) this.video.addEventListener(name, () => this.#showPlay());
    this.addEventListener('fullscreenchange', () => this.#showFullscreen());
    this.addEventListener('keydown', (event) => this.onKey(event));
    for (const name of ['pointermove', 'pointerdown', 'focusin', 'keydown'])
      this.addEventListener(name, () => this.#stir());
    this.addEventListener('pointerleave', () => this.#settle(600));
    this.#showVolume();
    this.#showPlay();
    this.#showFullscreen();
    this.#show();
  }

  connectedCallback() {
    if (!this.hasAttribute('role')) this.setAttribute('role', 'region');
    if (!this.hasAttribute('tabindex')) this.tabIndex = 0;
    this.#name();
    this.video.muted = this.hasAttribute('muted');
    this.#start();
    this.#stir();
  }

  disconnectedCallback() {
    this.#stop();
    this.#stats.stop();
    clearTimeout(this.#quietTimer);
  }

  /** @param {string} name @param {string|null} previous @param {string|null} value */
  attributeChangedCallback(name, previous, value) {
    if (previous === value) return;
    if (name === 'viewers') this.#showViewers(value);
    if (name === 'label') this.#name();
    if (name === 'muted' && this.isConnected) this.video.muted = value !== null;
    if ((name === 'src' || name === 'token') && this.isConnected) this.#start();
    this.#show();
  }

  /** @returns {import('./client.js').State} */
  get state() {
    return this.client?.state ?? 'idle';
  }

  /** What is shown, in words. */
  get label() {
    const last = (this.getAttribute('src') ?? '')
      .split(/[?#]/)[0]
      .split('/')
      .filter((part) => part && part !== 'whep')
      .pop();
    return this.getAttribute('label') || last || 'This broadcast';
  }

  #name() {
    this.setAttribute('aria-label', `Player: ${this.label}`);
    this.video.setAttribute('aria-label', this.label);
  }

  #start() {
    this.#stop();
    const src = this.getAttribute('src');
    if (!src) return;
    const client = new WhepClient(src, { video: this.video, token: this.getAttribute('token') ?? '' });
    this.client = client;
    client.addEventListener('stream', () => void this.#play());
    client.addEventListener('statechange', (event) => {
      if (this.client !== client) return;
      this.#show();
      const { detail } = /** @type {CustomEvent} */ (event);
      this.dispatchEvent(new CustomEvent('statechange', { detail, bubbles: true, composed: true }));
    });
    client.start();
  }

  #stop() {
    const client = this.client;
    this.client = null;
    void client?.stop();
  }

  /** Plays with sound if the browser lets us, silently if not. */
  async #play() {
    if (this.#paused) return;
    try {
      await this.video.play();
      return;
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'NotAllowedError') return; // replaced by a newer stream
    }
    try {
      if (!this.video.muted) {
        this.video.muted = true;
        this.#sound.hidden = false;
      }
      await this.video.play();
    } catch {
      this.#show(); // not even silently: the cover offers a button
    }
  }

  #unmute() {
    this.#sound.hidden = true;
    this.video.muted = false;
    if (this.video.volume === 0) this.video.volume = 0.8;
    void this.video.play();
    this.focus();
  }

  #act() {
    if (this.state === 'live') {
      this.#paused = false;
      void this.video.play().then(() => this.#show());
    } else {
      this.client?.retry();
    }
    this.focus();
  }

  // --- controls -----------------------------------------------------------------------------

  #togglePlay() {
    this.#paused = !this.video.paused;
    if (this.#paused) this.video.pause();
    else void this.#play();
    this.#show();
  }

  toggleMute() {
    if (this.video.muted) this.#unmute();
    else this.video.muted = true;
  }

  toggleStats() {
    this.#stats.toggle();
    this.#statsButton.setAttribute('aria-pressed', String(this.#stats.shown));
  }

  async togglePip() {
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await this.video.requestPictureInPicture();
    } catch (error) {
      console.warn('picture in picture refused', error); // needs a picture and a gesture
    }
  }

  async toggleFullscreen() {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else if (this.requestFullscreen) await this.requestFullscreen();
      // iPhones have full screen for the video element only.
      else /** @type {any} */ (this.video).webkitEnterFullscreen?.();
    } catch (error) {
      console.warn('full screen refused', error);
    }
  }

  #onVolumeInput() {
    this.video.volume = this.#volume.valueAsNumber;
    this.video.muted = this.video.volume === 0;
    if (!this.video.muted) this.#sound.hidden = true;
  }

  /**
   * Also for a page that wants the keys to work without focus.
   * @param {KeyboardEvent} event
   */
  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.composedPath()[0];
    if (target instanceof HTMLElement && target !== this && /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return;
    if (target instanceof HTMLButtonElement && (event.key === ' ' || event.key === 'Enter')) return;
    const step = (/** @type {number} */ by) => {
      this.video.volume = Math.min(1, Math.max(0, this.video.volume + by));
      if (by > 0 && this.video.muted) this.#unmute();
    };
    /** @type {Record<string, () => void>} */
    const keys = {
      'i': () => this.toggleStats(),
      'm': () => this.toggleMute(),
      'f': () => void this.toggleFullscreen(),
      'p': () => void this.togglePip(),
      ' ': () => this.#togglePlay(),
      'k': () => this.#togglePlay(),
      'ArrowUp': () => step(0.1),
      'ArrowDown': () => step(-0.1),
    };
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  // --- what is seen -------------------------------------------------------------------------

  #show() {
    const { state } = this;
    const blocked = state === 'live' && this.video.paused;
    this.#cover.hidden = state === 'live' && !blocked;
    this.#cover.dataset.state = state;
    this.#cover.classList.toggle(
      'clear',
      blocked || (state === 'offline' && this.client?.peer != null && this.video.videoWidth > 0),
    );
    this.#live.classList.toggle('off', state !== 'live');
    setText(this.#live, state === 'live' ? 'LIVE' : 'OFF AIR');
    const [title, hint] =
      state === 'live'
        ? [this.#paused ? 'Paused' : 'Ready to play', '']
        : (COVERS[`${state}${this.client?.hasBeenLive ? ' again' : ''}`] ?? COVERS[state]);
    setText(this.#title, title.replace('{label}', this.label));
    const words = state === 'failed' || state === 'offline' ? (this.client?.error?.words ?? '') : '';
    setText(this.#hint, `${words} ${hint}`.trim());
    const over = state === 'failed' || state === 'closed';
    this.#bar.hidden = over || this.getAttribute('controls') === 'off';
    this.#top.hidden = over;
    this.#action.hidden = !(blocked || state === 'failed' || state === 'closed');
    setText(this.#action, state === 'live' ? 'Play' : state === 'failed' ? 'Try again' : 'Start again');
    setText(
      this.#spoken,
      state === 'live' ? `${this.label} is live` : `${this.#title.textContent} ${this.#hint.textContent}`,
    );
  }

  /** @param {string|null} value */
  #showViewers(value) {
    this.#viewers.hidden = value === null;
    this.#viewers.replaceChildren(icon('eye'), value ?? '');
    this.#viewers.title = `${value} watching`;
  }

  #showVolume() {
    const silent = this.video.muted || this.video.volume === 0;
    this.#muteButton.replaceChildren(icon(silent ? 'muted' : 'volume'));
    describe(this.#muteButton, silent ? 'Unmute' : 'Mute', 'm');
    this.#volume.valueAsNumber = silent ? 0 : this.video.volume;
    if (!silent) {
      this.#sound.hidden = true;
      store(VOLUME_KEY, String(this.video.volume));
    }
  }

  #showPlay() {
    this.#playButton.replaceChildren(icon(this.video.paused ? 'play' : 'pause'));
    describe(this.#playButton, this.video.paused ? 'Play' : 'Pause', 'space');
    this.#show();
  }

  #showFullscreen() {
    const full = document.fullscreenElement === this;
    this.#fullButton.replaceChildren(icon(full ? 'shrink' : 'fullscreen'));
    describe(this.#fullButton, full ? 'Leave full screen' : 'Full screen', 'f');
  }

  /** Shows the controls for a while. */
  #stir() {
    this.removeAttribute('data-quiet');
    this.#settle(QUIET_AFTER);
  }

  /** @param {number} after Milliseconds. */
  #settle(after) {
    clearTimeout(this.#quietTimer);
    this.#quietTimer = setTimeout(() => {
      const keyboard = this.shadowRoot?.activeElement?.matches(':focus-visible');
      if (this.state === 'live' && !this.video.paused && !keyboard) this.setAttribute('data-quiet', '');
    }, after);
  }
}

/**
 * @param {HTMLButtonElement} button
 * @param {string} label
 * @param {string} key
 */
function describe(button, label, key) {
  button.setAttribute('aria-label', label);
  button.title = `${label} (${key})`;
}

/** @param {string} key @returns {string|null} */
function readStored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // storage is blocked in some embeddings
  }
}

/** @param {string} key @param {string} value */
function store(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // see readStored
  }
}

if (!customElements.get('aerial-player')) customElements.define('aerial-player', AerialPlayer);
