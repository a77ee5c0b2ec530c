/** The list of broadcasts, kept current. Pure. */

/** @typedef {import('./broadcasts.js').Broadcast} Broadcast */

/**
 * The list after a `changes` event.
 * @param {Broadcast[]} broadcasts
 * @param {{changed: Broadcast[], removed: string[]}} changes
 * @returns {Broadcast[]} By name.
 */
export function withChanges(broadcasts, { changed, removed }) {
  const gone = new Set([...removed, ...changed.map(({ name }) => name)]);
  const rest = broadcasts.filter(({ name }) => !gone.has(name));
  return [...rest, ...changed].sort((a, b) => (a.name < b.name ? -1 : 1));
}
