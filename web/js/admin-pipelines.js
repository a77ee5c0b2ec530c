/** The pipelines of a broadcast: state, figures, graph, what can be adjusted, keyframes. */

import { Rate } from './admin-api.js';
import { h, setText } from './dom.js';
import { bitrateText } from './stats.js';
import { has, t } from './words.js';

/** How long an answer to a click is shown, in milliseconds. */
const SAID = 3_000;

/**
 * @typedef {object} Pipeline As `/api/broadcasts/NAME/pipelines` has it.
 * @property {string} name
 * @property {string} file
 * @property {'source'|'renditions'|'output'} kind
 * @property {string} state
 * @property {number} restarts
 * @property {string} [failure]
 * @property {string} [error]
 * @property {{name: string, frames: number, bytes: number, caps: string|null}[]} outputs
 * @property {{cpu_ms: number, memory_bytes: number}} [process]
 */

/** @typedef {{name: string, value: number|string, least: number, most: number, unit: string}} Property */

export class PipelinePanel {
  #api;
  #path;
  #onError;
  #name = h('strong');
  #what = h('span', { class: 'muted' });
  #error = h('p', { class: 'hint', hidden: true });
  #figures = h('ul', { class: 'muted flows' });
  #said = h('span', { class: 'hint', role: 'status' });
  #keyframe = h(
    'button',
    { class: 'button small', type: 'button', click: () => void this.#forceKeyframe() },
    t('admin-keyframe'),
  );
  #fields = h('div', { class: 'properties' });
  #picture = h('img', { alt: '' });
  #graph = h(
    'details',
    { toggle: () => void this.#draw() },
    h('summary', {}, t('admin-graph')),
    h('div', { class: 'graph', tabindex: '0', role: 'group' }, this.#picture),
  );
  element = h(
    'li',
    {},
    h(
      'div',
      { class: 'line' },
      h('div', {}, this.#name, this.#what),
      h('div', { class: 'acts' }, this.#said, this.#keyframe),
    ),
    this.#error,
    this.#figures,
    this.#fields,
    this.#graph,
  );
  /** By output. @type {Map<string, Rate>} */ #rates = new Map();
  #state = '';

  /**
   * @param {import('./admin-api.js').AdminApi} api
   * @param {string} path Of the pipeline.
   * @param {(error: unknown) => void} onError
   */
  constructor(api, path, onError) {
    this.#api = api;
    this.#path = path;
    this.#onError = onError;
  }

  /** @param {Pipeline} pipeline */
  show({ name, kind, state, restarts, failure, error, outputs, process }) {
    setText(this.#name, name);
    const words = [
      t(`admin-${kind}`),
      t(`admin-pipeline-${state}`),
      restarts > 0 ? t('admin-restarts', { count: restarts }) : '',
      process ? `${Math.round(process.memory_bytes / 1e6)} MB` : '',
    ];
    setText(this.#what, words.filter(Boolean).join(' · '));
    this.#error.hidden = !failure && !error;
    const reason = failure && has(`admin-failure-${failure}`) ? t(`admin-failure-${failure}`) : '';
    setText(this.#error, [reason, error].filter(Boolean).join(' '));
    this.#figures.replaceChildren(...outputs.map((output) => h('li', {}, this.#flow(output))));
    const isRunning = state === 'running';
    this.#keyframe.hidden = !isRunning;
    this.#graph.hidden = !isRunning;
    if (state !== this.#state && isRunning) void this.#offer();
    if (!isRunning) this.#fields.replaceChildren();
    this.#state = state;
  }

  /** @param {Pipeline['outputs'][number]} output */
  #flow({ name, bytes, caps }) {
    const rate = this.#rates.get(name) ?? new Rate();
    this.#rates.set(name, rate);
    return [name, capsText(caps ?? ''), bitrateText(rate.of(bytes))].filter(Boolean).join(' · ');
  }

  async #forceKeyframe() {
    try {
      await this.#api.send('POST', `${this.#path}/force-keyframe`);
      this.#say(t('admin-keyframe-done'));
    } catch (error) {
      this.#onError(error);
    }
  }

  /** @param {string} words */
  #say(words) {
    setText(this.#said, words);
    setTimeout(() => setText(this.#said, ''), SAID);
  }

  async #draw() {
    if (!this.#graph.open) return;
    try {
      const previous = this.#picture.src;
      this.#picture.src = URL.createObjectURL(await this.#api.blob(`${this.#path}/graph.svg`));
      this.#picture.alt = t('admin-graph-of', { name: this.#name.textContent ?? '' });
      this.#graph.lastElementChild?.setAttribute('aria-label', this.#picture.alt);
      if (previous) URL.revokeObjectURL(previous);
    } catch (error) {
      this.#onError(error);
    }
  }

  /** Shows what the pipeline's file declares adjustable. */
  async #offer() {
    try {
      /** @type {{properties: Property[]}} */
      const { properties } = await this.#api.get(`${this.#path}/properties`);
      this.#fields.replaceChildren(...properties.map((property) => this.#field(property)));
    } catch (error) {
      this.#onError(error);
    }
  }

  /** @param {Property} property */
  #field({ name, value, least, most, unit }) {
    const isNumber = typeof value === 'number';
    const shown = h('output', {}, isNumber ? `${value} ${unit}` : '');
    const input = isNumber
      ? h('input', {
          type: 'range',
          min: String(least),
          max: String(most),
          step: isWhole(value, least, most) ? '1' : 'any',
        })
      : h('input', { type: 'text', maxlength: String(most) });
    input.value = String(value);
    input.addEventListener('input', () => {
      if (isNumber) setText(shown, `${input.value} ${unit}`);
    });
    input.addEventListener('change', async () => {
      try {
        const change = { [name]: isNumber ? input.valueAsNumber : input.value };
        await this.#api.send('PATCH', `${this.#path}/properties`, change);
        this.#say(t('admin-set'));
      } catch (error) {
        this.#onError(error);
        void this.#offer();
      }
    });
    return h('label', {}, h('span', {}, name), shown, input);
  }

  close() {
    if (this.#picture.src) URL.revokeObjectURL(this.#picture.src);
  }
}

/** @param {number[]} values */
const isWhole = (...values) => values.every(Number.isInteger);

/**
 * What GStreamer's caps say, in short: `h264 1280 × 720 30 fps`.
 * @param {string} caps
 */
export function capsText(caps) {
  const type = /^(?:video|audio)\/(?:x-)?([a-z0-9-]+)/.exec(caps)?.[1] ?? '';
  const [width, height] = ['width', 'height'].map((name) => new RegExp(`\\b${name}=\\(int\\)(\\d+)`).exec(caps)?.[1]);
  const [, frames, seconds] = /\bframerate=\(fraction\)(\d+)\/(\d+)/.exec(caps) ?? [];
  const rate = Number(frames) > 0 ? Math.round((Number(frames) / Number(seconds)) * 100) / 100 : 0;
  return [type, width && height ? `${width} × ${height}` : '', rate ? `${rate} fps` : ''].filter(Boolean).join(' ');
}
