/** Microphone and sound of the computer in one track, each as loud as wanted. */

/** After these, browsers let a page make sound. */
const GESTURES = ['pointerdown', 'keydown'];

/**
 * @typedef {object} Part
 * @property {MediaStreamTrack|null} track
 * @property {number} gain 1 leaves it as it is.
 */

export class Mixer {
  /** @type {AudioContext|null} */ #context = null;
  /** @type {MediaStreamAudioDestinationNode|null} */ #output = null;
  /** By their tracks. @type {Map<MediaStreamTrack, {source: MediaStreamAudioSourceNode, gain: GainNode}>} */
  #inputs = new Map();

  /**
   * The track with all parts. It stays the same from one mix to the next, so that a sender continues.
   * @param {Part[]} parts
   * @returns {MediaStreamTrack|null} The part itself, if there is one and it is to be left as it is.
   */
  mix(parts) {
    const used = parts.flatMap(({ track, gain }) => (track ? [{ track, gain }] : []));
    if (used.length === 0 || (used.length === 1 && used[0].gain === 1)) {
      this.close();
      return used[0]?.track ?? null;
    }
    const context = (this.#context ??= this.#open());
    const output = (this.#output ??= context.createMediaStreamDestination());
    for (const [track, { source, gain }] of this.#inputs) {
      if (used.some((part) => part.track === track)) continue;
      source.disconnect();
      gain.disconnect();
      this.#inputs.delete(track);
    }
    for (const { track, gain } of used) {
      const input = this.#inputs.get(track) ?? this.#connect(track, context, output);
      input.gain.gain.value = gain;
    }
    return output.stream.getAudioTracks()[0];
  }

  close() {
    for (const name of GESTURES) document.removeEventListener(name, this.#resume);
    void this.#context?.close();
    this.#context = this.#output = null;
    this.#inputs.clear();
  }

  /** A context that is made before a user gesture stays suspended until there is one. */
  #open() {
    for (const name of GESTURES) document.addEventListener(name, this.#resume);
    return new AudioContext({ latencyHint: 'interactive' });
  }

  #resume = () => {
    void this.#context?.resume();
  };

  /**
   * @param {MediaStreamTrack} track
   * @param {AudioContext} context
   * @param {AudioNode} output
   */
  #connect(track, context, output) {
    const source = context.createMediaStreamSource(new MediaStream([track]));
    const gain = new GainNode(context);
    source.connect(gain).connect(output);
    const input = { source, gain };
    this.#inputs.set(track, input);
    return input;
  }
}
