/** The page `/publish/{name}`: choose, preview, go live. `/publish` alone asks for the name. */

import { Acknowledgements } from './acknowledgements.js';
import { BroadcastFeed, freeName, isName, nameFromPath } from './broadcasts.js';
import { byId, durationText, enableCopyButtons, fillIcons, h, icon, press, setText } from './dom.js';
import { curtainWords } from './curtain.js';
import { CaptureError, captureProblem } from './media-errors.js';
import { LevelMeter } from './meter.js';
import { at } from './site.js';
import { PRESETS, Sources, permission } from './sources.js';
import { askForName } from './naming.js';
import { RefusalLine } from './refusal.js';
import { StatsSampler, bitrateText } from './stats.js';
import { TokenForm, pageToken, wantsToken } from './token.js';
import { WhipClient } from './whip.js';
import { t, translatePage } from './words.js';

const CHOICE_KEY = 'aerial-publish';
const FIGURES_EVERY = 1_000;
/** Encoders take this many milliseconds to settle on a bitrate. */
const SETTLE = 10_000;

/** Words for each state, as keys of the catalogue; none where there is nothing to say. @type {Record<string, string>} */
const STATUS = {
  connecting: 'publish-status-connecting',
  live: 'publish-status-live',
  closed: 'publish-status-closed',
  offline: 'publish-status-offline',
  unsure: 'publish-status-unsure',
};
/** @type {Record<string, string>} */
const BADGES = {
  connecting: 'publish-connecting',
  live: 'publish-live',
  offline: 'publish-reconnecting',
  unsure: 'publish-reconnecting',
};

class Studio {
  #name;
  #sources = new Sources();
  #token = pageToken('publish');
  #tokenForm = new TokenForm('publish', (token) => this.#onToken(token));
  #feed;
  #meter = new LevelMeter(byId('meter', HTMLElement));
  #sampler = new StatsSampler();
  /** @type {WhipClient|null} */ #client = null;
  /** @type {WakeLockSentinel|null} */ #wakeLock = null;
  #liveSince = 0;
  #cameraOff = false;
  #micOff = false;
  /** A device that was in use is gone. */ #missing = false;
  /** Why nothing could be opened. @type {CaptureError|null} */ #problem = null;
  /** Names in use, once they are known. @type {string[]} */ #others = [];
  /** When the server last confirmed what we send. */ #acknowledged = new Acknowledgements();
  /** Openings run one after the other. */ #opening = Promise.resolve(false);

  #preview = byId('preview', HTMLVideoElement);
  #go = byId('go', HTMLButtonElement);
  #form = byId('settings', HTMLFormElement);
  #micButton = byId('mute-mic', HTMLButtonElement);
  #cameraButton = byId('mute-camera', HTMLButtonElement);

  /** @param {string} name */
  constructor(name) {
    this.#name = name;
    this.#feed = new BroadcastFeed(this.#token, { name });
  }

