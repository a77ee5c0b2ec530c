/** The sessions of a broadcast: their clients and renditions; viewers are moved and sessions ended here. */

import { Rate } from './admin-api.js';
import { durationText, h, setText } from './dom.js';
import { bitrateText } from './stats.js';
import { t } from './words.js';

/** Sessions that are listed. */
const LISTED_MAX = 200;
/** What a viewer is moved to for the untouched picture. */
const ORIGINAL = 'source';

/**
 * @typedef {object} Session As `/api/broadcasts/NAME/sessions` has it.
 * @property {number} id
 * @property {'viewer'|'publisher'} role
 * @property {string|null} started
 * @property {boolean} connected
 * @property {string} [client]
 * @property {string} [user_agent]
 * @property {string} [token]
 * @property {{kind: string, codec: string, rendition?: string|null}[]} [tracks]
 * @property {number} [bytes]
 * @property {number} [packets]
 * @property {number} [lost]
 * @property {number} [loss]
 * @property {number|null} [round_trip_ms]
 */

/** @typedef {{who: HTMLElement, what: HTMLElement, element: HTMLLIElement, select: HTMLSelectElement, rate: Rate}} Row */

export class SessionList {
  element = h('ul', { class: 'sessions' });
  #none = h('p', { class: 'muted' }, t('admin-no-sessions'));
  #more = h('p', { class: 'hint', hidden: true });
  #api;
  #path;
  #onError;
  /** @type {Map<number, Row>} */ #rows = new Map();
  /** @type {string[]} */ #renditions = [];

  /**
   * @param {import('./admin-api.js').AdminApi} api
   * @param {string} path Of the broadcast.
   * @param {(error: unknown) => void} onError
   */
  constructor(api, path, onError) {
    this.#api = api;
    this.#path = path;
    this.#onError = onError;
  }

  get elements() {
    return [this.#none, this.element, this.#more];
  }

  /**
   * @param {Session[]} sessions
   * @param {string[]} renditions What viewers may be moved to.
   */
  show(sessions, renditions) {
    const listed = sessions.slice(0, LISTED_MAX);
    const isChanged = renditions.join() !== this.#renditions.join();
    this.#renditions = renditions;
    for (const [id, { element }] of this.#rows) {
      if (listed.some((session) => session.id === id)) continue;
      element.remove();
      this.#rows.delete(id);
    }
    for (const session of listed) {
      const row = this.#rows.get(session.id) ?? this.#add(session);
      if (isChanged) this.#offer(row);
      describe(row, session);
    }
    this.#none.hidden = sessions.length > 0;
    this.#more.hidden = sessions.length <= LISTED_MAX;
    setText(this.#more, t('admin-more-sessions', { count: sessions.length - LISTED_MAX }));
  }

  /** @param {Session} session @returns {Row} */
  #add({ id, role, client, user_agent: agent = '' }) {
    const who = h('strong');
    const what = h('span', { class: 'muted' });
    const shown = client ?? String(id);
    const select = h('select', { 'aria-label': t('admin-move', { client: shown }) });
    select.hidden = role !== 'viewer';
    select.addEventListener('change', () => void this.#move(id, select));
    const kick = h(
      'button',
      { 'class': 'button small', 'type': 'button', 'aria-label': t('admin-kick-one', { client: shown }) },
      t('admin-kick'),
    );
    kick.addEventListener('click', () => void this.#kick(id, kick));
    const words = h('div', {}, who, h('span', { class: 'hint agent', title: agent }, agent), what);
    const element = h('li', {}, words, h('div', { class: 'acts' }, select, kick));
    this.element.append(element);
    const row = { who, what, element, select, rate: new Rate() };
    this.#rows.set(id, row);
    this.#offer(row);
    return row;
  }

  /** @param {Row} row */
  #offer({ select }) {
    const options = this.#renditions.map((name) =>
      h('option', { value: name }, name === ORIGINAL ? t('player-original') : name),
    );
    const { value } = select;
    select.replaceChildren(h('option', { value: '' }, t('player-auto')), ...options);
    // A rendition may have come because somebody was moved to it.
    select.value = this.#renditions.includes(value) ? value : '';
    select.disabled = this.#renditions.length === 0;
  }

  /** @param {number} id @param {HTMLSelectElement} select */
  async #move(id, select) {
    try {
      await this.#api.send('PATCH', `${this.#path}/sessions/${id}`, { rendition: select.value || null });
    } catch (error) {
      this.#onError(error);
    }
  }

  /** @param {number} id @param {HTMLButtonElement} button */
  async #kick(id, button) {
    button.disabled = true;
    try {
      await this.#api.send('DELETE', `${this.#path}/sessions/${id}`);
      this.#rows.get(id)?.element.remove();
      this.#rows.delete(id);
    } catch (error) {
      button.disabled = false;
      this.#onError(error);
    }
  }
}

/** @param {Row} row @param {Session} session */
function describe({ who, what, rate }, session) {
  const { role, client, token, started, connected, tracks, bytes } = session;
  const name = t(`admin-${role}`);
  setText(who, [name, client ?? session.id, token ?? ''].filter(Boolean).join(' · '));
  const received = (tracks ?? []).map(({ codec, rendition }) => (rendition ? `${codec} (${rendition})` : codec));
  const loss = session.loss ?? share(session.lost, session.packets);
  const parts = [
    started ? durationText(Date.now() - Date.parse(started)) : '',
    connected ? '' : t('player-connecting'),
    received.join(', '),
    bytes === undefined ? '' : bitrateText(rate.of(bytes)),
    loss === undefined ? '' : t('admin-loss', { share: `${(loss * 100).toFixed(1)} %` }),
    session.round_trip_ms ? `${session.round_trip_ms} ms` : '',
  ];
  setText(what, parts.filter(Boolean).join(' · '));
}

/** @param {number} [lost] @param {number} [packets] */
const share = (lost, packets) => (lost === undefined || !packets ? undefined : lost / (lost + packets));
