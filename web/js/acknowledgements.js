/** Whether a server still hears what a page sends. */

/** Milliseconds without a sign from the server after which it counts as deaf. */
const SILENCE_MAX = 4_000;

/** What the server has confirmed: reports about the media, and answers to checks of the connection. */
export class Acknowledgements {
  #count = 0;
  #at = Date.now();

  /** @param {RTCPeerConnection} peer */
  async read(peer) {
    let count = 0;
    (await peer.getStats()).forEach((report) => {
      if (report.type === 'candidate-pair') count += report.responsesReceived ?? 0;
      if (report.type === 'remote-inbound-rtp') count += report.roundTripTimeMeasurements ?? 0;
    });
    if (count !== this.#count) this.#at = Date.now();
    this.#count = count;
  }

  /** True if the last one is long ago. */
  old() {
    return Date.now() - this.#at > SILENCE_MAX;
  }
}