  start() {
    setText(byId('curtain-title', HTMLElement), t('curtain-camera-microphone'));
    setText(byId('curtain-text', HTMLElement), t('curtain-ask'));
    document.title = t('publish-name-page-title', { name: this.#name });
    setText(byId('title', HTMLElement), this.#name);
    const link = byId('link', HTMLAnchorElement);
    link.href = at(`watch/${encodeURIComponent(this.#name)}`);
    setText(link, link.href);
    byId('quality', HTMLSelectElement).append(
      ...PRESETS.map(({ id, height, fps, bitrate }) =>
        h('option', { value: id }, t('publish-preset', { height: String(height), fps, rate: bitrateText(bitrate) })),
      ),
    );
    byId('obs-assistant', HTMLAnchorElement).href = at(`publish/${encodeURIComponent(this.#name)}/obs`);
    this.#field('quality').value = '720p';
    if (!Sources.canShareScreen) byId('screen-choice', HTMLElement).hidden = true;
    byId('notice', HTMLElement).after(this.#tokenForm.element);
    this.#restore();
    this.#listen();
    this.#feed.start();
    this.#showState();
    setInterval(() => void this.#showFigures(), FIGURES_EVERY);
    setInterval(() => this.#showTime(), 250);
    new RefusalLine(this.#name, () => (this.#client?.running ? null : this.#token)).start();
    void this.#begin();
  }

  #listen() {
    byId('allow', HTMLButtonElement).addEventListener('click', () => void this.#open());
    this.#go.addEventListener('click', () => void this.#goOrStop());
    this.#form.addEventListener('submit', (event) => event.preventDefault());
    this.#form.addEventListener('change', (event) => void this.#onChange(/** @type {Element} */ (event.target)));
    this.#micButton.addEventListener('click', () => this.#mute('microphone'));
    this.#cameraButton.addEventListener('click', () => this.#mute('camera'));
    this.#sources.addEventListener('tracks', () => void this.#onTracks());
    this.#sources.addEventListener('devices', () => this.#onDevices());
    this.#sources.addEventListener('lost', (event) => {
      this.#missing = this.#choice().mode !== 'screen';
      this.#notify(/** @type {CustomEvent} */ (event).detail);
      this.#showCurtain();
    });
    this.#feed.addEventListener('broadcasts', () => this.#showViewers());
    this.#feed.addEventListener('connection', () => this.#showState());
    addEventListener('beforeunload', (event) => {
      if (this.#client?.running) event.preventDefault();
    });
    document.addEventListener('visibilitychange', () => void this.#stayAwake());
  }

  /** Opens devices that are already permitted; otherwise waits for a click. */
  async #begin() {
    const problem = captureProblem();
    if (problem) {
      this.#notify(problem);
      setText(byId('curtain-title', HTMLElement), problem.title);
      setText(byId('curtain-text', HTMLElement), problem.advice);
      byId('allow', HTMLButtonElement).hidden = true;
      this.#go.disabled = true;
      return;
    }
    await this.#sources.listDevices();
    const allowed = await Promise.all(['camera', 'microphone'].map(permission));
    if (allowed.every(Boolean) && this.#choice().mode !== 'screen') await this.#open();
  }

  /** @param {string} id */
  #field(id) {
    return byId(id, HTMLSelectElement);
  }

  /** @returns {import('./sources.js').Choice} */
  #choice() {
    const mode = new FormData(this.#form).get('source');
    return {
      mode: mode === 'screen' || mode === 'audio' ? mode : 'camera',
      camera: this.#field('camera').value,
      microphone: this.#field('microphone').value,
      sound: this.#field('sound').value === 'music' ? 'music' : 'voice',
      preset: PRESETS.find(({ id }) => id === this.#field('quality').value) ?? PRESETS[2],
    };
  }

  /** @returns {Promise<boolean>} True if there is something to send. */
  #open() {
    this.#opening = this.#opening.then(() => this.#openNow());
    return this.#opening;
  }

  async #openNow() {
    const choice = this.#choice();
    const allow = byId('allow', HTMLButtonElement);
    allow.disabled = true;
    const state = STATUS[this.#state];
    setText(byId('status', HTMLElement), this.#sources.open ? state && t(state) : t('publish-permission'));
    try {
      const [problem] = await this.#sources.select(choice);
      this.#problem = null;
      this.#notify(problem ?? null);
    } catch (error) {
      this.#problem = CaptureError.from(error, choice.mode === 'screen' ? 'screen' : 'both');
      this.#notify(this.#problem);
      this.#showCurtain();
    } finally {
      allow.disabled = false;
      this.#showState();
    }
    return this.#sources.open;
  }

  /** @param {Element} target */
  async #onChange(target) {
    this.#store();
    const { mode, preset } = this.#choice();
    byId('camera-field', HTMLElement).hidden = mode !== 'camera';
    if (target.id === 'quality') {
      await this.#sources.resize(preset);
      await this.#client?.configure(this.#limits());
    } else if (this.#sources.open || mode === 'screen') {
      await this.#open();
    } else {
      this.#showCurtain();
    }
  }

  #limits() {
    const { mode, preset } = this.#choice();
    return {
      maxVideoBitrate: preset.bitrate,
      maxFramerate: preset.fps,
      maxHeight: preset.height,
      maxAudioBitrate: 128_000,
      contentHint: /** @type {'detail'|'motion'} */ (mode === 'screen' ? 'detail' : 'motion'),
    };
  }

  async #onTracks() {
    const { video, audio } = this.#sources;
    this.#preview.srcObject = video ? new MediaStream([video]) : null;
    this.#preview.classList.toggle(
      'mirror',
      this.#choice().mode === 'camera' && video?.getSettings().facingMode !== 'environment',
    );
    if (video) video.enabled = !this.#cameraOff;
    this.#meter.watch(audio);
    this.#showMutes();
    this.#showCurtain();
    if (!this.#client?.running) return;
    await this.#client.configure(this.#limits());
    await this.#client.replaceTrack('video', video);
    await this.#client.replaceTrack('audio', audio);
  }

  /** @param {'camera'|'microphone'} what */
  #mute(what) {
    if (what === 'microphone') {
      this.#micOff = !this.#micOff;
      this.#sources.setMicrophoneMuted(this.#micOff);
    } else {
      this.#cameraOff = !this.#cameraOff;
      if (this.#sources.video) this.#sources.video.enabled = !this.#cameraOff;
    }
    this.#showMutes();
    this.#showCurtain();
  }

  // --- on air -------------------------------------------------------------------------------

  /** The client's state, unless nothing has been heard of the server for a while. */
  get #shownState() {
    const silent = this.#state === 'live' && this.#feed.connected === false && this.#acknowledged.old();
    return silent ? 'unsure' : this.#state;
  }

  get #state() {
    return this.#client?.state ?? 'idle';
  }

  async #goOrStop() {
    if (this.#client?.running) {
      await this.#client.stop();
      return;
    }
    if (!this.#sources.open && !(await this.#open())) return;
    const tracks = [this.#sources.video, this.#sources.audio].filter((track) => track !== null);
    const client = new WhipClient(at(`whip/${encodeURIComponent(this.#name)}`), new MediaStream(tracks), {
      ...this.#limits(),
      token: this.#token,
    });
    this.#client = client;
    this.#liveSince = 0;
    this.#notify(null);
    client.addEventListener('statechange', () => this.#onState(client));
    client.start();
  }

  /** Tries again with the token that the user has entered. @param {string} token */
  #onToken(token) {
    this.#token = token;
    this.#feed.token = token;
    void this.#goOrStop();
  }

  /** @param {WhipClient} client */
  #onState(client) {
    if (client !== this.#client) return;
    const { error } = client;
    if (error && wantsToken(error)) this.#tokenForm.ask(`${error.words} ${t('token-kept')}`, error.kind);
    else this.#tokenForm.hide();
    if (client.state === 'live') this.#liveSince ||= Date.now();
    if (client.state === 'failed' && error) {
      this.#notify({
        title: t(error.kind === 'name-taken' ? 'publish-taken' : 'publish-not-live'),
        advice: error.words,
        reason: error.kind,
      });
    } else if (client.state === 'live') {
      this.#notify(null);
    }
    this.#showState();
    void this.#stayAwake();
  }

  /** Phones would dim the screen and stop the camera. */
  async #stayAwake() {
    const wanted = Boolean(this.#client?.running) && !document.hidden;
    try {
      if (!wanted) {
        await this.#wakeLock?.release();
        this.#wakeLock = null;
      } else if (!this.#wakeLock || this.#wakeLock.released) {
        this.#wakeLock = (await navigator.wakeLock?.request('screen')) ?? null;
      }
    } catch {
      // refused on low battery; nothing depends on it
    }
  }

  // --- what is seen -------------------------------------------------------------------------

  /** @param {{title: string, advice: string, reason: string}|null} problem */
  #notify(problem) {
    const notice = byId('notice', HTMLElement);
    notice.hidden = !problem;
    notice.dataset.reason = problem?.reason ?? '';
    setText(byId('notice-title', HTMLElement), problem?.title ?? '');
    setText(byId('notice-text', HTMLElement), problem?.advice ?? '');
    this.#offerName(problem?.reason === 'name-taken');
  }

