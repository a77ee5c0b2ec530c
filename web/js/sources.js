/** Camera, microphone and screen: opening, switching and losing them. */

import { Composer } from './composer.js';
import { CaptureError, captureProblem } from './media-errors.js';
import { Mixer } from './mixer.js';
import { t } from './words.js';

/**
 * What the user has chosen.
 * @typedef {object} Choice
 * @property {'camera'|'screen'|'both'|'audio'} mode
 * @property {string} camera Device id, empty for the default.
 * @property {string} microphone Device id, empty for the default, `none` for none.
 * @property {'voice'|'music'} sound
 * @property {Preset} preset
 * @property {boolean} portrait Whether the picture is higher than it is wide. A screen alone keeps its shape.
 * @property {boolean} mirror Whether viewers see the camera mirrored.
 * @property {import('./composer.js').Corner} corner Where the camera is, if the screen is sent, too.
 * @property {number} gain Of the microphone; 1 leaves it as it is.
 * @property {number} screenGain Of the sound that comes with the screen.
 */

/** @typedef {{id: string, width: number, height: number, fps: number, bitrate: number}} Preset */

/** Has the browser offer the sound of the computer with a screen. Not every browser knows it. */
const WITH_SOUND = { systemAudio: 'include' };

/** @type {Preset[]} */
export const PRESETS = [
  { id: '1080p60', width: 1920, height: 1080, fps: 60, bitrate: 6_000_000 },
  { id: '1080p', width: 1920, height: 1080, fps: 30, bitrate: 4_500_000 },
  { id: '720p', width: 1280, height: 720, fps: 30, bitrate: 2_500_000 },
  { id: '480p', width: 854, height: 480, fps: 30, bitrate: 1_000_000 },
  { id: '360p', width: 640, height: 360, fps: 25, bitrate: 500_000 },
];

/**
 * Events: `tracks` when `video` or `audio` has changed; `devices` when something was plugged in or
 * out; `lost` (detail: CaptureError) when a device or screen share ended by itself.
 */
export class Sources extends EventTarget {
  /** Track to send, null if none. @type {MediaStreamTrack|null} */ video = null;
  /** Track to send: microphone, sound of the screen, or both mixed. @type {MediaStreamTrack|null} */ audio = null;
  /** @type {MediaDeviceInfo[]} */ devices = [];

  /** @type {MediaStreamTrack|null} */ #camera = null;
  /** @type {MediaStreamTrack|null} */ #screen = null;
  /** @type {MediaStreamTrack|null} */ #microphone = null;
  /** @type {MediaStreamTrack|null} */ #screenSound = null;
  #mixer = new Mixer();
  /** @type {Composer|null} */ #composer = null;
  /** What camera and microphone were opened for. */
  #cameraKey = '';
  #audioKey = '';
  #muted = false;
  #cameraOff = false;

  constructor() {
    super();
    navigator.mediaDevices?.addEventListener('devicechange', () => void this.listDevices());
  }

  /** True if this browser can share a screen (phones cannot). */
  static get canShareScreen() {
    return Boolean(navigator.mediaDevices?.getDisplayMedia);
  }

  get microphone() {
    return this.#microphone;
  }

  get hasScreenSound() {
    return this.#screenSound !== null;
  }

  get open() {
    return this.video !== null || this.audio !== null;
  }

  /** What is sent. */
  get tracks() {
    return [this.video, this.audio].filter((track) => track !== null);
  }

  /** Whether a screen is seen, and a camera with it. */
  get isBoth() {
    return this.#camera?.readyState === 'live' && this.#screen?.readyState === 'live';
  }

  /** Whether a camera or screen is seen. */
  get hasPicture() {
    return this.#camera?.readyState === 'live' || this.#screen?.readyState === 'live';
  }

  /** Whether a camera is seen that looks at the user, just as it is. */
  get facesUser() {
    return this.video !== null && this.video === this.#camera && facing(this.#camera) !== 'environment';
  }

  /** Width and height of the camera's picture. */
  get cameraSize() {
    const { width = 0, height = 0 } = this.#camera?.getSettings() ?? {};
    return { width, height };
  }

