/**
 * Tells when a new picture has caught up. The pictures since the last keyframe come first: they are of some seconds ago,
 * are decoded faster than any camera delivers, and are better not seen.
 */

/** A picture that is decoded at more frames per second than this is catching up. */
const RATE = 90;
/** Milliseconds for which the rate is measured: longer than browsers keep their figures. */
const WINDOW = 100;
/** A picture counts as live after this many milliseconds, however fast it is decoded. */
const PATIENCE = 2_000;

export class CatchUp {
  /** When the first picture was decoded. */ #begun = 0;
  /** The last measurement. */ #at = 0;
  #frames = 0;

  /**
   * Call it every 50 ms or so.
   * @param {number} frames Decoded so far.
   * @param {number} now Milliseconds.
   * @returns {boolean} True while the picture is catching up.
   */
  lasts(frames, now) {
    if (frames === 0) return false;
    if (this.#begun === 0) {
      this.#begun = this.#at = now;
      this.#frames = frames;
      return true;
    }
    const time = now - this.#at;
    if (time < WINDOW) return true;
    const fast = frames - this.#frames > (RATE * time) / 1_000;
    this.#at = now;
    this.#frames = frames;
    return fast && now - this.#begun < PATIENCE;
  }
}