  /** @param {boolean} wanted Whether the name of this page is taken. */
  #offerName(wanted) {
    const action = byId('notice-action', HTMLAnchorElement);
    action.hidden = !wanted;
    if (!wanted) return;
    const name = freeName(this.#name, (name) => this.#others.includes(name));
    action.href = at(`publish/${encodeURIComponent(name)}`);
    setText(action, t('publish-free', { name }));
    void this.#lookForOthers();
  }

  /** Learns which names are in use, so that the one that is offered is not. */
  async #lookForOthers() {
    if (this.#others.length > 0) return;
    try {
      const headers = this.#token ? { Authorization: `Bearer ${this.#token}` } : undefined;
      const response = await fetch(at('api/broadcasts'), { headers });
      const { broadcasts } = response.ok ? await response.json() : { broadcasts: [] };
      this.#others = [this.#name, ...broadcasts.map((/** @type {{name: string}} */ { name }) => name)];
    } catch {
      this.#others = [this.#name];
    }
    this.#offerName(!byId('notice-action', HTMLElement).hidden);
  }

  #showState() {
    const state = this.#shownState;
    const running = this.#client?.running ?? false;
    setText(byId('status', HTMLElement), STATUS[state] ? t(STATUS[state]) : '');
    setText(byId('badge', HTMLElement), t(BADGES[state] ?? 'publish-preview'));
    byId('badge', HTMLElement).classList.toggle('live', state === 'live');
    byId('screen', HTMLElement).classList.toggle('on-air', state === 'live');
    byId('screen', HTMLElement).dataset.state = state;
    this.#go.classList.toggle('stop', running);
    this.#go.classList.toggle('primary', !running);
    setText(this.#go, t(!running ? 'publish-go' : state === 'connecting' ? 'cancel' : 'publish-stop'));
    byId('foot', HTMLElement).hidden = running; // another language would end the broadcast
    byId('figures-panel', HTMLElement).hidden = !running;
    this.#showTime();
    this.#showViewers();
  }

