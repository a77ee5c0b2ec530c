/** The menu of qualities of `<aerial-player>`: the layers of a simulcast publisher, and the server's renditions. */

import { h, icon } from './dom.js';
import { t } from './words.js';

/** Rungs as their names tell: `720p`. */
const HEIGHT = /^(\d+)p?$/;

/**
 * What can be asked for.
 * @typedef {{rendition: string, layer: string, label: string}} Quality
 */

/** What the server decides by itself. @type {Quality} */
export const AUTO = { rendition: '', layer: '', label: '' };

/**
 * @param {import('./broadcasts.js').Broadcast|null} broadcast
 * @returns {Quality[]} Empty if there is nothing to choose.
 */
export function qualities(broadcast) {
  const layers = broadcast?.tracks.flatMap((track) => track.layers ?? []) ?? [];
  const made = (broadcast?.renditions ?? []).filter(({ kind, misfit }) => kind === 'video' && !misfit);
  const renditions = made.map(({ name }) => ({ rendition: name, layer: '', label: name }));
  renditions.sort((a, b) => height(b.label) - height(a.label));
  if (renditions.length > 0) renditions.unshift({ rendition: 'source', layer: '', label: t('player-original') });
  const choices = [...renditions, ...layers.map((layer) => ({ rendition: '', layer, label: layer }))];
  return choices.length > 0 ? [{ ...AUTO, label: t('player-auto') }, ...choices] : [];
}

/**
 * What needs least of the line: the lowest rendition. Names of layers do not tell which is the smallest.
 * @param {import('./broadcasts.js').Broadcast|null} broadcast
 * @returns {Quality|undefined} Undefined if no size is known.
 */
export function smallest(broadcast) {
  return qualities(broadcast)
    .filter(({ layer, label }) => !layer && height(label) > 0)
    .at(-1);
}

/** @param {string} label */
const height = (label) => Number(HEIGHT.exec(label)?.[1] ?? 0);

export class QualityMenu {
  /** The button of the bar, hidden while there is nothing to choose. */
  button = h(
    'button',
    {
      'type': 'button',
      'aria-label': t('player-quality'),
      'title': t('player-quality'),
      'aria-expanded': 'false',
      'hidden': true,
      'click': () => this.toggle(),
    },
    icon('quality'),
  );
  /** The menu. */
  element = h('div', {
    'class': 'menu',
    'part': 'menu',
    'role': 'radiogroup',
    'aria-label': t('player-quality'),
    'hidden': true,
  });

  /** @type {Quality[]} */ #qualities = [];
  /** @type {Quality} */ #chosen = AUTO;
  #choose;
  #video;

  /**
   * @param {HTMLVideoElement} video
   * @param {(quality: Quality) => void} choose
   */
  constructor(video, choose) {
    this.#video = video;
    this.#choose = choose;
    this.element.addEventListener('keydown', (event) => this.#onKey(/** @type {KeyboardEvent} */ (event)));
    video.addEventListener('resize', () => this.#show());
  }

  /** What there is to choose from. */
  get qualities() {
    return this.#qualities;
  }

  /** What has been chosen. */
  get chosen() {
    return this.#qualities.find((quality) => this.#isChosen(quality)) ?? this.#chosen;
  }

  /**
   * @param {import('./broadcasts.js').Broadcast|null} broadcast
   * @returns {boolean} Whether there is something else to choose from than before.
   */
  offer(broadcast) {
    const before = JSON.stringify(this.#qualities);
    this.#qualities = qualities(broadcast);
    if (JSON.stringify(this.#qualities) === before) return false;
    this.button.hidden = this.#qualities.length === 0;
    if (this.button.hidden) this.#close();
    this.#show();
    return true;
  }

  /** Back to what the server chooses. */
  reset() {
    this.#chosen = AUTO;
    this.#show();
  }

  toggle() {
    if (!this.element.hidden) return this.#close();
    this.element.hidden = false;
    this.button.setAttribute('aria-expanded', 'true');
    this.#show();
    /** @type {HTMLElement|null} */ (this.element.querySelector('[aria-checked=true]'))?.focus();
  }

  #close() {
    this.element.hidden = true;
    this.button.setAttribute('aria-expanded', 'false');
  }

  #show() {
    const focused = this.element.contains(/** @type {any} */ (this.element.getRootNode()).activeElement);
    const rows = this.#qualities.map((quality) => {
      const chosen = this.#isChosen(quality);
      const isAuto = !quality.rendition && !quality.layer;
      const { videoHeight } = this.#video;
      const label = isAuto && videoHeight > 0 ? t('player-auto-now', { height: String(videoHeight) }) : quality.label;
      return h(
        'button',
        {
          'type': 'button',
          'role': 'radio',
          'aria-checked': String(chosen),
          'tabindex': chosen ? '0' : '-1',
          'click': () => {
            this.take(quality);
            this.button.focus();
          },
        },
        label,
      );
    });
    this.element.replaceChildren(...rows);
    if (focused) rows.find((row) => row.tabIndex === 0)?.focus();
  }

  /** @param {Quality} quality */
  take(quality) {
    this.#chosen = quality;
    this.#close();
    this.#show();
    this.#choose(quality);
  }

  /** @param {Quality} quality */
  #isChosen({ rendition, layer }) {
    return rendition === this.#chosen.rendition && layer === this.#chosen.layer;
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const rows = /** @type {HTMLElement[]} */ ([...this.element.children]);
    const at = rows.findIndex((row) => row === event.composedPath()[0]);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) rows[(at + step + rows.length) % rows.length]?.focus();
    else if (event.key === 'Escape') {
      this.#close();
      this.button.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
