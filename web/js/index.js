/** The page `/`: what is live, and how to go live. */

import { BroadcastFeed, codecsText, isName } from './broadcasts.js';
import { byId, durationText, enableCopyButtons, fillIcons, h, icon, plural, setText } from './dom.js';
import { at } from './site.js';
import { TokenForm, pageToken } from './token.js';

/** @typedef {import('./broadcasts.js').Broadcast} Broadcast */

const STATES = { live: 'Live', stale: 'Interrupted', slate: 'Paused', waiting: 'Soon' };
const ORDER = { live: 0, stale: 1, slate: 2, waiting: 3 };

const list = byId('broadcasts', HTMLUListElement);
const empty = byId('empty', HTMLElement);
const summary = byId('summary', HTMLElement);
const connection = byId('connection', HTMLElement);
const nameInput = byId('name', HTMLInputElement);
const nameHint = byId('name-hint', HTMLElement);
const token = pageToken('watch');
const feed = new BroadcastFeed(token);
const tokenForm = new TokenForm('watch', (token) => {
  feed.token = token;
});
/** Whether OBS must send a token, so that the name has to be in the address. */
let publishingNeedsToken = false;
/** @type {Map<string, {item: HTMLLIElement, update: (broadcast: Broadcast) => void}>} */
const cards = new Map();

/** @param {Broadcast[]} broadcasts */
function show(broadcasts) {
  const sorted = [...broadcasts].sort(
    (a, b) => ORDER[a.state] - ORDER[b.state] || b.viewers - a.viewers || a.name.localeCompare(b.name),
  );
  list.removeAttribute('aria-busy');
  for (const skeleton of list.querySelectorAll('.skeleton')) skeleton.remove();
  for (const [name, { item }] of cards) {
    if (broadcasts.some((broadcast) => broadcast.name === name)) continue;
    item.remove();
    cards.delete(name);
  }
  sorted.forEach((broadcast, index) => {
    const card = cards.get(broadcast.name) ?? makeCard(broadcast.name);
    cards.set(broadcast.name, card);
    card.update(broadcast);
    // Moving an element takes the focus away from it, so only misplaced ones are moved.
    if (list.children[index] !== card.item) list.insertBefore(card.item, list.children[index] ?? null);
  });
  list.hidden = sorted.length === 0;
  empty.hidden = sorted.length > 0;
  const live = sorted.filter(({ state }) => state === 'live').length;
  setText(summary, sorted.length === 0 ? '' : live === 0 ? 'Nobody is live right now' : plural(live, 'broadcast'));
}

/** @param {string} name */
function makeCard(name) {
  const badge = h('span', { class: 'badge' });
  const count = h('span', { class: 'badge plain count' });
  const facts = h('p');
  const poster = h('div', { class: 'poster' }, icon('play'), badge, count);
  poster.style.setProperty('--hue', String(hue(name)));
  const link = h('a', { href: at(`watch/${encodeURIComponent(name)}`) }, name);
  const item = h('li', { 'class': 'card', 'data-name': name }, poster, h('div', { class: 'card-body' }, link, facts));
  /** @param {Broadcast} broadcast */
  const update = (broadcast) => {
    setText(badge, STATES[broadcast.state]);
    badge.classList.toggle('live', broadcast.state === 'live');
    count.replaceChildren(icon('eye'), broadcast.viewers.toLocaleString());
    count.title = `${broadcast.viewers} watching`;
    item.dataset.started = broadcast.started ?? '';
    item.dataset.facts = codecsText(broadcast);
    showFacts(item, facts);
    link.setAttribute(
      'aria-label',
      `Watch ${name}: ${STATES[broadcast.state]}, ${plural(broadcast.viewers, 'viewer')}`,
    );
  };
  return { item, update };
}

/**
 * @param {HTMLElement} item
 * @param {Element} facts
 */
function showFacts(item, facts) {
  const started = Date.parse(item.dataset.started ?? '');
  const since = Number.isNaN(started) ? '' : durationText(Date.now() - started);
  setText(facts, [since, item.dataset.facts].filter(Boolean).join(' · ') || 'No media yet');
}

/**
 * A colour of its own for each name.
 * @param {string} name
 */
function hue(name) {
  let hash = 2_166_136_261; // FNV-1a
  for (const letter of name) hash = Math.imul(hash ^ (letter.codePointAt(0) ?? 0), 16_777_619) >>> 0;
  return (hash % 12) * 30 + 15;
}

/** @returns {boolean} */
function checkName() {
  const name = nameInput.value.trim();
  const good = name === '' || isName(name);
  const taken = feed.find(name)?.state === 'live';
  nameInput.setAttribute('aria-invalid', String(!good || taken));
  setText(
    nameHint,
    !good
      ? 'Only letters, digits, dots, dashes and underscores, and no leading dot.'
      : taken
        ? 'Someone is live under this name right now.'
        : 'Letters, digits, dots, dashes and underscores.',
  );
  showObs(good && name ? name : 'studio');
  return good && name !== '';
}

/** @param {string} name */
function showObs(name) {
  const endpoint = at('whip');
  setText(byId('obs-server', HTMLElement), publishingNeedsToken ? `${endpoint}/${name}` : endpoint);
  setText(byId('obs-token', HTMLElement), publishingNeedsToken ? 'your token' : name);
}

async function showServer() {
  try {
    const response = await fetch(at('api/server'));
    if (!response.ok) return;
    const { version, needs_token: needs } = await response.json();
    if (version) setText(byId('server', HTMLElement), `Aerial ${version}`);
    publishingNeedsToken = Boolean(needs?.publish);
    checkName();
    if (needs?.watch && !token)
      tokenForm.ask('Some broadcasts are listed only with a token.', 'listed', { focus: false });
  } catch {
    // the footer does without a version
  }
}

fillIcons();
enableCopyButtons();
empty.after(tokenForm.element);
showObs('studio');
nameInput.addEventListener('input', checkName);
byId('go-live-form', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault();
  if (checkName()) {
    location.assign(at(`publish/${encodeURIComponent(nameInput.value.trim())}`));
    return;
  }
  nameInput.setAttribute('aria-invalid', 'true');
  if (!nameInput.value.trim()) setText(nameHint, 'Give your broadcast a name first.');
  nameInput.focus();
});

feed.addEventListener('broadcasts', () => show(feed.broadcasts ?? []));
feed.addEventListener('refused', () => {
  setText(summary, '');
  list.hidden = true;
  tokenForm.ask('The server does not recognise this token.', 'unauthorized');
});
feed.addEventListener('connection', () => {
  connection.hidden = feed.connected !== false;
  setText(connection, feed.connected ? '' : 'Reconnecting…');
  if (!feed.connected && !feed.broadcasts) setText(summary, 'The server cannot be reached. Trying again…');
});
feed.start();
setInterval(() => {
  for (const { item } of cards.values()) showFacts(item, /** @type {Element} */ (item.querySelector('.card-body p')));
}, 1_000);
void showServer();
