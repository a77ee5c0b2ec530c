/** Server-sent events as far as an EventSource cannot read them: with a token, or in a worker. */

/** Longest event, in characters; a stream that sends more is not an event stream. */
const EVENT_MAX = 4_000_000;

/**
 * Like EventSource: dispatches the events by their names, and `error` when the stream ends. Does not reconnect.
 */
export class EventStream extends EventTarget {
  #abort = new AbortController();
  /** True if the server refused the token. */ refused = false;

  /**
   * @param {string|URL} url
   * @param {string} token Empty without one.
   */
  constructor(url, token) {
    super();
    void this.#read(url, token);
  }

  close() {
    this.#abort.abort();
  }

  /** @param {string|URL} url @param {string} token */
  async #read(url, token) {
    const { signal } = this.#abort;
    try {
      const headers = { Accept: 'text/event-stream', ...(token && { Authorization: `Bearer ${token}` }) };
      const response = await fetch(url, { headers, cache: 'no-store', signal });
      this.refused = response.status === 401;
      if (response.ok && response.body) await this.#follow(response.body);
    } catch {
      // the same as the end of the stream
    }
    if (!signal.aborted) this.dispatchEvent(new Event('error'));
  }

  /** @param {ReadableStream<Uint8Array>} body */
  async #follow(body) {
    const decoder = new TextDecoder();
    const reader = body.getReader();
    let text = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done || text.length > EVENT_MAX) return;
      const events = (text + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/);
      text = events.pop() ?? '';
      for (const event of events) this.#dispatch(event);
    }
  }

  /** @param {string} event */
  #dispatch(event) {
    let name = 'message';
    const data = [];
    for (const line of event.split(/\r?\n/)) {
      const [, field, value] = /^(event|data): ?(.*)$/.exec(line) ?? [];
      if (field === 'event') name = value;
      if (field === 'data') data.push(value);
    }
    if (data.length > 0) this.dispatchEvent(new MessageEvent(name, { data: data.join('\n') }));
  }
}
