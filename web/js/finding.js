/** Search, filter and order of the list of broadcasts. Offered once there are more than one sees at a glance. */

import { isSoundOnly, titleOf } from './broadcasts.js';
import { byId } from './dom.js';
import { read, store } from './storage.js';
import { language } from './words.js';

/** @typedef {import('./broadcasts.js').Broadcast} Broadcast */

/** So few broadcasts are seen at a glance. */
const FEW = 6;
const ORDER_KEY = 'aerial-order';

/** What can be watched first. */
const RANK = { live: 0, demand: 1, stale: 2, slate: 3, waiting: 4 };

/** @param {Broadcast} broadcast @returns {keyof typeof RANK} */
export function stateOf({ state, on_demand: onDemand }) {
  return state === 'waiting' && onDemand ? 'demand' : state;
}

/** @param {Broadcast} a @param {Broadcast} b */
const byName = (a, b) => titleOf(a).localeCompare(titleOf(b), language, { numeric: true });

/** @type {Record<string, (a: Broadcast, b: Broadcast) => number>} */
const ORDERS = {
  viewers: (a, b) => RANK[stateOf(a)] - RANK[stateOf(b)] || b.viewers - a.viewers || byName(a, b),
  newest: (a, b) => started(b) - started(a) || byName(a, b),
  name: byName,
};

/** @param {Broadcast} broadcast */
const started = (broadcast) => Date.parse(broadcast.started ?? '') || 0;

/** @type {Record<string, (broadcast: Broadcast) => boolean>} */
const FILTERS = {
  all: () => true,
  live: ({ state }) => state === 'live',
  picture: (broadcast) => broadcast.tracks.length > 0 && !isSoundOnly(broadcast),
  sound: (broadcast) => isSoundOnly(broadcast),
};

export class Finding {
  #bar = byId('finding', HTMLElement);
  #search = byId('search', HTMLInputElement);
  #filter = byId('filter', HTMLSelectElement);
  #order = byId('order', HTMLSelectElement);

  /** @param {() => void} onChange */
  constructor(onChange) {
    const order = read(ORDER_KEY) ?? '';
    if (order in ORDERS) this.#order.value = order;
    this.#order.addEventListener('change', () => store(ORDER_KEY, this.#order.value));
    for (const field of [this.#search, this.#filter, this.#order]) field.addEventListener('input', onChange);
  }

  /** Whether something may be left out. */
  get isOn() {
    return this.#search.value.trim() !== '' || this.#filter.value !== 'all';
  }

  /**
   * Those that fit, in order.
   * @param {Broadcast[]} broadcasts
   */
  of(broadcasts) {
    this.#bar.hidden = broadcasts.length <= FEW && !this.isOn;
    const fits = FILTERS[this.#filter.value];
    const words = plain(this.#search.value).split(/\s+/);
    const found = broadcasts.filter((broadcast) => {
      const { name, title = '', description = '', tags = [] } = broadcast;
      const text = plain([name, title, description, ...tags].join(' '));
      return fits(broadcast) && words.every((word) => text.includes(word));
    });
    return found.sort(ORDERS[this.#order.value]);
  }
}

/** Text without the characters that people do not type when searching. @param {string} text */
const plain = (text) => text.normalize('NFKD').replace(/\p{M}/gu, '').toLocaleLowerCase(language).trim();
