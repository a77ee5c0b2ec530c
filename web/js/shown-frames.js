/** Things that happen when a certain frame is shown. */

/** What waits longer than this happens anyway, in milliseconds: its frame may never be shown. */
const PATIENCE = 1_500;
/** How much may wait. */
const WAITING_MAX = 200;

/** @typedef {{rtp: number, run: () => void, timer: ReturnType<typeof setTimeout>}} Waiting */

export class ShownFrames {
  /** @type {any} A video element, with what only some browsers have. */ #video;
  /** @type {Waiting[]} In the order of their frames. */ #waiting = [];
  #isWatching = false;

  /** @param {HTMLMediaElement|undefined} video */
  constructor(video) {
    this.#video = video;
  }

  /**
   * Runs something when the frame with this RTP timestamp, or a later one, is shown; at once where nobody can tell.
   * @param {number|undefined} rtp
   * @param {() => void} run
   */
  when(rtp, run) {
    if (rtp === undefined || !this.#video?.requestVideoFrameCallback || document.hidden) return run();
    if (this.#waiting.length >= WAITING_MAX) this.#run(this.#waiting[0]);
    const waiting = { rtp, run, timer: setTimeout(() => this.#run(waiting), PATIENCE) };
    this.#waiting.push(waiting);
    this.#watch();
  }

  #watch() {
    if (this.#isWatching || this.#waiting.length === 0) return;
    this.#isWatching = true;
    this.#video.requestVideoFrameCallback((/** @type {number} */ _, /** @type {{rtpTimestamp?: number}} */ frame) => {
      this.#isWatching = false;
      const { rtpTimestamp } = frame;
      for (const waiting of [...this.#waiting])
        if (rtpTimestamp === undefined || isReached(rtpTimestamp, waiting.rtp)) this.#run(waiting);
      this.#watch();
    });
  }

  /** @param {Waiting} waiting */
  #run(waiting) {
    clearTimeout(waiting.timer);
    const place = this.#waiting.indexOf(waiting);
    if (place < 0) return;
    this.#waiting.splice(place, 1);
    waiting.run();
  }
}

/**
 * Whether a timestamp is this one or a later one. They have 32 bits, and begin again after the last.
 * @param {number} now
 * @param {number} wanted
 */
export const isReached = (now, wanted) => ((now - wanted) | 0) >= 0;
