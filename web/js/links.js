/** Addresses in texts of strangers, as links. */

import { h } from './dom.js';

const ADDRESS = /https?:\/\/[^\s<>"']+/gi;
/** What ends a sentence rather than an address. */
const AFTER = /[.,:;!?)\]}'"]+$/;

/**
 * @param {string} text
 * @returns {(string|HTMLAnchorElement)[]}
 */
export function linked(text) {
  const parts = [];
  let done = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = match[0].replace(AFTER, '');
    if (!URL.canParse(address)) continue;
    const { index } = match;
    parts.push(text.slice(done, index), h('a', { href: address, target: '_blank', rel: 'noopener ugc' }, address));
    done = index + address.length;
  }
  return [...parts, text.slice(done)].filter((part) => part !== '');
}
