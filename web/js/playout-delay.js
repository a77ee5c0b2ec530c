/**
 * How far a picture is behind the server, from getStats(): the sender reports tell which of the server's moments is on
 * the screen (`estimatedPlayoutTimestamp`), and what time it is on the server's clock now.
 */

/** From the epoch of NTP, 1900, to that of Unix, in milliseconds. */
const NTP_TO_UNIX = 2_208_988_800_000;
/** Sender reports whose difference of clocks is remembered: the one that travelled fastest counts. */
const REPORTS_MAX = 10;

export class PlayoutDelay {
  /** The server's clock less ours, by sender report, in milliseconds. @type {Map<number, number>} */ #offsets =
    new Map();

  /** Another server's clock counts from now on. */
  reset() {
    this.#offsets.clear();
  }

  /**
   * @param {Map<string, any>} reports As of getStats().
   * @param {number|null} rtt In milliseconds.
   * @returns {number|null} Milliseconds; null if the browser does not report it.
   */
  of(reports, rtt) {
    const received = [...reports.values()].filter(({ type }) => type === 'inbound-rtp');
    const media = received.find(({ kind }) => kind === 'video') ?? received[0];
    const sent = reports.get(media?.remoteId);
    if (!media?.estimatedPlayoutTimestamp || !sent?.remoteTimestamp) return null;
    this.#offsets.set(sent.remoteTimestamp, sent.remoteTimestamp - sent.timestamp + (rtt ?? 0) / 2);
    const [oldest] = this.#offsets.keys();
    if (this.#offsets.size > REPORTS_MAX) this.#offsets.delete(oldest);
    const now = media.timestamp + Math.max(...this.#offsets.values());
    return Math.max(0, now - (media.estimatedPlayoutTimestamp - NTP_TO_UNIX));
  }
}
