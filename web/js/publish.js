/** The page `/publish/{name}`: choose, preview, go live. `/publish` alone asks for the name. */

import { BroadcastFeed, isName, nameFromPath } from './broadcasts.js';
import { byId, durationText, enableCopyButtons, fillIcons, h, icon, plural, setText } from './dom.js';
import { CaptureError, captureProblem } from './media-errors.js';
import { LevelMeter } from './meter.js';
import { at } from './site.js';
import { PRESETS, Sources } from './sources.js';
import { RefusalLine } from './refusal.js';
import { StatsSampler, bitrateText } from './stats.js';
import { TokenForm, pageToken, wantsToken } from './token.js';
import { WhipClient } from './whip.js';

const CHOICE_KEY = 'aerial-publish';
const FIGURES_EVERY = 1_000;
/** Encoders take this many milliseconds to settle on a bitrate. */
const SETTLE = 10_000;

const STATUS = {
  idle: '',
  connecting: 'Connecting…',
  live: 'You are live.',
  waiting: '',
  failed: '',
  closed: 'You are off air.',
  offline: 'The connection was lost. Reconnecting…',
};
const BADGES = {
  idle: 'Preview',
  connecting: 'Connecting',
  live: 'Live',
  waiting: 'Preview',
  offline: 'Reconnecting',
  failed: 'Preview',
  closed: 'Preview',
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
    document.title = `Publish ${this.#name} - Aerial`;
    setText(byId('title', HTMLElement), this.#name);
    const link = byId('link', HTMLAnchorElement);
    link.href = at(`watch/${encodeURIComponent(this.#name)}`);
    setText(link, link.href);
    byId('quality', HTMLSelectElement).append(...PRESETS.map(({ id, label }) => h('option', { value: id }, label)));
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
    setText(byId('status', HTMLElement), this.#sources.open ? STATUS[this.#state] : 'Waiting for your permission…');
    try {
      const [problem] = await this.#sources.select(choice);
      this.#notify(problem ?? null);
    } catch (error) {
      this.#notify(CaptureError.from(error, choice.mode === 'screen' ? 'screen' : 'camera and microphone'));
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
    if (error && wantsToken(error))
      this.#tokenForm.ask('It is sent to this server only and kept until you close this tab.', error.kind);
    else this.#tokenForm.hide();
    if (client.state === 'live') this.#liveSince ||= Date.now();
    if (client.state === 'failed' && error) {
      this.#notify({
        title: error.kind === 'name-taken' ? 'This name is taken' : 'You are not live',
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
  }

  #showState() {
    const state = this.#state;
    const running = this.#client?.running ?? false;
    setText(byId('status', HTMLElement), STATUS[state]);
    setText(byId('badge', HTMLElement), BADGES[state]);
    byId('badge', HTMLElement).classList.toggle('live', state === 'live');
    byId('screen', HTMLElement).classList.toggle('on-air', state === 'live');
    byId('screen', HTMLElement).dataset.state = state;
    this.#go.classList.toggle('stop', running);
    this.#go.classList.toggle('primary', !running);
    setText(this.#go, !running ? 'Go live' : state === 'connecting' ? 'Cancel' : 'Stop');
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
    /** @type {[import('./dom.js').Icon, string, string]} */
    const [mark, title, text] =
      this.#cameraOff && video
        ? ['cameraOff', 'Your picture is off', 'Viewers see black.']
        : ready
          ? ['mic', mode === 'audio' ? 'Sound only' : 'No picture', 'Viewers hear you but see nothing.']
          : mode === 'screen'
            ? ['screen', 'Share your screen', 'Choose a screen, window or tab. Nothing is sent before you go live.']
            : [
                'camera',
                mode === 'audio' ? 'Microphone' : 'Camera and microphone',
                'Your browser will ask for permission. Nothing is sent before you go live.',
              ];
    byId('curtain', HTMLElement).dataset.mark = mark;
    byId('curtain-mark', HTMLElement).replaceChildren(icon(mark));
    setText(byId('curtain-title', HTMLElement), title);
    setText(byId('curtain-text', HTMLElement), text);
    byId('allow', HTMLButtonElement).hidden = ready;
    setText(byId('allow', HTMLButtonElement), mode === 'screen' ? 'Choose' : 'Turn on');
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
    this.#fill('camera', 'videoinput', [['', 'Default camera']]);
    this.#fill('microphone', 'audioinput', [
      ['', 'Default microphone'],
      ['none', 'No microphone'],
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
      .map(({ deviceId, label }, index) => /** @type {[string, string]} */ ([deviceId, label || `${id} ${index + 1}`]));
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
    if (broadcast) viewers.replaceChildren(icon('eye'), plural(broadcast.viewers, 'viewer'));
  }

  async #showFigures() {
    const peer = this.#client?.peer;
    if (!peer) return;
    const { video, audio, rtt } = await this.#sampler.sample(peer, 'outbound-rtp');
    const settled = this.#liveSince > 0 && Date.now() - this.#liveSince > SETTLE;
    const rows = [
      ...(video
        ? [
            ['Picture', `${video.width} × ${video.height}, ${Math.round(video.fps)} fps`],
            ['Video', `${video.codec} · ${bitrateText(video.bitrate)}`],
          ]
        : []),
      ...(audio ? [['Sound', `${audio.codec} · ${bitrateText(audio.bitrate)}`]] : []),
      ...(video?.limited && settled
        ? [['Limited by', video.limited === 'cpu' ? 'a busy computer' : 'a slow network']]
        : []),
      ['Lost packets', String((video?.lost ?? 0) + (audio?.lost ?? 0))],
      ...(rtt === null ? [] : [['Round trip', `${Math.round(rtt)} ms`]]),
    ];
    byId('figures', HTMLElement).replaceChildren(
      ...rows.flatMap(([term, text]) => [h('dt', {}, term), h('dd', {}, text)]),
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

/**
 * @param {HTMLButtonElement} button
 * @param {boolean} pressed
 * @param {import('./dom.js').Icon} name
 */
function press(button, pressed, name) {
  button.setAttribute('aria-pressed', String(pressed)); // the label stays; pressed says the rest
  button.querySelector('[data-icon]')?.replaceChildren(icon(name));
}

/** @param {string} name @returns {Promise<boolean>} True if the browser will not ask. */
async function permission(name) {
  try {
    return (await navigator.permissions.query({ name: /** @type {PermissionName} */ (name) })).state === 'granted';
  } catch {
    return false; // not every browser can be asked
  }
}

function askForName() {
  const form = byId('name-form', HTMLFormElement);
  const input = byId('name', HTMLInputElement);
  byId('naming', HTMLElement).hidden = false;
  input.focus();
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const name = input.value.trim();
    if (isName(name)) {
      location.assign(at(`publish/${encodeURIComponent(name)}`));
      return;
    }
    input.setAttribute('aria-invalid', 'true');
    setText(
      byId('name-hint', HTMLElement),
      name
        ? 'Only letters, digits, dots, dashes and underscores, and no leading dot.'
        : 'Give your broadcast a name first.',
    );
    input.focus();
  });
}

fillIcons();
enableCopyButtons();
const name = nameFromPath('publish');
if (isName(name)) {
  byId('studio', HTMLElement).hidden = false;
  new Studio(name).start();
} else {
  askForName();
}
