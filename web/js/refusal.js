/** The last refusal of a publisher, such as OBS, which shows its user the same box for every reason. */

import { durationText } from './dom.js';
import { at } from './site.js';

/**
 * @param {string} name The broadcast.
 * @param {string} token A token that may publish there; empty if none is needed.
 * @returns {Promise<string|null>} Empty if nobody was refused lately; null without the right token.
 */
export async function lastRefusal(name, token) {
  try {
    const response = await fetch(at(`api/broadcasts/${encodeURIComponent(name)}/refusal`), {
      headers: token ? { authorization: `Bearer ${token}` } : {},
    });
    if (response.status === 401 || response.status === 403) return null;
    if (!response.ok) return '';
    const { time, detail, user_agent } = await response.json();
    if (!time) return '';
    const ago = durationText(Math.max(0, Date.now() - Date.parse(time)));
    return `${user_agent || 'A publisher'} was refused ${ago} ago: ${detail}.`;
  } catch {
    return ''; // shown when the server can be reached again
  }
}
