/** The tags of a broadcast. */

import { h } from './dom.js';

/**
 * @param {HTMLElement} list
 * @param {import('./broadcasts.js').Broadcast|undefined} broadcast
 */
export function showTags(list, broadcast) {
  const tags = broadcast?.tags ?? [];
  list.hidden = tags.length === 0;
  const shown = [...list.children].map(({ textContent }) => textContent);
  if (shown.join('\n') !== tags.join('\n')) list.replaceChildren(...tags.map((tag) => h('li', {}, tag)));
}
