/** The page `/admin`: what the server uses, and every broadcast with all that the operator may do. */

import { BroadcastRow } from './admin-broadcast.js';
import { Strip } from './admin-strip.js';
import { byId, fillIcons, setText } from './dom.js';
import { OperatorPage } from './operator-page.js';
import { t, translatePage } from './words.js';

/** How often the broadcasts are asked for, and how often what the server uses, in milliseconds. */
const EVERY = 2_000;
const LOAD_EVERY = 10_000;
/** So many rows show what was measured, even while they are closed. */
const MEASURED_MAX = 12;

class AdminPage extends OperatorPage {
  #strip = new Strip(byId('strip', HTMLElement));
  /** @type {Map<string, BroadcastRow>} */ #rows = new Map();
  /** When the load was last asked for. */ #loadAt = -Infinity;

  /** @override */
  async refresh() {
    await this.#showLoad();
    const { broadcasts } = await this.api.get('broadcasts');
    this.showContent();
    await this.#showBroadcasts(broadcasts);
  }

  async #showLoad() {
    if (performance.now() - this.#loadAt < LOAD_EVERY) return;
    const [load, server] = await Promise.all([this.api.get('server/load'), this.api.get('server')]);
    // A server that has just started has nothing to show yet.
    if (load.readings.length > 0) this.#loadAt = performance.now();
    this.#strip.show(load);
    setText(byId('version', HTMLElement), t('admin-version', { version: server.version }));
  }

  /** @param {import('./admin-broadcast.js').Broadcast[]} broadcasts */
  async #showBroadcasts(broadcasts) {
    const list = byId('rows', HTMLElement);
    byId('none', HTMLElement).hidden = broadcasts.length > 0;
    for (const [name, row] of this.#rows) {
      if (broadcasts.some((broadcast) => broadcast.name === name)) continue;
      row.close();
      this.#rows.delete(name);
    }
    for (const broadcast of broadcasts) {
      const row = this.#rows.get(broadcast.name) ?? new BroadcastRow(this.api, broadcast.name);
      if (!this.#rows.has(broadcast.name)) list.append(row.element);
      this.#rows.set(broadcast.name, row);
      row.show(broadcast);
    }
    const rows = [...this.#rows.values()];
    await Promise.all(rows.filter((row, index) => row.isOpen || index < MEASURED_MAX).map((row) => row.refresh()));
  }
}

translatePage();
fillIcons();
new AdminPage().start(t('admin-page-title'), EVERY);
