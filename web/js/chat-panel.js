/** The chat beside a picture: what is said, who one is, and what moderators do. */

import { REACTIONS } from './chat-reactions.js';
import { h, icon, setText } from './dom.js';
import { t } from './words.js';

/** How close to the end, in pixels, somebody reads along. */
const FOLLOWS = 60;
/** How long a note about a refusal stays, in milliseconds. */
const NOTE_TIME = 6_000;
/** How long a time-out of the menu is, in seconds. */
const TIMEOUT = 300;
/** What moderators can choose from, in seconds. */
const SLOW = [0, 5, 15, 30, 60, 300];
/** Refusals with words of their own. */
const TOLD = ['too-often', 'busy', 'too-long', 'offline'];

/** @typedef {import('./chat-room.js').ChatMessage} ChatMessage */

export class ChatPanel {
  #room;
  #people = h('span', { class: 'chat-people' });
  #log = h('div', { 'class': 'chat-log', 'role': 'log', 'aria-label': t('chat-log'), 'tabindex': '0' });
  #empty = h('p', { class: 'hint chat-empty' }, t('chat-empty'));
  #below = h('button', { class: 'button small chat-below', type: 'button', hidden: true }, t('chat-below'));
  #note = h('p', { class: 'hint chat-note', role: 'status' });
  #name = h('input', {
    id: 'chat-name',
    type: 'text',
    autocomplete: 'nickname',
    enterkeyhint: 'next',
    maxlength: '32',
  });
  #nameField = h('div', { class: 'field' }, h('label', { for: 'chat-name' }, t('chat-name')), this.#name);
  #text = h('input', { id: 'chat-text', type: 'text', autocomplete: 'off', enterkeyhint: 'send', maxlength: '500' });
  #send = h('button', { class: 'button primary', type: 'submit' }, t('chat-send'));
  #as = h('button', { class: 'link', type: 'button', hidden: true });
  #slow = h('select', { 'class': 'chat-slow', 'aria-label': t('chat-slow-mode'), 'hidden': true });
  #reactions = h('div', { 'class': 'chat-reactions', 'role': 'group', 'aria-label': t('chat-react') });
  #form = h(
    'form',
    { class: 'chat-form', novalidate: true },
    this.#nameField,
    h('label', { class: 'unseen', for: 'chat-text' }, t('chat-text')),
    h('div', { class: 'chat-line' }, this.#text, this.#send),
    this.#as,
  );
  /** What was sent last: it comes back if it is refused. */ #sent = '';
  #renaming = false;
  #notedUntil = 0;

  /**
   * @param {HTMLElement} place
   * @param {import('./chat-room.js').ChatRoom} room
   */
  constructor(place, room) {
    this.#room = room;
    this.#text.placeholder = t('chat-text');
    for (const reaction of REACTIONS) {
      const label = t('chat-react-with', { reaction });
      const click = () => room.react(reaction);
      this.#reactions.append(h('button', { 'type': 'button', 'aria-label': label, click }, reaction));
    }
    for (const seconds of SLOW) {
      const words = seconds === 0 ? t('chat-slow-off') : t('chat-slow', { count: seconds });
      this.#slow.append(h('option', { value: String(seconds) }, words));
    }
    const head = h('div', { class: 'chat-head' }, h('h2', {}, t('chat')), this.#people, this.#slow);
    const log = h('div', { class: 'chat-past' }, this.#log, this.#empty, this.#below);
    place.append(head, log, this.#reactions, this.#note, this.#form);
    this.#listen();
    this.#showAll();
    this.#show();
    setInterval(() => this.#showNote(), 1_000);
  }

  #listen() {
    const room = this.#room;
    room.addEventListener('change', () => this.#show());
    room.addEventListener('messages', () => this.#showAll());
    room.addEventListener('message', (event) => this.#add(/** @type {CustomEvent} */ (event).detail));
    room.addEventListener('refused', (event) => this.#onRefused(/** @type {CustomEvent} */ (event).detail));
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#as.addEventListener('click', () => {
      this.#renaming = true;
      this.#name.value = room.wantedName;
      this.#show();
      this.#name.focus();
    });
    this.#slow.addEventListener('change', () => room.setSlow(Number(this.#slow.value)));
    this.#below.addEventListener('click', () => this.#follow());
    this.#log.addEventListener('scroll', () => {
      if (this.#isAtEnd) this.#below.hidden = true;
    });
  }

  #submit() {
    const room = this.#room;
    if (!this.#nameField.hidden) {
      const name = this.#name.value.trim();
      if (!name) return this.#name.focus();
      room.rename(name);
      this.#renaming = false;
      this.#show();
    }
    const text = this.#text.value.trim();
    if (!text) return this.#text.focus();
    this.#sent = text;
    this.#text.value = '';
    room.say(text);
    this.#text.focus();
    this.#follow();
  }

  /** @param {{reason: string, seconds?: number}} refused */
  #onRefused({ reason, seconds }) {
    if (this.#sent && !this.#text.value) this.#text.value = this.#sent;
    this.#sent = '';
    this.#notedUntil = Date.now() + NOTE_TIME;
    const words = TOLD.includes(reason) ? t(`chat-refused-${reason}`) : '';
    if (reason === 'slow') setText(this.#note, t('chat-wait', { count: seconds ?? 1 }));
    else if (words) setText(this.#note, words);
    else this.#notedUntil = 0;
    this.#showNote();
  }

  /** What keeps one from speaking, or what holds for everybody. */
  #showNote() {
    const room = this.#room;
    if (Date.now() < this.#notedUntil) return;
    const seconds = Math.ceil((room.silentUntil - Date.now()) / 1000);
    if (room.silentUntil && seconds <= 0 && !room.speaks) {
      room.speaks = true;
      room.silentUntil = 0;
      this.#show();
    }
    const words =
      room.transport === 'none'
        ? t('chat-connecting')
        : room.speaks
          ? room.slow && !room.moderator
            ? t('chat-slow', { count: room.slow })
            : ''
          : room.silentUntil
            ? t('chat-silent', { count: seconds })
            : t('chat-read-only');
    setText(this.#note, words);
  }

  #show() {
    const room = this.#room;
    setText(this.#people, t('chat-people', { count: room.people }));
    const speaks = room.speaks && room.transport !== 'none';
    this.#text.disabled = this.#send.disabled = !speaks;
    this.#text.maxLength = room.limits.text;
    for (const button of this.#reactions.querySelectorAll('button')) button.disabled = !speaks;
    this.#nameField.hidden = !this.#renaming && room.wantedName !== '';
    this.#as.hidden = !this.#nameField.hidden;
    setText(this.#as, t('chat-as', { name: room.name || room.wantedName }));
    this.#slow.hidden = !room.moderator;
    if (!SLOW.includes(room.slow)) this.#slow.value = '';
    else this.#slow.value = String(room.slow);
    this.#log.classList.toggle('moderated', room.moderator);
    this.#showNote();
  }

  #showAll() {
    const follows = this.#isAtEnd;
    this.#log.replaceChildren(...this.#room.messages.map((message) => this.#row(message)));
    this.#empty.hidden = this.#room.messages.length > 0;
    if (follows) this.#follow();
  }

  /** @param {ChatMessage} message */
  #add(message) {
    if (message.from === this.#room.you) this.#sent = '';
    const follows = this.#isAtEnd || message.from === this.#room.you;
    this.#empty.hidden = true;
    this.#log.append(this.#row(message));
    while (this.#log.childElementCount > this.#room.messages.length) this.#log.firstElementChild?.remove();
    if (follows) this.#follow();
    else this.#below.hidden = false;
  }

  get #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    return scrollHeight - scrollTop - clientHeight < FOLLOWS;
  }

  #follow() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#below.hidden = true;
  }

  /** @param {ChatMessage} message */
  #row(message) {
    const { from, name, moderator, text, time } = message;
    const said = new Date(time);
    const own = from === this.#room.you;
    return h(
      'div',
      { 'class': own ? 'chat-row own' : 'chat-row', 'data-id': String(message.id) },
      h('span', { class: 'chat-name' }, name),
      ...(moderator ? [h('span', { class: 'chat-mark' }, t('chat-moderator'))] : []),
      h('time', { datetime: said.toISOString() }, said.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })),
      h('p', {}, text), // addresses, too: nobody should follow a stranger's by mistake
      this.#tools(message),
    );
  }

  /** What moderators do with a message. @param {ChatMessage} message */
  #tools({ id, from, name }) {
    const room = this.#room;
    const close = () => tools.removeAttribute('open');
    /** @param {string} words @param {() => void} act */
    const item = (words, act) => h('button', { type: 'button', click: () => (act(), close()) }, words);
    const tools = h(
      'details',
      { class: 'chat-tools' },
      h('summary', { 'aria-label': t('chat-tools', { name }) }, icon('more')),
      h(
        'div',
        {},
        item(t('chat-delete'), () => room.delete(id)),
        item(t('chat-timeout'), () => room.silence(from, TIMEOUT)),
        item(t('chat-ban'), () => room.ban(from)),
        item(t('chat-pardon'), () => room.silence(from, 0)),
      ),
    );
    return tools;
  }
}
