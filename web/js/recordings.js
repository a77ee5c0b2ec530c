/** The page `/admin/recordings`: what outputs have recorded. */

import { RecordingRow } from './admin-recording.js';
import { byId, fillIcons } from './dom.js';
import { OperatorPage } from './operator-page.js';
import { t, translatePage } from './words.js';

/** How often the newest are asked for, in milliseconds. */
const EVERY = 10_000;

class RecordingsPage extends OperatorPage {
  /** @type {Map<string, RecordingRow>} */ #rows = new Map();
  /** What the older ones come after. @type {string|null} */ #next = null;

  /** @override @param {string} title @param {number} every */
  start(title, every) {
    byId('more', HTMLElement).addEventListener('click', () => void this.attempt(() => this.#showMore()));
    super.start(title, every);
  }

  /** Asks for the newest; older ones stay as they are. @override */
  async refresh() {
    const isFirst = this.#rows.size === 0;
    const { recordings, next } = await this.api.get('recordings');
    if (isFirst) this.#next = next;
    this.showContent();
    const list = byId('rows', HTMLElement);
    const isNew = (/** @type {{id: string}} */ { id }) => !this.#rows.has(id);
    list.prepend(...recordings.filter(isNew).map((/** @type {Recording} */ recording) => this.#row(recording)));
    for (const recording of recordings) this.#rows.get(recording.id)?.show(recording);
    this.#count();
  }

  async #showMore() {
    const { recordings, next } = await this.api.get(`recordings?after=${this.#next}`);
    this.#next = next;
    byId('rows', HTMLElement).append(...recordings.map((/** @type {Recording} */ recording) => this.#row(recording)));
    this.#count();
  }

  /** @typedef {import('./admin-recording.js').Recording} Recording */

  /** @param {Recording} recording */
  #row(recording) {
    const row = new RecordingRow(this.api, recording, () => {
      this.#rows.delete(recording.id);
      this.#count();
    });
    this.#rows.set(recording.id, row);
    return row.element;
  }

  #count() {
    byId('none', HTMLElement).hidden = this.#rows.size > 0;
    byId('more', HTMLElement).hidden = this.#next === null;
  }
}

translatePage();
fillIcons();
new RecordingsPage().start(t('recordings-page-title'), EVERY);
