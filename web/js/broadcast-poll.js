/** A broadcast's state, asked for now and then: it keeps no connection open, of which a browser allows few. */

/** Pause between two questions, in milliseconds. */
const INTERVAL = 10_000;

/**
 * Like EventSource: dispatches `broadcast` when the state has changed, and `error` when it cannot be had. Does not try
 * again after that.
 */
export class BroadcastPoll extends EventTarget {
  #abort = new AbortController();
  /** True if the server refused the token. */ refused = false;

  /**
   * @param {string|URL} url
   * @param {string} token Empty without one.
   */
  constructor(url, token) {
    super();
    void this.#ask(url, token);
  }

  close() {
    this.#abort.abort();
  }

  /** @param {string|URL} url @param {string} token */
  async #ask(url, token) {
    const { signal } = this.#abort;
    let last = '';
    try {
      while (!signal.aborted) {
        const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
        const response = await fetch(url, { headers, cache: 'no-store', signal });
        this.refused = response.status === 401 && token !== '';
        if (this.refused || response.status >= 500) break;
        const text = response.ok ? await response.text() : 'null';
        if (text !== last) this.dispatchEvent(new MessageEvent('broadcast', { data: text }));
        last = text;
        await this.#pause();
      }
    } catch {
      // the server cannot be reached
    }
    if (!signal.aborted) this.dispatchEvent(new Event('error'));
  }

  /** @returns {Promise<void>} */
  #pause() {
    const { signal } = this.#abort;
    return new Promise((resolve) => {
      // Embedded players that have started together do not ask together.
      const timer = setTimeout(resolve, INTERVAL * (0.75 + Math.random() / 2));
      signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
    });
  }
}
