/** Small helpers to build and find elements. Nothing here writes HTML text or inline styles. */

import { t } from './words.js';

const SVG = 'http://www.w3.org/2000/svg';

/** Outlines on a 24 x 24 grid. */
const PATHS = {
  play: 'M7 4.5v15l12.5-7.5z',
  pause: 'M8 5v14M16 5v14',
  volume: 'M4 9.5v5h3.5L12 19V5L7.5 9.5zM15.5 8.5a5 5 0 0 1 0 7M18 5.5a9 9 0 0 1 0 13',
  muted: 'M4 9.5v5h3.5L12 19V5L7.5 9.5zM16 9.5l5 5M21 9.5l-5 5',
  fullscreen: 'M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5',
  shrink: 'M9 4v5H4M20 9h-5V4M15 20v-5h5M4 15h5v5',
  pip: 'M3 5h18v14H3zM12.5 12h6v4.5h-6z',
  stats: 'M5 20v-7M12 20V4M19 20v-11',
  eye: 'M2 12s3.6-6.5 10-6.5S22 12 22 12s-3.6 6.5-10 6.5S2 12 2 12zM12 9.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6z',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  camera: 'M3 7h12v10H3zM15 11l6-3.5v9L15 13',
  cameraOff: 'M3 7h8M15 11l6-3.5v9L15 13v4H5M3 3l18 18',
  mic: 'M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM5.5 11a6.5 6.5 0 0 0 13 0M12 17.5V21',
  micOff:
    'M9 9v2a3 3 0 0 0 5 2.2M15 11V6a3 3 0 0 0-5.7-1.2M5.5 11a6.5 6.5 0 0 0 10.6 5M18.5 11c0 1-.2 1.9-.6 2.700M12 17.500V21M3 3l18 18',
  screen: 'M3 4h18v12H3zM8 20h8M12 16v4',
  alert: 'M12 3.500l9.5 16.500h-19zM12 10v4.500M12 17.200v.1',
  more: 'M6 12h.1M12 12h.1M18 12h.1',
  stop: 'M6 6h12v12H6z',
  record: 'M12 4.500a7.500 7.500 0 1 0 0 15 7.500 7.500 0 0 0 0-15zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z',
  both: 'M3 4h18v13H3zM13 10.500h5v3.500h-5zM8 20.500h8',
  lock: 'M6 11h12v9H6zM8.500 11V7.500a3.500 3.500 0 0 1 7 0V11',
  quality: 'M4 7h9M17 7h3M4 12h3M11 12h9M4 17h9M17 17h3M13 5v4M7 10v4M13 15v4',
  theatre: 'M3 6h18v12H3z',
  shot: 'M4 8h3.500l1.500-2.500h6L16.500 8H20v11H4zM12 10a3.200 3.200 0 1 0 0 6.400 3.200 3.200 0 0 0 0-6.400z',
  keys: 'M3 7h18v10H3zM7 11h.1M11 11h.1M15 11h.1M8 14h8',
  share: 'M12 15V4M8 7.500L12 3.500l4 4M6 11H5v9h14v-9h-1',
  grid: 'M4 5h7v6H4zM13 5h7v6h-7zM4 13h7v6H4zM13 13h7v6h-7z',
  signal:
    'M12 13.500a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3zM8.2 15.800a5.4 5.4 0 0 1 0-7.600M15.8 8.200a5.4 5.4 0 0 1 0 7.600M5.3 18.700a9.5 9.5 0 0 1 0-13.400M18.7 5.300a9.5 9.5 0 0 1 0 13.4',
};

/** @typedef {keyof typeof PATHS} Icon */

/**
 * @param {Icon} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  for (const [key, value] of Object.entries({
    'viewBox': '0 0 24 24',
    'width': '24',
    'height': '24',
    'fill': 'none',
    'stroke': 'currentColor',
    'stroke-width': '1.8',
    'stroke-linecap': 'round',
    'stroke-linejoin': 'round',
    'aria-hidden': 'true',
    'class': 'icon',
  }))
    svg.setAttribute(key, value);
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}

/** Puts icons into every `<span data-icon="name">` of a page. */
export function fillIcons() {
  for (const place of document.querySelectorAll('[data-icon]')) {
    place.replaceChildren(icon(/** @type {Icon} */ (/** @type {HTMLElement} */ (place).dataset.icon)));
  }
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string|boolean|EventListener>} [attributes] Functions are event listeners;
 *   true is an empty attribute, false none.
 * @param {...(Node|string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, '');
    else if (value !== false) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/**
 * The element that a page must have.
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function byId(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new TypeError(`the page has no ${type.name} #${id}`);
  return element;
}

/**
 * Writes text only when it differs, so that screen readers do not announce it again.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * @param {number} ms
 * @returns {string} `1:02:03` or `2:03`
 */
export function durationText(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  if (parts[0] === 0) parts.shift();
  return parts.map((part, index) => (index === 0 ? String(part) : String(part).padStart(2, '0'))).join(':');
}

/**
 * Makes every `<button data-copy="#id">` copy the text or value of that element, and say so in its
 * `[data-label]`.
 */
export function enableCopyButtons() {
  document.addEventListener('click', (event) => {
    const button = event.target instanceof Element ? event.target.closest('button[data-copy]') : null;
    if (button instanceof HTMLButtonElement) void copyFrom(button);
  });
}

/** @param {HTMLButtonElement} button */
async function copyFrom(button) {
  const source = document.querySelector(button.dataset.copy ?? '');
  if (!source) return;
  const done = await copyText(source);
  const label = button.querySelector('[data-label]') ?? button;
  button.dataset.was ??= label.textContent ?? '';
  label.textContent = t(done ? 'copied' : 'copy-by-hand');
  button.classList.toggle('copied', done);
  const mark = button.querySelector('[data-icon]');
  if (done) mark?.replaceChildren(icon('check'));
  setTimeout(() => {
    label.textContent = button.dataset.was ?? '';
    button.classList.remove('copied');
    mark?.replaceChildren(icon('copy'));
  }, 1_800);
}

/**
 * @param {Element} source
 * @returns {Promise<boolean>} False if the user has to copy the text that is now selected.
 */
async function copyText(source) {
  const text =
    source instanceof HTMLInputElement || source instanceof HTMLTextAreaElement
      ? source.value
      : (source.textContent ?? '');
  try {
    await navigator.clipboard.writeText(text); // missing in insecure contexts
    return true;
  } catch {
    getSelection()?.selectAllChildren(source);
    if (source instanceof HTMLInputElement || source instanceof HTMLTextAreaElement) source.select();
    return document.execCommand('copy');
  }
}

/**
 * @param {HTMLButtonElement} button
 * @param {boolean} pressed
 * @param {Icon} name
 */
export function press(button, pressed, name) {
  button.setAttribute('aria-pressed', String(pressed)); // the label stays; pressed says the rest
  button.querySelector('[data-icon]')?.replaceChildren(icon(name));
}
