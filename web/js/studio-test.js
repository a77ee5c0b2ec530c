/** A few seconds of what would be sent, recorded and played back: the test before going live. */

import { byId, setText } from './dom.js';
import { recordingType } from './studio-recording.js';
import { t } from './words.js';

/** Length, in seconds. */
const SECONDS = 5;

export class TestRecording {
  #tracks;
  #button = byId('test', HTMLButtonElement);
  #sheet = byId('test-sheet', HTMLDialogElement);
  #video = byId('test-video', HTMLVideoElement);
  #running = false;

  /** @param {() => MediaStreamTrack[]} tracks What there is to send. */
  constructor(tracks) {
    this.#tracks = tracks;
    setText(this.#button, t('test', { count: SECONDS }));
    this.#button.addEventListener('click', () => void this.#run());
    byId('test-close', HTMLButtonElement).addEventListener('click', () => this.#sheet.close());
    this.#sheet.addEventListener('close', () => this.#forget());
  }

  /** @param {boolean} wanted Whether there is something to test. */
  offer(wanted) {
    this.#button.hidden = !wanted || typeof MediaRecorder !== 'function';
  }

  async #run() {
    if (this.#running) return;
    this.#running = true;
    this.#button.disabled = true;
    try {
      this.#play(await this.#record());
    } catch (error) {
      console.warn('the test recording failed', error);
      setText(byId('status', HTMLElement), t('test-failed'));
    } finally {
      this.#running = false;
      this.#button.disabled = false;
      setText(this.#button, t('test', { count: SECONDS }));
    }
  }

  async #record() {
    const tracks = this.#tracks();
    const mimeType = recordingType(tracks);
    const recorder = new MediaRecorder(new MediaStream(tracks), { mimeType });
    /** @type {Blob[]} */
    const pieces = [];
    recorder.addEventListener('dataavailable', ({ data }) => pieces.push(data));
    const stopped = new Promise((resolve, reject) => {
      recorder.addEventListener('stop', resolve);
      recorder.addEventListener('error', reject);
    });
    recorder.start();
    for (let left = SECONDS; left > 0 && recorder.state === 'recording'; left -= 1) {
      setText(this.#button, t('test-left', { count: left }));
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
    if (recorder.state === 'recording') recorder.stop(); // otherwise its tracks have ended
    await stopped;
    return new Blob(pieces, { type: recorder.mimeType.split(';')[0] });
  }

  /** @param {Blob} recording */
  #play(recording) {
    this.#video.src = URL.createObjectURL(recording);
    this.#sheet.showModal();
    void this.#video.play().catch(() => {}); // it has controls
  }

  #forget() {
    URL.revokeObjectURL(this.#video.src);
    this.#video.removeAttribute('src');
    this.#video.load();
  }
}
