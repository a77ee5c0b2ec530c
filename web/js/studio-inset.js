/** The handle of the camera's picture in a corner of the screen: it is moved by pointer, keys and clicks. */

import { CORNERS, insetBox } from './composer.js';
import { byId } from './dom.js';
import { t } from './words.js';

/** A pointer that has moved less than this many pixels has clicked. */
const STILL = 6;

/** Where each key leads. @type {Record<string, (corner: string) => string>} */
const KEYS = {
  ArrowUp: (corner) => corner.replace('bottom', 'top'),
  ArrowDown: (corner) => corner.replace('top', 'bottom'),
  ArrowLeft: (corner) => corner.replace('right', 'left'),
  ArrowRight: (corner) => corner.replace('left', 'right'),
};

export class InsetHandle {
  #button = byId('inset', HTMLButtonElement);
  #preview = byId('preview', HTMLVideoElement);
  #onMove;
  #isShown = false;
  /** @type {import('./composer.js').Corner} */ #corner = 'bottom-right';
  /** @type {{width: number, height: number}} */ #camera = { width: 0, height: 0 };
  /** Where the pointer went down. @type {{x: number, y: number}|null} */ #grip = null;

  /** @param {(corner: import('./composer.js').Corner) => void} onMove */
  constructor(onMove) {
    this.#onMove = onMove;
    this.#button.addEventListener('keydown', (event) => {
      const lead = KEYS[event.key];
      if (!lead) return;
      event.preventDefault();
      this.#move(lead(this.#corner));
    });
    this.#button.addEventListener('click', (event) => {
      if (event.detail === 0) this.#next(); // Enter, Space, or a screen reader: no pointer
    });
    this.#button.addEventListener('pointerdown', (event) => this.#take(event));
    this.#button.addEventListener('pointermove', (event) => this.#drag(event));
    this.#button.addEventListener('pointerup', (event) => this.#drop(event));
    this.#button.addEventListener('pointercancel', () => this.#release());
    this.#preview.addEventListener('resize', () => this.#place());
    new ResizeObserver(() => this.#place()).observe(this.#preview);
  }

  /**
   * @param {boolean} isShown
   * @param {import('./composer.js').Corner} corner
   * @param {{width: number, height: number}} camera Size of its picture.
   */
  show(isShown, corner, camera) {
    this.#isShown = isShown;
    this.#corner = corner;
    this.#camera = camera;
    this.#button.hidden = !isShown;
    const label = t('publish-inset', { corner: t(`corner-${corner}`) });
    this.#button.setAttribute('aria-label', label);
    this.#button.title = label;
    this.#place();
  }

  /** Lays the handle over the camera's picture. */
  #place() {
    const picture = this.#picture();
    if (!this.#isShown || !picture) return;
    const box = insetBox(this.#camera.width, this.#camera.height, this.#corner, picture);
    const { style } = this.#button;
    style.left = `${picture.x + box.x}px`;
    style.top = `${picture.y + box.y}px`;
    style.width = `${box.width}px`;
    style.height = `${box.height}px`;
  }

  /** Where the picture is in the preview, which may be wider or higher. */
  #picture() {
    const { clientWidth, clientHeight, videoWidth, videoHeight } = this.#preview;
    if (!videoWidth || !clientWidth) return null;
    const scale = Math.min(clientWidth / videoWidth, clientHeight / videoHeight);
    const width = videoWidth * scale;
    const height = videoHeight * scale;
    return { x: (clientWidth - width) / 2, y: (clientHeight - height) / 2, width, height };
  }

  /** @param {PointerEvent} event */
  #take(event) {
    this.#grip = { x: event.clientX, y: event.clientY };
    this.#button.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  #drag({ clientX, clientY }) {
    if (!this.#grip) return;
    this.#button.style.transform = `translate(${clientX - this.#grip.x}px, ${clientY - this.#grip.y}px)`;
  }

  /** @param {PointerEvent} event */
  #drop({ clientX, clientY }) {
    const { x, y } = this.#grip ?? { x: clientX, y: clientY };
    this.#release();
    if (Math.hypot(clientX - x, clientY - y) < STILL) return this.#next();
    const { left, top, width, height } = this.#preview.getBoundingClientRect();
    const across = clientX < left + width / 2 ? 'left' : 'right';
    const down = clientY < top + height / 2 ? 'top' : 'bottom';
    this.#move(`${down}-${across}`);
  }

  #release() {
    this.#grip = null;
    this.#button.style.transform = '';
  }

  /** To the next corner, clockwise. */
  #next() {
    this.#move(CORNERS[(CORNERS.indexOf(this.#corner) + 1) % CORNERS.length]);
  }

  /** @param {string} name */
  #move(name) {
    const corner = CORNERS.find((each) => each === name);
    if (corner && corner !== this.#corner) this.#onMove(corner);
  }
}
