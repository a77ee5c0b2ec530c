/** What the operator's pages have in common: a token, looking again and again, and telling what is wrong. */

import { AdminApi } from './admin-api.js';
import { byId, setText } from './dom.js';
import { SessionError } from './errors.js';
import { TokenForm, keepToken, pageToken } from './token.js';
import { t } from './words.js';

/** A page asks the server only while it can be seen, has a token if one is needed, and has got the last answer. */
export class OperatorPage {
  api = new AdminApi(pageToken('admin'));
  #tokenForm = new TokenForm('admin', (token) => {
    this.api.token = token;
    void this.look();
  });
  #isLooking = false;

  /**
   * @param {string} title
   * @param {number} every How often it looks, in milliseconds.
   */
  start(title, every) {
    document.title = title;
    byId('token-place', HTMLElement).append(this.#tokenForm.element);
    document.addEventListener('visibilitychange', () => void this.look());
    setInterval(() => void this.look(), every);
    void this.look();
  }

  async look() {
    if (document.hidden || this.#isLooking || !this.#tokenForm.element.hidden) return;
    this.#isLooking = true;
    try {
      await this.attempt(() => this.refresh());
    } finally {
      this.#isLooking = false;
    }
  }

  /** Asks for what the page shows, and shows it. Each page has its own. */
  async refresh() {}

  /** The server has answered. */
  showContent() {
    byId('content', HTMLElement).hidden = false;
    setText(byId('status', HTMLElement), '');
  }

  /**
   * Does something, and tells why if it fails.
   * @param {() => Promise<void>} work
   */
  async attempt(work) {
    try {
      await work();
    } catch (error) {
      this.#tell(SessionError.from(error));
    }
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
