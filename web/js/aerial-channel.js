/** The data channel beside the media: requests go out, events come in. `docs/chat.md` describes both. */

const LABEL = 'aerial';

/**
 * An event of the server.
 * @typedef {{type: string} & Record<string, any>} ServerEvent
 */

export class AerialChannel {
  /** @type {RTCDataChannel} */ #channel;

  /**
   * @param {RTCPeerConnection} peer Before its offer is made.
   * @param {(open: boolean) => void} onState
   * @param {(event: ServerEvent) => void} onEvent
   */
  constructor(peer, onState, onEvent) {
    this.#channel = peer.createDataChannel(LABEL);
    this.#channel.addEventListener('open', () => onState(true));
    this.#channel.addEventListener('close', () => onState(false));
    this.#channel.addEventListener('message', ({ data }) => {
      for (const event of eventsOf(data)) onEvent(event);
    });
  }

  get open() {
    return this.#channel.readyState === 'open';
  }

  /**
   * @param {object} request
   * @returns {boolean} False if the channel is not open.
   */
  send(request) {
    if (!this.open) return false;
    this.#channel.send(JSON.stringify(request));
    return true;
  }
}

/**
 * @param {unknown} text
 * @returns {ServerEvent[]} None if it is not what this server sends.
 */
export function eventsOf(text) {
  try {
    const events = JSON.parse(String(text));
    return Array.isArray(events) ? events.filter((event) => typeof event?.type === 'string') : [];
  } catch {
    return [];
  }
}

/**
 * Lets events of one object happen on another, too.
 * @param {EventTarget} from
 * @param {EventTarget} to
 * @param {string[]} names
 */
export function forward(from, to, names) {
  for (const name of names)
    from.addEventListener(name, (event) => {
      const { detail } = /** @type {CustomEvent} */ (event);
      to.dispatchEvent(new CustomEvent(name, { detail }));
    });
}