  /**
   * Opens what has been chosen and is not open yet.
   * @param {Choice} choice
   * @returns {Promise<CaptureError[]>} What could not be opened, if something else could.
   * @throws {CaptureError} if nothing could.
   */
  async select(choice) {
    const problem = captureProblem();
    if (problem) throw problem;
    const wantsScreen = choice.mode === 'screen' || choice.mode === 'both';
    const wantsCamera = choice.mode === 'camera' || choice.mode === 'both';
    const audioKey = choice.microphone === 'none' ? '' : `${choice.microphone} ${choice.sound}`;
    const needsCamera = wantsCamera && (choice.camera !== this.#cameraKey || this.#camera?.readyState !== 'live');
    const needsAudio = audioKey !== this.#audioKey || (audioKey !== '' && this.#microphone?.readyState !== 'live');
    /** @type {CaptureError[]} */
    const problems = [];
    if (wantsScreen && this.#screen?.readyState !== 'live') await this.#openScreen(choice, problems);
    if (!wantsScreen) this.#closeScreen();
    // Phones cannot open their second camera, nor some drivers the same one again, until the first is closed.
    if (needsCamera || !wantsCamera) this.#closeCamera();
    if (needsAudio) this.#closeMicrophone();
    await this.#openDevices(choice, needsCamera, needsAudio && audioKey !== '', problems);
    this.#cameraKey = choice.camera;
    this.#audioKey = this.#microphone ? audioKey : '';
    this.arrange(choice);
    this.setMicrophoneMuted(this.#muted);
    await this.listDevices();
    if (!this.open && problems[0]) throw problems[0];
    return problems;
  }

  /**
   * Makes what is sent of what is open.
   * @param {Choice} choice
   */
  arrange(choice) {
    if (this.#camera) this.#camera.enabled = !this.#cameraOff;
    if (this.#screen) this.#screen.enabled = !this.#cameraOff || choice.mode === 'both';
    this.#compose(choice);
    this.#mix(choice);
    this.dispatchEvent(new Event('tracks'));
  }

  /** @param {Choice} choice */
  #compose({ mode, portrait, mirror, corner, preset }) {
    const camera = this.#camera;
    const { width, height } = this.cameraSize;
    const isBoth = mode === 'both' && this.hasPicture;
    const isReshaped = mode === 'camera' && camera?.readyState === 'live' && (mirror || (portrait && width > height));
    if (!isBoth && !isReshaped) {
      this.#composer?.close();
      this.#composer = null;
      this.video = this.#screen ?? camera;
      return;
    }
    const plan = {
      main: isBoth ? this.#screen : camera,
      inset: isBoth && !this.#cameraOff ? camera : null,
      cover: !isBoth,
      mirror,
      corner,
      width: portrait ? preset.height : preset.width,
      height: portrait ? preset.width : preset.height,
      fps: preset.fps,
    };
    if (this.#composer) this.#composer.show(plan);
    else this.#composer = new Composer(plan);
    this.video = this.#composer.track;
  }

  /**
   * @param {Choice} choice
   * @param {boolean} camera
   * @param {boolean} microphone
   * @param {CaptureError[]} problems
   */
  async #openDevices(choice, camera, microphone, problems) {
    const video = camera && cameraConstraints(choice);
    const audio = microphone && microphoneConstraints(choice);
    if (video && audio) {
      try {
        return this.#take(await navigator.mediaDevices.getUserMedia({ video, audio })); // one permission prompt for both
      } catch (error) {
        if (error instanceof Error && error.name === 'NotAllowedError') {
          problems.push(CaptureError.from(error, 'both'));
          return;
        }
      }
    }
    if (video) await this.#openOne({ video }, 'camera', problems);
    if (audio) await this.#openOne({ audio }, 'microphone', problems);
  }

  /**
   * @param {MediaStreamConstraints} constraints
   * @param {'camera'|'microphone'} thing
   * @param {CaptureError[]} problems
   */
  async #openOne(constraints, thing, problems) {
    try {
      this.#take(await navigator.mediaDevices.getUserMedia(constraints));
    } catch (error) {
      problems.push(CaptureError.from(error, thing));
    }
  }

  /** @param {MediaStream} stream */
  #take(stream) {
    const [camera] = stream.getVideoTracks();
    const [microphone] = stream.getAudioTracks();
    if (camera) this.#camera = this.#guard(camera, 'camera');
    if (microphone) this.#microphone = this.#guard(microphone, 'microphone');
  }

  /**
   * @param {Choice} choice
   * @param {CaptureError[]} problems
   * @throws {CaptureError} if there is nothing else to send.
   */
  async #openScreen({ mode, preset }, problems) {
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia({
        video: { frameRate: { ideal: preset.fps } },
        audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
        ...WITH_SOUND,
      });
      this.#closeScreen();
      this.#screen = this.#guard(stream.getVideoTracks()[0], 'screen');
      this.#screenSound = stream.getAudioTracks()[0] ?? null;
    } catch (error) {
      const problem = CaptureError.from(error, 'screen');
      if (mode === 'screen') throw problem;
      problems.push(problem);
    }
  }

