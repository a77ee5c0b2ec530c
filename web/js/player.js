/**
 * `<aerial-player src="/whep/demo">`: a live player as one element, for Aerial's own pages and for
 * anyone else's.
 *
 * ```html
 * <script type="module" src="https://your.server/js/v1/player.js"></script>
 * <aerial-player src="https://your.server/whep/demo"></aerial-player>
 * ```
 *
 * Attributes, each also a property: `src` (WHEP endpoint), `label` (the name to show), `muted`, `autoplay="off"`,
 * `poster`, `token` (bearer token), `viewers` (the number to show), `controls="off"`, `theatre` (`off` or `on`: offers
 * theatre mode, which is up to the page). Other properties and events are those of HTMLMediaElement as far as they mean
 * something live (player-media.js). Further: `getToken`, `broadcast` (what the server says about it), `qualities`,
 * `quality`, `ready` (whether the broadcast may be there, see ClientOptions).
 *
 * Events: `statechange`, `data`, `message`, as of WhepClient; `stats` (detail: figures, every second), `qualitieschange`,
 * `token` (detail: the token that the viewer has entered), `theatre`.
 */

import { forward } from './aerial-channel.js';
import { h, icon, setText } from './dom.js';
import { hideFromSystem, showToSystem } from './media-session.js';
import { button, describe } from './player-bar.js';
import { coverAction, coverHint, coverMark, coverTitle } from './player-cover.js';
import { KeysPanel, actionOf } from './player-keys.js';
import { LiveBadge } from './player-live.js';
import { PlayerMediaElement } from './player-media.js';
import { QualityMenu, smallest } from './player-quality.js';
import { QuietControls } from './player-quiet.js';
import { SoundCover } from './player-sound.js';
import { StatsPanel } from './player-stats.js';
import { SHEET } from './player-style.js';
import { TokenLock } from './player-token.js';
import { read, store } from './storage.js';
import { t } from './words.js';
import { WhepClient } from './whep.js';

const VOLUME_KEY = 'aerial-volume';
const MUTED_KEY = 'aerial-muted';
/** How often a paused player shows its delay, in milliseconds. */
const BEHIND_EVERY = 1_000;

export class AerialPlayer extends PlayerMediaElement {
  static observedAttributes = [
    'src',
    'label',
    'muted',
    'token',
    'viewers',
    'controls',
    'theatre',
    'poster',
    'autoplay',
  ];

  /** @override @type {WhepClient|null} */ client = null;
  /** Asks for the smallest picture there is. */ frugal = false;
  /** Whether the broadcast may be there. @type {(() => boolean|Promise<boolean>)|undefined} */ ready;

