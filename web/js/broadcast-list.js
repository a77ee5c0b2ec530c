/** The list of broadcasts, kept current. Pure. */

/** @typedef {import('./broadcasts.js').Broadcast} Broadcast */
/** @typedef {(typeof KINDS)[number]} Kind */

/** The events that say which broadcasts there are: all of them, what has changed, or the one that was asked for. */
export const KINDS = /** @type {const} */ (['broadcasts', 'changes', 'broadcast']);

/**
 * The list after an event.
 * @param {Broadcast[]|null} before Null before the first event.
 * @param {Kind} kind
 * @param {any} data
 * @returns {Broadcast[]}
 */
export function afterEvent(before, kind, data) {
  if (kind === 'broadcasts') return data.broadcasts;
  if (kind === 'changes') return withChanges(before ?? [], data);
  return data ? [data] : [];
}

/**
 * The list after a `changes` event.
 * @param {Broadcast[]} broadcasts
 * @param {{changed: Broadcast[], removed: string[]}} changes
 * @returns {Broadcast[]} By name.
 */
function withChanges(broadcasts, { changed, removed }) {
  const gone = new Set([...removed, ...changed.map(({ name }) => name)]);
  const rest = broadcasts.filter(({ name }) => !gone.has(name));
  return [...rest, ...changed].sort((a, b) => (a.name < b.name ? -1 : 1));
}
