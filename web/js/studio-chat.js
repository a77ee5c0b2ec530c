/** The chat of the studio. */

import { ChatPanel } from './chat-panel.js';
import { FloatingReactions } from './chat-reactions.js';
import { ChatRoom } from './chat-room.js';
import { byId } from './dom.js';
import { at } from './site.js';

export class StudioChat {
  #room;
  #place = byId('chat', HTMLElement);

  /** @param {string} name @param {() => string} token */
  constructor(name, token) {
    this.#room = new ChatRoom(at(`api/broadcasts/${encodeURIComponent(name)}/chat`), token);
  }

  /** @param {import('./whip.js').WhipClient} client Before it starts. */
  attach(client) {
    this.#room.attach(client);
  }

  /** Shows the chat once the broadcast is known to have one. @param {boolean} wanted */
  show(wanted) {
    if (!wanted || !this.#place.hidden) return;
    this.#place.hidden = false;
    new ChatPanel(this.#place, this.#room);
    const floats = new FloatingReactions(byId('screen', HTMLElement));
    this.#room.addEventListener('reactions', (event) => floats.show(/** @type {CustomEvent} */ (event).detail));
    this.#room.start();
  }
}