  #stats = new StatsPanel();
  keys = new KeysPanel();
  #lock = new TokenLock((token) => this.#onToken(token));
  #soundCover = new SoundCover(this.video);
  #menu = new QualityMenu(this.video, (quality) => void this.#onQuality(quality));
  #rendition = '';
  /** What a frugal player has asked for. */ #economy = '';
  #live = new LiveBadge();
  #viewers = h('span', { class: 'chip', part: 'viewers', hidden: true });
  #title = h('div', { class: 'title', part: 'title' });
  #poster = h('img', { class: 'poster', part: 'poster', alt: '', hidden: true });
  #hint = h('div', { class: 'hint', part: 'hint' });
  #action = h('button', { class: 'action', part: 'action', type: 'button', hidden: true, click: () => this.#act() });
  #mark = coverMark();
  /** @type {HTMLDivElement} */ #cover = h(
    'div',
    { class: 'cover', part: 'cover' },
    this.#poster,
    this.#mark,
    this.#title,
    this.#hint,
    this.#lock.element,
    this.#action,
    h('slot', { name: 'cover' }),
  );
  #spoken = h('div', { class: 'unseen', role: 'status' });
  #sound = h(
    'button',
    { class: 'sound', part: 'unmute', type: 'button', hidden: true, click: () => this.#unmute() },
    icon('muted'),
    t('player-tap'),
  );
  #playButton = button(() => this.togglePlay());
  #muteButton = button(() => this.toggleMute());
  #volume = h('input', {
    'type': 'range',
    'min': '0',
    'max': '1',
    'step': '0.05',
    'aria-label': t('player-volume'),
    'input': () => this.#onVolumeInput(),
  });
  #statsButton = button(() => this.toggleStats(), { name: 'stats', label: t('player-stats'), key: 'i' });
  #shotButton = button(() => void this.screenshot(), { name: 'shot', label: t('player-screenshot'), key: 's' });
  #pipButton = button(() => void this.togglePip(), { name: 'pip', label: t('player-pip'), key: 'p' });
  #theatreButton = button(() => this.toggleTheatre(), { name: 'theatre', label: t('player-theatre'), key: 't' });
  #fullButton = button(() => void this.toggleFullscreen());
  /** @type {HTMLDivElement} */ #bar = h(
    'div',
    { 'class': 'bar', 'part': 'bar', 'role': 'group', 'aria-label': t('player-controls') },
    this.#playButton,
    this.#muteButton,
    this.#volume,
    h('span', { class: 'spacer' }),
    h('slot', { name: 'controls' }),
    this.#statsButton,
    this.#menu.button,
    this.#shotButton,
    this.#pipButton,
    this.#theatreButton,
    this.#fullButton,
  );
  #top = h('div', { class: 'top', part: 'top' }, this.#live.element, this.#viewers);
  #quiet = new QuietControls(this, () => this.state === 'live' && !this.video.paused);
  /** @type {ReturnType<typeof setInterval>|undefined} */ #behindTimer;
  /** Whether play() has been called for a source that does not play by itself. */ #asked = false;
  /** When the viewer paused, 0 while nobody has. */ #pausedAt = 0;
  /** @type {import('./broadcasts.js').Broadcast|null|undefined} */ #broadcast;
  /** @type {() => unknown} */ #tryToPlay = () => this.play().catch(() => this.#show());

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    root.adoptedStyleSheets = [SHEET];
    root.append(this.video, this.#soundCover.element, this.#cover, this.#stats.element, this.keys.element);
    root.append(h('slot', { name: 'overlay' }), this.#sound, this.#top, this.#bar, this.#menu.element, this.#spoken);
    this.#pipButton.hidden = !document.pictureInPictureEnabled;
    this.#fullButton.hidden = !(document.fullscreenEnabled || 'webkitEnterFullscreen' in this.video);
    const stored = Number.parseFloat(read(VOLUME_KEY) ?? '');
    if (stored > 0 && stored <= 1) this.video.volume = stored;
    this.video.addEventListener('volumechange', () => this.#showVolume());
    this.video.addEventListener('click', () => this.#quiet.stir());
    this.video.addEventListener('dblclick', () => void this.toggleFullscreen());
    for (const name of ['play', 'pause']) this.video.addEventListener(name, () => this.#showPlay());
    this.video.addEventListener('resize', () => this.#showBar());
    this.addEventListener('fullscreenchange', () => this.#showFullscreen());
    this.addEventListener('keydown', (event) => this.onKey(event));
    this.addEventListener('stats', (event) => this.#tell(/** @type {CustomEvent} */ (event).detail));
    this.#statsButton.setAttribute('aria-pressed', 'false');
    this.#showVolume();
    this.#showPlay();
    this.#showFullscreen();
    this.#show();
  }

  connectedCallback() {
    super.connectedCallback();
    this.adopt([...AerialPlayer.observedAttributes, 'volume', 'broadcast', 'getToken']);
    if (!this.hasAttribute('role')) this.setAttribute('role', 'region');
    if (!this.hasAttribute('tabindex')) this.tabIndex = 0;
    this.#name();
    this.video.muted = this.hasAttribute('muted') || read(MUTED_KEY) === 'yes';
    this.#start();
    this.#quiet.stir();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#stop();
    this.#soundCover.close();
    hideFromSystem(this);
    this.#quiet.stop();
    clearInterval(this.#behindTimer);
  }

  /** @param {string} name @param {string|null} previous @param {string|null} value */
  attributeChangedCallback(name, previous, value) {
    if (previous === value) return;
    if (name === 'viewers') this.#showViewers(value);
    if (name === 'label') this.#name();
    if (name === 'src') {
      this.#resume();
      this.#asked = false;
      this.forget();
    }
    if (name === 'poster') this.#poster.src = this.poster;
    if (name === 'muted' && this.isConnected) this.video.muted = value !== null;
    const begins = name === 'src' || name === 'token' || (name === 'autoplay' && !this.client);
    if (begins && this.isConnected) this.#start();
    this.#show();
  }

  /** What the server says about the broadcast: null if there is none, undefined if nobody has asked. */
  get broadcast() {
    return this.#broadcast;
  }
  set broadcast(value) {
    this.#broadcast = value;
    if (this.#menu.offer(value ?? null)) this.dispatchEvent(new Event('qualitieschange'));
    if (this.frugal && value) this.#economise(value);
    this.#show();
  }

  /** What can be asked for; empty if there is nothing to choose. */
  get qualities() {
    return this.#menu.qualities;
  }

  /** What has been asked for: one of `qualities`. */
  get quality() {
    return this.#menu.chosen;
  }
  set quality(value) {
    this.#menu.take(value);
  }

  #name() {
    this.setAttribute('aria-label', t('player', { name: this.shownName }));
    this.video.setAttribute('aria-label', this.shownName);
  }

  #start() {
    const layer = this.client?.layer ?? '';
    this.#stop();
    if (!this.src || !(this.autoplay || this.#asked)) return;
    const { video, token } = this;
    const client = new WhepClient(this.#endpoint(), {
      video,
      token,
      ready: () => this.ready?.() ?? true,
      getToken: (refused) => this.getToken?.(refused) ?? null,
    });
    this.client = client;
    client.layer = layer;
    client.addEventListener('stream', () => (this.#pausedAt ? this.video.pause() : this.#tryToPlay()));
    client.addEventListener('statechange', (event) => {
      if (this.client !== client || this.#fellBack()) return;
      this.#show();
      const { detail } = /** @type {CustomEvent} */ (event);
      this.tell(detail);
      this.dispatchEvent(new CustomEvent('statechange', { detail, bubbles: true, composed: true }));
    });
    forward(client, this, ['data', 'message']);
    client.start();
  }

  #stop() {
    const client = this.client;
    this.client = null;
    void client?.stop();
  }

  /** A rendition that is not there any more gives way to what the server chooses. */
  #fellBack() {
    const { client } = this;
    if (!this.#rendition || client?.state !== 'failed' || client.error?.reason !== 'no-rendition') return false;
    this.#rendition = '';
    this.#menu.reset();
    this.#start();
    return true;
  }

  #endpoint() {
    const url = new URL(this.src, document.baseURI);
    if (this.#rendition) url.searchParams.set('rendition', this.#rendition);
    return url.href;
  }

  /** @param {import('./player-quality.js').Quality} quality */
  async #onQuality({ rendition, layer }) {
    const { client } = this;
    const isOther = rendition !== this.#rendition;
    this.#rendition = rendition;
    if (!client) return;
    if (isOther) {
      client.layer = layer;
      client.url = this.#endpoint();
      await client.renew();
    }
    if (this.#broadcast?.tracks.some(({ layers }) => layers?.length)) await client.selectLayer(layer);
  }

  /** @param {import('./broadcasts.js').Broadcast} broadcast */
  #economise(broadcast) {
    const quality = smallest(broadcast);
    const key = JSON.stringify(quality);
    if (!quality || key === this.#economy || this.state !== 'live') return;
    this.#economy = key;
    void this.#onQuality(quality);
  }

  /** @param {string} token */
  #onToken(token) {
    this.dispatchEvent(new CustomEvent('token', { detail: token, bubbles: true, composed: true }));
    this.token = token;
    this.client?.retry(); // even if it is the same token
  }

  /** Plays with sound if the browser lets us, silently if not. Settles when it plays, rejects if it cannot. */
  async play() {
    if (this.#pausedAt) this.#resume();
    if (!this.src) throw new DOMException('the player needs a src', 'NotSupportedError');
    if (!this.client) {
      this.#asked = true;
      this.#start();
    } else if (!this.client.running) this.client.retry();
    if (!this.client?.stream) return this.awaitPlaying();
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

  pause() {
    if (!this.#pausedAt) {
      this.#pausedAt = Date.now();
      this.#behindTimer = setInterval(() => this.#show(), BEHIND_EVERY);
    }
    this.video.pause();
    this.#show();
  }

  #resume() {
    this.#pausedAt = 0;
    clearInterval(this.#behindTimer);
  }

  #unmute() {
    this.#sound.hidden = true;
    this.video.muted = false;
    store(MUTED_KEY, '');
    if (this.video.volume === 0) this.video.volume = 0.8;
    this.#tryToPlay();
    this.focus();
  }

  #act() {
    if (this.state === 'live' || this.state === 'idle') this.#tryToPlay();
    else this.client?.retry();
    this.focus();
  }

  togglePlay() {
    if (this.video.paused) this.#tryToPlay();
    else this.pause();
    this.#show();
  }

  toggleMute() {
    if (this.video.muted) return this.#unmute();
    this.video.muted = true;
    store(MUTED_KEY, 'yes');
  }

  /** @param {import('./stats.js').Figures} figures */
  #tell(figures) {
    this.#stats.tell(figures);
    this.#live.tell(this.paused ? null : figures.delay);
  }

  /** @param {boolean} [shown] */
  toggleStats(shown) {
    this.#stats.toggle(shown);
    this.toggleAttribute('data-stats', this.#stats.shown);
    this.#statsButton.setAttribute('aria-pressed', String(this.#stats.shown));
  }

  /** Closes what covers the picture. */
  closePanels() {
    this.keys.toggle(false);
    this.toggleStats(false);
  }

  toggleTheatre() {
    if (!this.theatre) return;
    this.setAttribute('theatre', this.theatre === 'on' ? 'off' : 'on');
    this.dispatchEvent(new CustomEvent('theatre', { detail: this.theatre === 'on' }));
  }

  /** Makes it louder or quieter. @param {number} by */
  step(by) {
    this.video.volume = Math.min(1, Math.max(0, this.video.volume + by));
    if (by > 0 && this.video.muted) this.#unmute();
  }

  #onVolumeInput() {
    this.video.volume = this.#volume.valueAsNumber;
    this.video.muted = this.video.volume === 0;
    if (!this.video.muted) this.#sound.hidden = true;
    store(MUTED_KEY, this.video.muted ? 'yes' : '');
  }

  /**
   * Also for a page that wants the keys to work without focus.
   * @param {KeyboardEvent} event
   */
  onKey(event) {
    if (event.key === 'Escape') return this.closePanels();
    const act = actionOf(this, event);
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** The client's state, unless the server knows better: it learns first that nobody sends any more. */
  get #shownState() {
    const { state } = this;
    if (state !== 'live' || this.#broadcast === undefined) return state;
    const now = this.#broadcast?.state ?? 'waiting';
    return now === 'stale' ? 'offline' : now === 'waiting' && !this.#broadcast?.on_demand ? 'waiting' : state;
  }

  #show() {
    const state = this.#shownState;
    const live = state === 'live';
    const blocked = live && this.video.paused;
    const again = this.client?.hasBeenLive && ['waiting', 'offline'].includes(state) ? '-again' : '';
    const stays = this.state === 'live' || (state === 'offline' && this.client?.peer != null);
    this.#cover.hidden = live && !blocked;
    this.#cover.dataset.state = state;
    this.#cover.classList.toggle('clear', blocked || (stays && this.video.videoWidth > 0));
    this.#live.show(live);
    if (!live) this.#stats.tell(null);
    const error = this.state === state && ['failed', 'offline'].includes(state) ? this.client?.error : null;
    const lock = state === 'failed' ? this.#lock.show(error ?? null, this.shownName, this.token !== '') : '';
    if (state !== 'failed') this.#lock.show(null, '', false);
    this.#mark.lastElementChild?.replaceWith(icon(lock ? 'lock' : 'signal'));
    setText(this.#title, lock || coverTitle(state, again, this.shownName, this.#pausedAt));
    setText(this.#hint, lock ? '' : `${error?.words ?? ''} ${coverHint(state, again, this.#pausedAt)}`.trim());
    const over = state === 'failed' || state === 'closed';
    this.#top.hidden = over;
    this.#action.hidden = lock !== '' || !(blocked || over || (state === 'idle' && !this.autoplay && this.src));
    this.#poster.hidden = !this.poster || this.#cover.classList.contains('clear');
    setText(this.#action, coverAction(state, this.#pausedAt));
    const words = live
      ? t('player-is-live', { name: this.shownName })
      : `${this.#title.textContent} ${this.#hint.textContent}`;
    if (!this.#pausedAt) setText(this.#spoken, words);
    this.#soundCover.follow(live ? (this.client?.stream ?? null) : null, this.shownName);
    showToSystem(this, live && !this.video.paused);
    this.#showBar();
  }

  #showBar() {
    const { state } = this;
    this.#bar.hidden = state === 'failed' || state === 'closed' || this.controls === 'off';
    this.#shotButton.hidden = this.video.videoWidth === 0;
    this.#theatreButton.hidden = this.theatre === '';
    this.#theatreButton.setAttribute('aria-pressed', String(this.theatre === 'on'));
  }

  /** @param {string|null} value */
  #showViewers(value) {
    this.#viewers.hidden = value === null;
    this.#viewers.replaceChildren(icon('eye'), value ?? '');
    this.#viewers.title = t('watching', { count: Number(value) });
  }

  #showVolume() {
    const silent = this.video.muted || this.video.volume === 0;
    this.#muteButton.replaceChildren(icon(silent ? 'muted' : 'volume'));
    describe(this.#muteButton, t(silent ? 'player-unmute' : 'player-mute'), 'm');
    this.#volume.valueAsNumber = silent ? 0 : this.video.volume;
    if (!silent) {
      this.#sound.hidden = true;
      store(VOLUME_KEY, String(this.video.volume));
    }
  }

  #showPlay() {
    if (!this.video.paused) this.#resume();
    this.#playButton.replaceChildren(icon(this.video.paused ? 'play' : 'pause'));
    describe(this.#playButton, t(this.video.paused ? 'player-play' : 'player-pause'), t('key-space'));
    this.#show();
  }

  #showFullscreen() {
    const full = document.fullscreenElement === this;
    this.#fullButton.replaceChildren(icon(full ? 'shrink' : 'fullscreen'));
    describe(this.#fullButton, t(full ? 'player-leave-full' : 'player-full'), 'f');
  }
}

if (!customElements.get('aerial-player')) customElements.define('aerial-player', AerialPlayer);
