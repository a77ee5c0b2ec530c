/** Camera, microphone and screen: opening, switching and losing them. */

import { CaptureError, captureProblem } from './media-errors.js';
import { t } from './words.js';

/**
 * What the user has chosen.
 * @typedef {object} Choice
 * @property {'camera'|'screen'|'audio'} mode
 * @property {string} camera Device id, empty for the default.
 * @property {string} microphone Device id, empty for the default, `none` for none.
 * @property {'voice'|'music'} sound
 * @property {Preset} preset
 */

/** @typedef {{id: string, width: number, height: number, fps: number, bitrate: number}} Preset */

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

  /** @type {MediaStreamTrack|null} */ #microphone = null;
  /** @type {MediaStreamTrack|null} */ #screenSound = null;
  /** @type {AudioContext|null} */ #mixer = null;
  /** What the open tracks were opened for. */
  #videoKey = '';
  #audioKey = '';
  #muted = false;

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

  get open() {
    return this.video !== null || this.audio !== null;
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
    const videoKey = { camera: `camera ${choice.camera}`, screen: 'screen', audio: '' }[choice.mode];
    const audioKey = choice.microphone === 'none' ? '' : `${choice.microphone} ${choice.sound}`;
    const needVideo = videoKey !== this.#videoKey || (videoKey !== '' && this.video?.readyState !== 'live');
    const needAudio = audioKey !== this.#audioKey || (audioKey !== '' && this.#microphone?.readyState !== 'live');
    /** @type {CaptureError[]} */
    const problems = [];
    if (needVideo && choice.mode === 'screen') await this.#openScreen(choice);
    const wantCamera = needVideo && choice.mode === 'camera';
    const wantMicrophone = needAudio && audioKey !== '';
    // Phones cannot open their second camera, nor some drivers the same one again, until the first is closed.
    if (wantCamera || choice.mode === 'audio') this.#closeVideo();
    if (needAudio) this.#closeMicrophone();
    await this.#openDevices(choice, wantCamera, wantMicrophone, problems);
    this.#videoKey = this.video ? videoKey : '';
    this.#audioKey = this.#microphone ? audioKey : '';
    this.#mix();
    this.setMicrophoneMuted(this.#muted);
    await this.listDevices();
    this.dispatchEvent(new Event('tracks'));
    if (!this.open && problems[0]) throw problems[0];
    return problems;
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
    const [video] = stream.getVideoTracks();
    const [microphone] = stream.getAudioTracks();
    if (video) this.video = this.#guard(video, 'camera');
    if (microphone) this.#microphone = this.#guard(microphone, 'microphone');
  }

  /** @param {Choice} choice */
  async #openScreen({ preset }) {
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia({
        video: { frameRate: { ideal: preset.fps } },
        audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
      });
      this.#closeVideo();
      this.video = this.#guard(stream.getVideoTracks()[0], 'screen');
      this.#screenSound = stream.getAudioTracks()[0] ?? null;
    } catch (error) {
      throw CaptureError.from(error, 'screen');
    }
  }

  /**
   * @param {MediaStreamTrack} track
   * @param {'camera'|'microphone'|'screen'} thing
   */
  #guard(track, thing) {
    track.addEventListener('ended', () => {
      if (track !== this.video && track !== this.#microphone) return; // we closed it
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

  /** Builds `audio` from the open tracks. */
  #mix() {
    const parts = [this.#microphone, this.#screenSound].filter((track) => track !== null);
    void this.#mixer?.close();
    this.#mixer = null;
    if (parts.length < 2) {
      this.audio = parts[0] ?? null;
      return;
    }
    const mixer = new AudioContext({ latencyHint: 'interactive' });
    const output = mixer.createMediaStreamDestination();
    for (const part of parts) mixer.createMediaStreamSource(new MediaStream([part])).connect(output);
    this.#mixer = mixer;
    this.audio = output.stream.getAudioTracks()[0];
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
   * Changes size and frame rate of the open camera or screen.
   * @param {Preset} preset
   */
  async resize({ width, height, fps }) {
    if (this.video?.readyState !== 'live') return;
    const frameRate = { ideal: fps };
    try {
      await this.video.applyConstraints(
        this.#videoKey === 'screen' ? { frameRate } : { width: { ideal: width }, height: { ideal: height }, frameRate },
      );
    } catch (error) {
      console.warn('the camera did not change its size', error); // the sender scales down
    }
  }

  async listDevices() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    // Until permission is granted, entries have no ids and say nothing.
    this.devices = devices.filter(({ deviceId }) => deviceId !== '');
    this.dispatchEvent(new Event('devices'));
  }

  close() {
    this.#closeVideo();
    this.#closeMicrophone();
    this.#mix();
    this.dispatchEvent(new Event('tracks'));
  }

  #closeVideo() {
    const tracks = [this.video, this.#screenSound];
    this.video = this.#screenSound = null;
    this.#videoKey = '';
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

/** @param {string} name @returns {Promise<boolean>} True if the browser will not ask. */
export async function permission(name) {
  try {
    return (await navigator.permissions.query({ name: /** @type {PermissionName} */ (name) })).state === 'granted';
  } catch {
    return false; // not every browser can be asked
  }
}