  /**
   * @param {MediaStreamTrack} track
   * @param {'camera'|'microphone'|'screen'} thing
   */
  #guard(track, thing) {
    track.addEventListener('ended', () => {
      if (![this.#camera, this.#screen, this.#microphone].includes(track)) return; // we closed it
      const detail =
        thing === 'screen'
          ? new CaptureError(t('screen-ended'), t('screen-ended-hint'), undefined, 'screen-ended')
          : new CaptureError(
              t('device-unplugged', { thing: t(`thing-${thing}`) }),
              t('device-unplugged-hint'),
              undefined,
              `${thing}-gone`,
            );
      this.dispatchEvent(new CustomEvent('lost', { detail }));
    });
    return track;
  }

  /**
   * Builds `audio` from the open tracks.
   * @param {Choice} choice
   */
  #mix({ gain, screenGain }) {
    this.audio = this.#mixer.mix([
      { track: this.#microphone, gain },
      { track: this.#screenSound, gain: screenGain },
    ]);
  }

  /**
   * Mutes the microphone; the sound of a shared screen continues.
   * @param {boolean} muted
   */
  setMicrophoneMuted(muted) {
    this.#muted = muted;
    if (this.#microphone) this.#microphone.enabled = !muted;
  }

  /**
   * Blackens the camera, or the screen where no camera is sent.
   * @param {boolean} off
   * @param {Choice} choice
   */
  setCameraOff(off, choice) {
    this.#cameraOff = off;
    this.arrange(choice);
  }

  /**
   * Changes size and frame rate of what is open.
   * @param {Choice} choice
   */
  async resize(choice) {
    const { width, height, fps } = choice.preset;
    const frameRate = { ideal: fps };
    const size = { width: { ideal: width }, height: { ideal: height }, frameRate };
    try {
      if (this.#camera?.readyState === 'live') await this.#camera.applyConstraints(size);
      if (this.#screen?.readyState === 'live') await this.#screen.applyConstraints({ frameRate });
    } catch (error) {
      console.warn('the camera did not change its size', error); // the sender scales down
    }
    this.arrange(choice);
  }

  async listDevices() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    // Until permission is granted, entries have no ids and say nothing.
    this.devices = devices.filter(({ deviceId }) => deviceId !== '');
    this.dispatchEvent(new Event('devices'));
  }

  #closeCamera() {
    const track = this.#camera;
    this.#camera = null;
    track?.stop();
  }

  #closeScreen() {
    const tracks = [this.#screen, this.#screenSound];
    this.#screen = this.#screenSound = null;
    tracks.forEach((track) => track?.stop());
  }

  #closeMicrophone() {
    const track = this.#microphone;
    this.#microphone = null;
    this.#audioKey = '';
    track?.stop();
  }
}

/**
 * @param {Choice} choice
 * @returns {MediaTrackConstraints}
 */
function cameraConstraints({ camera, preset }) {
  return {
    ...(camera ? { deviceId: { exact: camera } } : { facingMode: 'user' }),
    width: { ideal: preset.width },
    height: { ideal: preset.height },
    frameRate: { ideal: preset.fps },
  };
}

/**
 * @param {Choice} choice
 * @returns {MediaTrackConstraints}
 */
function microphoneConstraints({ microphone, sound }) {
  const voice = sound === 'voice';
  return {
    ...(microphone && { deviceId: { exact: microphone } }),
    echoCancellation: voice,
    noiseSuppression: voice,
    autoGainControl: voice,
    channelCount: { ideal: voice ? 1 : 2 },
  };
}

/** @param {MediaStreamTrack} track Which way it looks. */
const facing = (track) => track.getSettings().facingMode;

/** @param {string} name @returns {Promise<boolean>} True if the browser will not ask. */
export async function permission(name) {
  try {
    return (await navigator.permissions.query({ name: /** @type {PermissionName} */ (name) })).state === 'granted';
  } catch {
    return false; // not every browser can be asked
  }
}
