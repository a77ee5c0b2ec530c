/** What this browser remembers for us, as far as it lets us. */

/**
 * @param {string} key
 * @returns {string|null}
 */
export function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // storage is blocked in some embeddings
  }
}

/**
 * @param {string} key
 * @param {string} value
 */
export function store(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // see read
  }
}
