/** The chat of the watch page. */

import { ChatPanel } from './chat-panel.js';
import { FloatingReactions } from './chat-reactions.js';
import { ChatRoom } from './chat-room.js';
import { at } from './site.js';

export class WatchChat {
  #room;
  #place;
  #player;
  /** @type {import('./whep.js').WhepClient|null} */ #client = null;

  /**
   * @param {import('./player.js').AerialPlayer} player
   * @param {HTMLElement} place
   * @param {string} name
   */
  constructor(player, place, name) {
    this.#player = player;
    this.#place = place;
    this.#room = new ChatRoom(at(`api/broadcasts/${encodeURIComponent(name)}/chat`), () => player.token);
    player.addEventListener('statechange', () => this.#attach());
  }

  /** Before the channel of a new client opens. */
  #attach() {
    const { client } = this.#player;
    if (!client || client === this.#client) return;
    this.#client = client;
    this.#room.attach(client);
  }

  /** Shows the chat once the broadcast is known to have one. @param {boolean} wanted */
  show(wanted) {
    if (!wanted || !this.#place.hidden) return;
    this.#place.hidden = false;
    document.documentElement.classList.add('chatting');
    new ChatPanel(this.#place, this.#room);
    const floats = new FloatingReactions(/** @type {ShadowRoot} */ (this.#player.shadowRoot));
    this.#room.addEventListener('reactions', (event) => floats.show(/** @type {CustomEvent} */ (event).detail));
    this.#room.start();
  }
}
