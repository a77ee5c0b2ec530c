/** Where this server is, whatever path a proxy has put before it. */

/** The address of the list of broadcasts: `https://example.org/`, or `https://example.org/live/`. */
export const ROOT = new URL(import.meta.url.replace(/(v\/[^/]+\/)?js\/[^/]*$/, ''));

/**
 * An address on this server.
 * @param {string} path Relative to the list of broadcasts: `watch/demo`.
 */
export const at = (path) => new URL(path, ROOT).href;
