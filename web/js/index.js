/** The page `/`: what is live, and how to go live. */

import { BroadcastFeed, codecsText, isName, isSoundOnly, newName, titleOf } from './broadcasts.js';
import { byId, durationText, enableCopyButtons, fillIcons, h, icon, setText } from './dom.js';
import { Choosing } from './choosing.js';
import { showTags } from './tags.js';
import { Finding, stateOf } from './finding.js';
import { at } from './site.js';
import { TokenForm, pageToken } from './token.js';
import { SITE, language, t, translatePage } from './words.js';

/** @typedef {import('./broadcasts.js').Broadcast} Broadcast */

const list = byId('broadcasts', HTMLUListElement);
const empty = byId('empty', HTMLElement);
const summary = byId('summary', HTMLElement);
const connection = byId('connection', HTMLElement);
const nameInput = byId('name', HTMLInputElement);
const nameHint = byId('name-hint', HTMLElement);
const choosing = new Choosing();
const finding = new Finding(() => show(feed.broadcasts ?? []));
const token = pageToken('watch');
const feed = new BroadcastFeed(token);
const tokenForm = new TokenForm('watch', (token) => {
  feed.token = token;
});
/** The name in the settings for OBS until another one is typed. */
const suggested = newName();
/** Whether OBS must send a token. */
let publishingNeedsToken = false;
/** @type {Map<string, {item: HTMLLIElement, update: (broadcast: Broadcast) => void}>} */
const cards = new Map();

/** @param {Broadcast[]} broadcasts */
function show(broadcasts) {
  const sorted = finding.of(broadcasts);
  list.removeAttribute('aria-busy');
  for (const skeleton of list.querySelectorAll('.skeleton')) skeleton.remove();
  for (const [name, { item }] of cards) {
    item.hidden = !sorted.some((broadcast) => broadcast.name === name);
    if (broadcasts.some((broadcast) => broadcast.name === name)) continue;
    item.remove();
    cards.delete(name);
    choosing.forget(name);
  }
  sorted.forEach((broadcast, index) => {
    const card = cards.get(broadcast.name) ?? makeCard(broadcast.name);
    cards.set(broadcast.name, card);
    card.update(broadcast);
    // Moving an element takes the focus away from it, so only misplaced ones are moved.
    if (list.children[index] !== card.item) list.insertBefore(card.item, list.children[index] ?? null);
  });
  list.hidden = sorted.length === 0;
  empty.hidden = broadcasts.length > 0;
  choosing.offer(broadcasts.length);
  const live = broadcasts.filter(({ state }) => state === 'live').length;
  if (finding.isOn) setText(summary, t('list-found', { count: sorted.length }));
  else
    setText(
      summary,
      broadcasts.length === 0 ? '' : live === 0 ? t('list-none-live') : t('list-count', { count: live }),
    );
}

/** @param {string} name */
function makeCard(name) {
  const badge = h('span', { class: 'badge' });
  const count = h('span', { class: 'badge plain count' });
  const facts = h('p', { class: 'facts' });
  const description = h('p', { class: 'description', hidden: true });
  const tags = h('ul', { class: 'tags', hidden: true });
  const mark = h('span', { class: 'poster-mark' });
  const poster = h('div', { class: 'poster' }, mark, badge, count);
  poster.style.setProperty('--hue', String(hue(name)));
  const link = h('a', { href: at(`watch/${encodeURIComponent(name)}`) }, name);
  const item = h(
    'li',
    { 'class': 'card', 'data-name': name },
    poster,
    h('div', { class: 'card-body' }, link, facts, description, tags),
    choosing.box(name),
  );
  /** @param {Broadcast} broadcast */
  const update = (broadcast) => {
    const known = feed.connected !== false;
    const state = known ? stateOf(broadcast) : 'lost';
    setText(badge, t(`state-${state}`));
    badge.classList.toggle('live', state === 'live');
    mark.replaceChildren(icon(isSoundOnly(broadcast) ? 'mic' : 'play'));
    count.replaceChildren(icon('eye'), broadcast.viewers.toLocaleString(language));
    count.title = t('watching', { count: broadcast.viewers });
    item.dataset.started = broadcast.started ?? '';
    item.dataset.facts = [isSoundOnly(broadcast) ? t('card-sound-only') : '', codecsText(broadcast)]
      .filter(Boolean)
      .join(' · ');
    item.dataset.without = t(broadcast.on_demand ? 'card-on-demand' : 'card-no-media');
    showFacts(item, facts);
    const title = titleOf(broadcast);
    setText(link, title);
    description.hidden = !broadcast.description;
    setText(description, broadcast.description ?? '');
    showTags(tags, broadcast);
    link.setAttribute(
      'aria-label',
      t('card', { name: title, state: badge.textContent ?? '', count: broadcast.viewers }),
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
  setText(facts, [since, item.dataset.facts].filter(Boolean).join(' · ') || (item.dataset.without ?? ''));
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
  setText(nameHint, t(!good ? 'name-wrong' : taken ? 'name-busy' : 'name-rule'));
  showObs(good && name ? name : suggested);
  return good && name !== '';
}

/** @param {string} name */
function showObs(name) {
  setText(byId('obs-server', HTMLElement), at(`whip/${name}`));
  setText(byId('obs-token', HTMLElement), t(publishingNeedsToken ? 'obs-your-token' : 'obs-no-token'));
  byId('obs-assistant', HTMLAnchorElement).href = at(`publish/${encodeURIComponent(name)}/obs`);
}

async function showServer() {
  try {
    const response = await fetch(at('api/server'));
    if (!response.ok) return;
    const { version, needs_token: needs } = await response.json();
    if (version) setText(byId('site-version', HTMLElement), [...new Set([SITE, 'Aerial'])].join(' · ') + ` ${version}`);
    publishingNeedsToken = Boolean(needs?.publish);
    checkName();
    if (needs?.watch && !token) tokenForm.ask(t('token-listed'), 'listed', { focus: false });
  } catch {
    // the footer does without a version
  }
}

translatePage();
document.title = t('list-page-title');
fillIcons();
enableCopyButtons();
empty.after(tokenForm.element);
showObs(suggested);
nameInput.placeholder = suggested;
nameInput.addEventListener('input', checkName);
byId('go-live-form', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault();
  if (checkName()) {
    location.assign(at(`publish/${encodeURIComponent(nameInput.value.trim())}`));
    return;
  }
  nameInput.setAttribute('aria-invalid', 'true');
  if (!nameInput.value.trim()) setText(nameHint, t('name-missing'));
  nameInput.focus();
});

feed.addEventListener('broadcasts', () => show(feed.broadcasts ?? []));
feed.addEventListener('refused', () => {
  setText(summary, '');
  list.hidden = true;
  tokenForm.ask(t('token-unknown'), 'unauthorized', { focus: false });
});
feed.addEventListener('connection', () => {
  connection.hidden = feed.connected !== false;
  setText(connection, feed.connected ? '' : t('list-reconnecting'));
  if (feed.broadcasts) show(feed.broadcasts); // what is known now, or no longer
  if (!feed.connected) setText(summary, t(feed.broadcasts ? 'list-old' : 'list-unreachable'));
});
feed.start();
setInterval(() => {
  for (const { item } of cards.values()) showFacts(item, /** @type {Element} */ (item.querySelector('.facts')));
}, 1_000);
void showServer();
