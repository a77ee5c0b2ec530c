/** A broadcast in the operator's list: its figures, and below them its sessions, renditions and pipelines. */

import { Rate } from './admin-api.js';
import { PipelinePanel, capsText } from './admin-pipelines.js';
import { SessionList } from './admin-sessions.js';
import { SessionError } from './errors.js';
import { durationText, h, setText } from './dom.js';
import { bitrateText } from './stats.js';
import { t } from './words.js';

/** @typedef {import('./broadcasts.js').Broadcast & {outputs?: {name: string, state: string}[]}} Broadcast */
/** @typedef {import('./admin-sessions.js').Session} Session */
/** @typedef {import('./admin-pipelines.js').Pipeline} Pipeline */

export class BroadcastRow {
  #api;
  #path;
  #badge = h('span', { class: 'badge' });
  #facts = h('span', { class: 'facts muted' });
  #notice = h('p', { class: 'hint', role: 'alert', hidden: true });
  #renditions = h('ul', { class: 'muted flows' });
  #noRenditions = h('p', { class: 'muted' }, t('admin-none'));
  #pipelines = h('ul', { class: 'pipelines' });
  #noPipelines = h('p', { class: 'muted' }, t('admin-none'));
  #sessions;
  /** @type {Map<string, PipelinePanel>} */ #panels = new Map();
  #rate = new Rate();
  /** @type {Broadcast|null} */ #broadcast = null;
  /** @type {HTMLDetailsElement} */ #details;
  element;

  /**
   * @param {import('./admin-api.js').AdminApi} api
   * @param {string} name
   */
  constructor(api, name) {
    this.#api = api;
    this.#path = `broadcasts/${encodeURIComponent(name)}`;
    this.#sessions = new SessionList(api, this.#path, (error) => this.#tell(error));
    this.#details = h(
      'details',
      { class: 'panel', toggle: () => void this.refresh() },
      h('summary', {}, h('strong', {}, name), this.#badge, this.#facts),
      this.#notice,
      h('h3', {}, t('admin-sessions')),
      ...this.#sessions.elements,
      h('h3', {}, t('admin-renditions-title')),
      this.#noRenditions,
      this.#renditions,
      h('h3', {}, t('admin-pipelines')),
      this.#noPipelines,
      this.#pipelines,
    );
    this.element = h('li', {}, this.#details);
  }

  /** @param {Broadcast} broadcast */
  show(broadcast) {
    this.#broadcast = broadcast;
    const { state } = broadcast;
    setText(this.#badge, t(`state-${state}`));
    this.#badge.classList.toggle('live', state === 'live');
    const renditions = broadcast.renditions ?? [];
    this.#noRenditions.hidden = renditions.length > 0;
    this.#renditions.replaceChildren(
      ...renditions.map(({ name, codec, viewers }) => {
        const words = [name, codec ?? '', t('viewers', { count: viewers })];
        return h('li', {}, words.filter(Boolean).join(' · '));
      }),
    );
    this.#describe([]);
  }

  /** Asks for what the list does not have. @returns {Promise<void>} */
  async refresh() {
    try {
      // A closed row shows what arrives, not who watches.
      const only = this.#details.open ? '' : '?role=publisher';
      const [{ sessions }, { pipelines }] = await Promise.all([
        this.#api.get(`${this.#path}/sessions${only}`),
        this.#api.get(`${this.#path}/pipelines`),
      ]);
      this.#describe(this.#measured(sessions, pipelines));
      if (only || !this.#details.open) return;
      const made = (this.#broadcast?.renditions ?? []).filter(({ kind }) => kind === 'video').map(({ name }) => name);
      this.#sessions.show(sessions, made.length > 0 ? ['source', ...made] : []);
      this.#showPipelines(pipelines);
      this.#notice.hidden = true;
    } catch (error) {
      this.#tell(error);
    }
  }

  get isOpen() {
    return this.#details.open;
  }

  close() {
    for (const panel of this.#panels.values()) panel.close();
    this.element.remove();
  }

  /**
   * What arrives: size and frame rate, bitrate, loss.
   * @param {Session[]} sessions
   * @param {Pipeline[]} pipelines
   */
  #measured(sessions, pipelines) {
    const source = pipelines.find(({ kind }) => kind === 'source');
    const publisher = sessions.find(({ role }) => role === 'publisher');
    const outputs = source?.outputs ?? [];
    const bytes = publisher?.bytes ?? outputs.reduce((sum, output) => sum + output.bytes, 0);
    const caps = outputs.map((output) => output.caps ?? '').find((text) => text.startsWith('video/'));
    const { lost = 0, packets = 0 } = publisher ?? {};
    const loss = lost > 0 ? ((100 * lost) / (lost + packets)).toFixed(1) : '0';
    return [
      capsText(caps ?? '')
        .split(' ')
        .slice(1)
        .join(' '),
      bitrateText(this.#rate.of(bytes)),
      publisher ? t('admin-loss', { share: `${loss} %` }) : '',
    ];
  }

  /** @type {string[]} */ #figures = [];

  /** @param {string[]} measured What was measured just now; empty if nothing was. */
  #describe(measured) {
    if (measured.length > 0) this.#figures = measured;
    const { source, tracks = [], viewers = 0, started, outputs = [] } = this.#broadcast ?? {};
    const layers = tracks.flatMap((track) => track.layers ?? []);
    const words = [
      t(source === 'pipeline' ? 'admin-source' : 'admin-publisher'),
      tracks.map(({ codec }) => codec).join(' + '),
      layers.length > 0 ? t('admin-layers', { count: layers.length }) : '',
      ...this.#figures,
      t('viewers', { count: viewers }),
      outputs.length > 0 ? t('admin-outputs', { count: outputs.length }) : '',
      started ? durationText(Date.now() - Date.parse(started)) : '',
    ];
    setText(this.#facts, words.filter(Boolean).join(' · '));
  }

  /** @param {Pipeline[]} pipelines */
  #showPipelines(pipelines) {
    this.#noPipelines.hidden = pipelines.length > 0;
    for (const [name, panel] of this.#panels) {
      if (pipelines.some((pipeline) => pipeline.name === name)) continue;
      panel.close();
      panel.element.remove();
      this.#panels.delete(name);
    }
    for (const pipeline of pipelines) {
      let panel = this.#panels.get(pipeline.name);
      if (!panel) {
        const path = `${this.#path}/pipelines/${encodeURIComponent(pipeline.name)}`;
        panel = new PipelinePanel(this.#api, path, (error) => this.#tell(error));
        this.#panels.set(pipeline.name, panel);
        this.#pipelines.append(panel.element);
      }
      panel.show(pipeline);
    }
  }

  /** @param {unknown} thrown */
  #tell(thrown) {
    const error = SessionError.from(thrown);
    this.#notice.hidden = false;
    setText(this.#notice, error.words);
  }
}
