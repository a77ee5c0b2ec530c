/** Hides the controls of `<aerial-player>` while nobody moves. */

/** Controls hide after this many milliseconds without movement, and after the pointer has left. */
const QUIET_AFTER = 2_800;
const LEFT_AFTER = 600;

export class QuietControls {
  #player;
  #mayHide;
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #timer;

  /**
   * @param {HTMLElement} player Has the attribute `data-quiet` while its controls are hidden.
   * @param {() => boolean} mayHide
   */
  constructor(player, mayHide) {
    this.#player = player;
    this.#mayHide = mayHide;
    for (const name of ['pointermove', 'pointerdown', 'focusin', 'keydown'])
      player.addEventListener(name, () => this.stir());
    player.addEventListener('pointerleave', () => this.#settle(LEFT_AFTER));
  }

  /** Shows the controls for a while. */
  stir() {
    this.#player.removeAttribute('data-quiet');
    this.#settle(QUIET_AFTER);
  }

  stop() {
    clearTimeout(this.#timer);
  }

  /** @param {number} after Milliseconds. */
  #settle(after) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const keyboard = this.#player.shadowRoot?.activeElement?.matches(':focus-visible');
      if (this.#mayHide() && !keyboard) this.#player.setAttribute('data-quiet', '');
    }, after);
  }
}
