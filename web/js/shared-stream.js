/** The event stream that all pages of a browser share. */

/** Like EventSource: dispatches `broadcasts` with what this page wants, and `error` when there is no stream any more. */
export class SharedStream extends EventTarget {
  /** True if the server refused the token. */ refused = false;
  /** True if the worker does not start, which it never will. */ broken = false;
  #port;

  /** True if this browser supports it; some phones do not. */
  static get isAvailable() {
    return typeof SharedWorker === 'function';
  }

  /**
   * @param {string} name A broadcast's, empty for all.
   * @param {string} token
   */
  constructor(name, token) {
    super();
    const worker = new SharedWorker(new URL('./feed-worker.js', import.meta.url), { type: 'module' });
    worker.addEventListener('error', () => {
      this.broken = true;
      this.dispatchEvent(new Event('error'));
    });
    this.#port = worker.port;
    this.#port.addEventListener('message', ({ data }) => {
      this.refused = data.refused ?? false;
      if (data.error) this.dispatchEvent(new Event('error'));
      else this.dispatchEvent(new MessageEvent('broadcasts', { data }));
    });
    this.#port.start();
    this.#port.postMessage({ token, name });
  }

  close() {
    this.#port.postMessage({ token: null });
    this.#port.close();
  }
}
