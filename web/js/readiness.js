/** Whether asking for a broadcast makes sense: asking for one that is not there would only fail. */

import { at } from './site.js';

/** How long the first news from the server is waited for, in milliseconds. */
const PATIENCE = 1_500;

/** Whether viewers may need a token here, once it has been asked. @type {Promise<boolean>|null} */
let needsToken = null;

/**
 * @param {import('./broadcasts.js').BroadcastFeed} feed
 * @param {string} name
 */
export async function mayBeThere(feed, name) {
  if (!feed.broadcasts && feed.connected !== false) await news(feed);
  if (!feed.broadcasts || !feed.connected) return true;
  const broadcast = feed.find(name);
  if (broadcast) return broadcast.on_demand || ['live', 'slate'].includes(broadcast.state);
  // It may be hidden from viewers without the right token, who need an explanation.
  needsToken ??= asksForTokens();
  return needsToken;
}

/**
 * @param {EventTarget} feed
 * @returns {Promise<void>}
 */
function news(feed) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, PATIENCE);
    const done = () => (clearTimeout(timer), resolve());
    for (const event of ['broadcasts', 'connection', 'refused']) feed.addEventListener(event, done, { once: true });
  });
}

async function asksForTokens() {
  try {
    return Boolean((await (await fetch(at('api/server'))).json()).needs_token?.watch);
  } catch {
    return true;
  }
}