  #showCurtain() {
    const { video, audio } = this.#sources;
    const { mode } = this.#choice();
    const picture = video?.readyState === 'live' && !this.#cameraOff;
    byId('curtain', HTMLElement).hidden = picture;
    if (picture) return;
    const ready = video?.readyState === 'live' || audio !== null;
    const hidden = this.#cameraOff && video !== null;
    const { mark, title, text } = curtainWords({ mode, ready, hidden, problem: this.#problem });
    byId('curtain', HTMLElement).dataset.mark = mark;
    byId('curtain-mark', HTMLElement).replaceChildren(icon(mark));
    setText(byId('curtain-title', HTMLElement), title);
    setText(byId('curtain-text', HTMLElement), text);
    byId('allow', HTMLButtonElement).hidden = ready;
    const words = this.#problem ? 'publish-try-again' : mode === 'screen' ? 'publish-choose' : 'publish-turn-on';
    setText(byId('allow', HTMLButtonElement), t(words));
  }

  #showMutes() {
    const { video, microphone } = this.#sources;
    press(this.#micButton, this.#micOff, this.#micOff ? 'micOff' : 'mic');
    press(this.#cameraButton, this.#cameraOff, this.#cameraOff ? 'cameraOff' : 'camera');
    this.#micButton.disabled = !microphone;
    this.#cameraButton.disabled = !video;
  }

  /** Something was plugged in or out. */
  #onDevices() {
    this.#showDevices();
    if (!this.#missing) return;
    this.#missing = false;
    void this.#open(); // it may be back, or there is another one
  }

  #showDevices() {
    this.#fill('camera', 'videoinput', [['', t('publish-default-camera')]]);
    this.#fill('microphone', 'audioinput', [
      ['', t('publish-default-microphone')],
      ['none', t('publish-no-microphone')],
    ]);
  }

  /**
   * @param {'camera'|'microphone'} id
   * @param {MediaDeviceKind} kind
   * @param {[string, string][]} fixed
   */
  #fill(id, kind, fixed) {
    const select = this.#field(id);
    const wanted = select.value || select.dataset.wanted || '';
    const found = this.#sources.devices
      .filter((device) => device.kind === kind && device.deviceId !== 'default')
      .map(({ deviceId, label }, index) => {
        const text = label || t(`publish-nth-${id}`, { number: index + 1 });
        return /** @type {[string, string]} */ ([deviceId, text]);
      });
    select.replaceChildren(...[...fixed, ...found].map(([value, text]) => h('option', { value }, text)));
    select.value = [...fixed, ...found].some(([value]) => value === wanted) ? wanted : '';
  }

  #showTime() {
    const time = byId('time', HTMLElement);
    time.hidden = !(this.#client?.running && this.#liveSince);
    if (!time.hidden) setText(time, durationText(Date.now() - this.#liveSince));
  }

  #showViewers() {
    const viewers = byId('viewers', HTMLElement);
    const broadcast = this.#feed.find(this.#name);
    viewers.hidden = this.#state !== 'live' || !broadcast;
    if (broadcast) viewers.replaceChildren(icon('eye'), t('viewers', { count: broadcast.viewers }));
  }

  async #showFigures() {
    const peer = this.#client?.peer;
    if (!peer) return;
    const { video, audio, rtt } = await this.#sampler.sample(peer, 'outbound-rtp');
    await this.#acknowledged.read(peer);
    this.#showState();
    const settled = this.#liveSince > 0 && Date.now() - this.#liveSince > SETTLE;
    const rows = [
      ...(video
        ? [
            [
              'publish-picture',
              t('publish-picture-size', {
                width: String(video.width),
                height: String(video.height),
                fps: Math.round(video.fps),
              }),
            ],
            ['stats-video', `${video.codec} · ${bitrateText(video.bitrate)}`],
          ]
        : []),
      ...(audio ? [['publish-sound', `${audio.codec} · ${bitrateText(audio.bitrate)}`]] : []),
      ...(video?.limited && settled
        ? [['publish-limited', t(video.limited === 'cpu' ? 'publish-limited-cpu' : 'publish-limited-network')]]
        : []),
      ['publish-lost', String((video?.lost ?? 0) + (audio?.lost ?? 0))],
      ...(rtt === null ? [] : [['stats-trip', `${Math.round(rtt)} ms`]]),
    ];
    byId('figures', HTMLElement).replaceChildren(
      ...rows.flatMap(([term, text]) => [h('dt', {}, t(term)), h('dd', {}, text)]),
    );
  }

  // --- remembered ---------------------------------------------------------------------------

  #store() {
    const { preset, ...choice } = this.#choice();
    try {
      localStorage.setItem(CHOICE_KEY, JSON.stringify({ ...choice, quality: preset.id }));
    } catch {
      // a private window forgets; that is what it is for
    }
  }

  #restore() {
    try {
      const { camera, microphone, sound, quality } = JSON.parse(localStorage.getItem(CHOICE_KEY) ?? '{}');
      this.#field('camera').dataset.wanted = camera ?? '';
      this.#field('microphone').dataset.wanted = microphone ?? '';
      if (sound) this.#field('sound').value = sound;
      if (PRESETS.some(({ id }) => id === quality)) this.#field('quality').value = quality;
    } catch {
      // see #store
    }
  }
}

translatePage();
fillIcons();
enableCopyButtons();
const name = nameFromPath('publish');
if (isName(name)) {
  byId('studio', HTMLElement).hidden = false;
  new Studio(name).start();
} else {
  askForName();
}
