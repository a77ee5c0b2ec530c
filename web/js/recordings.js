/** The page `/admin/recordings`: what outputs have recorded. */

import { AdminApi } from './admin-api.js';
import { RecordingRow } from './admin-recording.js';
import { byId, fillIcons, setText } from './dom.js';
import { SessionError } from './errors.js';
import { TokenForm, keepToken, pageToken } from './token.js';
import { t, translatePage } from './words.js';

/** How often the newest are asked for, in milliseconds. */
const EVERY = 10_000;

class RecordingsPage {
  #api = new AdminApi(pageToken('admin'));
  #tokenForm = new TokenForm('admin', (token) => {
    this.#api.token = token;
    void this.#look();
  });
  /** @type {Map<string, RecordingRow>} */ #rows = new Map();
  /** What the older ones come after. @type {string|null} */ #next = null;
  #isLooking = false;

  start() {
    document.title = t('recordings-page-title');
    byId('token-place', HTMLElement).append(this.#tokenForm.element);
    document.addEventListener('visibilitychange', () => void this.#look());
    byId('more', HTMLElement).addEventListener('click', () => void this.#showMore());
    setInterval(() => void this.#look(), EVERY);
    void this.#look();
  }

  /** Asks for the newest; older ones stay as they are. */
  async #look() {
    if (document.hidden || this.#isLooking || !this.#tokenForm.element.hidden) return;
    this.#isLooking = true;
    try {
      const isFirst = this.#rows.size === 0;
      const { recordings, next } = await this.#api.get('recordings');
      if (isFirst) this.#next = next;
      byId('content', HTMLElement).hidden = false;
      setText(byId('status', HTMLElement), '');
      const list = byId('rows', HTMLElement);
      const isNew = (/** @type {{id: string}} */ { id }) => !this.#rows.has(id);
      list.prepend(...recordings.filter(isNew).map((/** @type {Recording} */ recording) => this.#row(recording)));
      for (const recording of recordings) this.#rows.get(recording.id)?.show(recording);
      this.#count();
    } catch (error) {
      this.#tell(SessionError.from(error));
    } finally {
      this.#isLooking = false;
    }
  }

  async #showMore() {
    try {
      const { recordings, next } = await this.#api.get(`recordings?after=${this.#next}`);
      this.#next = next;
      byId('rows', HTMLElement).append(...recordings.map((/** @type {Recording} */ recording) => this.#row(recording)));
      this.#count();
    } catch (error) {
      this.#tell(SessionError.from(error));
    }
  }

  /** @typedef {import('./admin-recording.js').Recording} Recording */

  /** @param {Recording} recording */
  #row(recording) {
    const row = new RecordingRow(this.#api, recording, () => {
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

  /** @param {SessionError} error */
  #tell(error) {
    if (error.kind === 'unauthorized' || error.kind === 'forbidden') {
      byId('content', HTMLElement).hidden = true;
      setText(byId('status', HTMLElement), '');
      keepToken('admin', '');
      this.#tokenForm.ask(t('admin-token', { words: error.words }), error.kind);
      return;
    }
    setText(byId('status', HTMLElement), error.words);
  }
}

translatePage();
fillIcons();
new RecordingsPage().start();
