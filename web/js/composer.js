/** One picture of two: a camera in a corner of a screen, or a camera cut to another shape. Drawn on a canvas. */

/** @typedef {'top-left'|'top-right'|'bottom-right'|'bottom-left'} Corner */

/** Clockwise. @type {Corner[]} */
export const CORNERS = ['top-left', 'top-right', 'bottom-right', 'bottom-left'];

/** The inset's longer side and its distance from the edge, as shares of the picture's shorter side. */
const INSET = 0.42;
const MARGIN = 0.035;
/** Between two pictures the page has at least this share of the time for itself. */
const IDLE = 1 / 3;
/** Radius of its corners, as a share of its height. */
const ROUND = 0.08;

/**
 * @typedef {object} Composition
 * @property {MediaStreamTrack|null} main Fills the picture.
 * @property {MediaStreamTrack|null} inset In the corner; fills the picture when there is nothing else.
 * @property {boolean} cover Whether `main` is cut to the shape of the picture rather than framed in black.
 * @property {boolean} mirror Whether the camera is mirrored.
 * @property {Corner} corner
 * @property {number} width Of the picture, in pixels.
 * @property {number} height
 * @property {number} fps
 */

/** @typedef {{x: number, y: number, width: number, height: number}} Box */

export class Composer {
  #canvas = document.createElement('canvas');
  #context = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext('2d', { alpha: false }));
  #main = player();
  #inset = player();
  #clock = new Worker(new URL('./clock-worker.js', import.meta.url), { type: 'module' });
  /** @type {Composition} */ #plan;
  /** What is drawn. @type {MediaStreamTrack} */ track;

  /** @param {Composition} plan */
  constructor(plan) {
    this.#plan = plan;
    this.#clock.addEventListener('message', () => this.#step());
    this.show(plan);
    this.#step();
    this.track = this.#canvas.captureStream().getVideoTracks()[0];
  }

  /** Changes what is drawn; the track stays. @param {Composition} plan */
  show(plan) {
    this.#plan = plan;
    if (this.#canvas.width !== plan.width) this.#canvas.width = plan.width;
    if (this.#canvas.height !== plan.height) this.#canvas.height = plan.height;
    play(this.#main, plan.main);
    play(this.#inset, plan.inset);
  }

  /** Draws, and has itself called again. */
  #step() {
    const began = performance.now();
    this.#draw();
    const interval = 1000 / this.#plan.fps;
    this.#clock.postMessage(Math.max(interval - (performance.now() - began), interval * IDLE));
  }

  close() {
    this.#clock.terminate();
    this.track.stop();
    for (const video of [this.#main, this.#inset]) play(video, null);
  }

  #draw() {
    const { main, inset, cover, mirror, corner, width, height } = this.#plan;
    const context = this.#context;
    context.fillStyle = '#000';
    context.fillRect(0, 0, width, height);
    const whole = { x: 0, y: 0, width, height };
    const hasMain = main?.readyState === 'live';
    if (hasMain) this.#put(this.#main, whole, cover, mirror && cover);
    if (inset?.readyState !== 'live') return;
    if (!hasMain) return this.#put(this.#inset, whole, true, mirror);
    const box = insetBox(this.#inset.videoWidth, this.#inset.videoHeight, corner, this.#plan);
    context.save();
    context.beginPath();
    context.roundRect(box.x, box.y, box.width, box.height, box.height * ROUND);
    context.clip();
    this.#put(this.#inset, box, true, mirror);
    context.restore();
  }

  /**
   * @param {HTMLVideoElement} video
   * @param {Box} box
   * @param {boolean} cover
   * @param {boolean} mirror
   */
  #put(video, box, cover, mirror) {
    const { videoWidth, videoHeight } = video;
    if (!videoWidth) return;
    const [across, down] = [box.width / videoWidth, box.height / videoHeight];
    const scale = cover ? Math.max(across, down) : Math.min(across, down);
    // What is seen of the video, and where.
    const [cutWidth, cutHeight] = [Math.min(videoWidth, box.width / scale), Math.min(videoHeight, box.height / scale)];
    const [width, height] = [cutWidth * scale, cutHeight * scale];
    const context = this.#context;
    context.save();
    context.translate(box.x + box.width / 2, box.y + box.height / 2);
    if (mirror) context.scale(-1, 1);
    const [left, top] = [(videoWidth - cutWidth) / 2, (videoHeight - cutHeight) / 2];
    context.drawImage(video, left, top, cutWidth, cutHeight, -width / 2, -height / 2, width, height);
    context.restore();
  }
}

/**
 * Where the inset is, in pixels of the picture.
 * @param {number} videoWidth
 * @param {number} videoHeight
 * @param {Corner} corner
 * @param {{width: number, height: number}} picture
 * @returns {Box}
 */
export function insetBox(videoWidth, videoHeight, corner, picture) {
  const short = Math.min(picture.width, picture.height);
  const shape = videoWidth && videoHeight ? videoWidth / videoHeight : 16 / 9;
  const width = INSET * short * Math.min(1, shape);
  const height = width / shape;
  const margin = MARGIN * short;
  return {
    x: corner.endsWith('left') ? margin : picture.width - width - margin,
    y: corner.startsWith('top') ? margin : picture.height - height - margin,
    width,
    height,
  };
}

function player() {
  const video = document.createElement('video');
  video.muted = video.playsInline = true;
  return video;
}

/**
 * @param {HTMLVideoElement} video
 * @param {MediaStreamTrack|null} track
 */
function play(video, track) {
  const stream = /** @type {MediaStream|null} */ (video.srcObject);
  if ((stream?.getVideoTracks()[0] ?? null) === track) return;
  video.srcObject = track && new MediaStream([track]);
  if (track) void video.play().catch(() => {}); // replaced before it played
}
