/** The page `/publish/{name}`: choose, preview, go live. `/publish` alone asks for the name. */

import { Acknowledgements } from './acknowledgements.js';
import { BroadcastFeed, freeName, isName, nameFromPath } from './broadcasts.js';
import { byId, durationText, enableCopyButtons, fillIcons, icon, press, setText } from './dom.js';
import { curtainWords } from './curtain.js';
import { CaptureError, captureProblem } from './media-errors.js';
import { LevelMeter } from './meter.js';
import { at } from './site.js';
import { Sources, permission } from './sources.js';
import { askForName } from './naming.js';
import { RefusalLine } from './refusal.js';
import { StatsSampler } from './stats.js';
import { StudioFigures } from './studio-figures.js';
import { StudioForm } from './studio-form.js';
import { InsetHandle } from './studio-inset.js';
import { StudioChat } from './studio-chat.js';
import { LocalRecording } from './studio-recording.js';
import { StudioSummary } from './studio-summary.js';
import { TestRecording } from './studio-test.js';
import { TokenForm, pageToken, wantsToken } from './token.js';
import { WhipClient } from './whip.js';
import { t, translatePage } from './words.js';

const FIGURES_EVERY = 1_000;
/** Fields that need another device, and those that need another size of the same; what to send has no id. */
const OPENING = ['', 'camera', 'microphone', 'sound'];
const SIZING = ['quality', 'rate'];

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
  #cameraOff = false;
  #micOff = false;
  /** A device that was in use is gone. */ #missing = false;
  /** Why nothing could be opened. @type {CaptureError|null} */ #problem = null;
  /** Names in use, once they are known. @type {string[]} */ #others = [];
  /** When the server last confirmed what we send. */ #acknowledged = new Acknowledgements();
  /** Openings run one after the other. */ #opening = Promise.resolve(false);

  #preview = byId('preview', HTMLVideoElement);
  #go = byId('go', HTMLButtonElement);
  #form = new StudioForm();
  #figures = new StudioFigures();
  #summary = new StudioSummary();
  #test = new TestRecording(() => this.#sources.tracks);
  #inset = new InsetHandle((corner) => this.#moveInset(corner));
  #recording;
  #chat;
  #micButton = byId('mute-mic', HTMLButtonElement);
  #cameraButton = byId('mute-camera', HTMLButtonElement);

  /** @param {string} name */
  constructor(name) {
    this.#name = name;
    this.#feed = new BroadcastFeed(this.#token, { name });
    this.#chat = new StudioChat(name, () => this.#token);
    this.#recording = new LocalRecording(name, () => ({
      tracks: this.#sources.tracks,
      bitrate: this.#form.choice.preset.bitrate,
    }));
  }

  start() {
    setText(byId('curtain-title', HTMLElement), t('curtain-camera-microphone'));
    setText(byId('curtain-text', HTMLElement), t('curtain-ask'));
    document.title = t('publish-name-page-title', { name: this.#name });
    setText(byId('title', HTMLElement), this.#name);
    const link = byId('link', HTMLAnchorElement);
    link.href = at(`watch/${encodeURIComponent(this.#name)}`);
    setText(link, link.href);
    byId('obs-assistant', HTMLAnchorElement).href = at(`publish/${encodeURIComponent(this.#name)}/obs`);
    byId('notice', HTMLElement).after(this.#tokenForm.element);
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
    this.#form.element.addEventListener('submit', (event) => event.preventDefault());
    this.#form.element.addEventListener('change', (event) => {
      void this.#onChange(/** @type {Element} */ (event.target).id);
    });
    this.#form.element.addEventListener('input', (event) => this.#onSlide(/** @type {Element} */ (event.target)));
    this.#micButton.addEventListener('click', () => this.#mute('microphone'));
    this.#cameraButton.addEventListener('click', () => this.#mute('camera'));
    this.#sources.addEventListener('tracks', () => void this.#onTracks());
    this.#sources.addEventListener('devices', () => this.#onDevices());
    this.#sources.addEventListener('lost', (event) => {
      const { detail } = /** @type {CustomEvent<CaptureError>} */ (event);
      // A screen is chosen by hand, so nothing that is plugged in brings it back.
      this.#missing = detail.reason !== 'screen-ended';
      this.#sources.arrange(this.#form.choice);
      this.#notify(detail);
    });
    this.#feed.addEventListener('broadcasts', () => this.#showViewers());
    this.#feed.addEventListener('connection', () => this.#showState());
    addEventListener('beforeunload', (event) => {
      if (this.#client?.running || this.#recording.running) event.preventDefault();
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
    if (allowed.every(Boolean) && this.#form.choice.mode === 'camera') await this.#open();
  }

  /** @returns {Promise<boolean>} True if there is something to send. */
  #open() {
    this.#opening = this.#opening.then(() => this.#openNow());
    return this.#opening;
  }

  async #openNow() {
    const { choice } = this.#form;
    const allow = byId('allow', HTMLButtonElement);
    allow.disabled = true;
    const state = STATUS[this.#state];
    setText(byId('status', HTMLElement), this.#sources.open ? state && t(state) : t('publish-permission'));
    try {
      const [problem] = await this.#sources.select(choice);
      this.#problem = null;
      this.#notify(problem ?? null);
    } catch (error) {
      this.#problem = CaptureError.from(error, needsScreen(choice) ? 'screen' : 'both');
      this.#notify(this.#problem);
      this.#showCurtain();
    } finally {
      allow.disabled = false;
      this.#showState();
    }
    return this.#sources.open;
  }

  /** @param {string} id Of the field; those of what to send have none. */
  async #onChange(id) {
    this.#form.store();
    this.#form.show(this.#sources.hasScreenSound);
    const { choice } = this.#form;
    if (OPENING.includes(id)) {
      if (this.#sources.open || needsScreen(choice)) await this.#open();
      else this.#showCurtain();
    } else if (SIZING.includes(id)) {
      await this.#sources.resize(choice);
    } else {
      this.#sources.arrange(choice);
    }
  }

  /** @param {Element} target */
  #onSlide(target) {
    if (!(target instanceof HTMLInputElement) || target.type !== 'range') return;
    this.#form.show(this.#sources.hasScreenSound);
    this.#sources.arrange(this.#form.choice);
  }

  /** @param {import('./composer.js').Corner} corner */
  #moveInset(corner) {
    this.#form.corner = corner;
    this.#form.store();
    this.#sources.arrange(this.#form.choice);
  }

  async #onTracks() {
    const { video, audio } = this.#sources;
    const { choice } = this.#form;
    const shown = /** @type {MediaStream|null} */ (this.#preview.srcObject);
    if ((shown?.getVideoTracks()[0] ?? null) !== video) this.#preview.srcObject = video && new MediaStream([video]);
    this.#preview.classList.toggle('mirror', this.#sources.facesUser);
    this.#meter.watch(audio);
    this.#form.show(this.#sources.hasScreenSound);
    this.#showMutes();
    this.#showCurtain();
    this.#inset.show(choice.mode === 'both' && this.#sources.isBoth, choice.corner, this.#sources.cameraSize);
    this.#recording.follow();
    this.#test.offer(!this.#client?.running && this.#sources.tracks.length > 0);
    if (!this.#client?.running) return;
    await this.#client.configure(this.#form.limits(video));
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
      this.#sources.setCameraOff(this.#cameraOff, this.#form.choice);
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
    if (this.#client?.running) return; // another click, while the browser asked
    const client = new WhipClient(at(`whip/${encodeURIComponent(this.#name)}`), new MediaStream(this.#sources.tracks), {
      ...this.#form.limits(this.#sources.video),
      token: this.#token,
    });
    this.#client = client;
    this.#summary.begin();
    this.#notify(null);
    client.addEventListener('statechange', () => this.#onState(client));
    this.#chat.attach(client);
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
    this.#summary.follow(client.state);
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
    this.#figures.show(running);
    this.#test.offer(!running && this.#sources.tracks.length > 0);
    this.#showTime();
    this.#showViewers();
  }

  #showCurtain() {
    const { video, audio, hasPicture } = this.#sources;
    const { choice } = this.#form;
    // With both, the screen stays when the camera is off.
    const picture = hasPicture && (!this.#cameraOff || this.#sources.isBoth);
    byId('curtain', HTMLElement).hidden = picture;
    if (picture) return;
    const ready = hasPicture || audio !== null;
    const hidden = this.#cameraOff && video !== null;
    const { mark, title, text } = curtainWords({ mode: choice.mode, ready, hidden, problem: this.#problem });
    byId('curtain', HTMLElement).dataset.mark = mark;
    byId('curtain-mark', HTMLElement).replaceChildren(icon(mark));
    setText(byId('curtain-title', HTMLElement), title);
    setText(byId('curtain-text', HTMLElement), text);
    byId('allow', HTMLButtonElement).hidden = ready;
    const words = this.#problem ? 'publish-try-again' : needsScreen(choice) ? 'publish-choose' : 'publish-turn-on';
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
    this.#form.showDevices(this.#sources.devices);
    if (!this.#missing) return;
    this.#missing = false;
    void this.#open(); // it may be back, or there is another one
  }

  #showTime() {
    const time = byId('time', HTMLElement);
    time.hidden = !(this.#client?.running && this.#summary.since);
    if (!time.hidden) setText(time, durationText(Date.now() - this.#summary.since));
  }

  #showViewers() {
    const viewers = byId('viewers', HTMLElement);
    const broadcast = this.#feed.find(this.#name);
    viewers.hidden = this.#state !== 'live' || !broadcast;
    this.#chat.show(broadcast?.chat ?? false);
    if (broadcast) viewers.replaceChildren(icon('eye'), t('viewers', { count: broadcast.viewers }));
  }

  async #showFigures() {
    const peer = this.#client?.peer;
    if (!peer) return;
    const figures = await this.#sampler.sample(peer, 'outbound-rtp');
    await this.#acknowledged.read(peer);
    this.#showState();
    const sending = { figures, viewers: this.#feed.find(this.#name)?.viewers ?? null };
    this.#figures.tell(sending, this.#summary.since);
    this.#summary.tell(sending);
  }
}

/** @param {import('./sources.js').Choice} choice Whether a screen has to be chosen. */
const needsScreen = ({ mode }) => mode === 'screen' || mode === 'both';

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
