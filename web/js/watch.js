/** The page `/watch/{name}`. With `?embed=1` it is only the player, for frames. */

import { BroadcastFeed, codecsText, nameFromPath, stalledText, titleOf, transcodingText } from './broadcasts.js';
import { byId, durationText, enableCopyButtons, fillIcons, setText } from './dom.js';
import { AerialPlayer } from './player.js';
import { mayBeThere } from './readiness.js';
import { ShareSheet } from './share.js';
import { ROOT, at } from './site.js';
import { read, store } from './storage.js';
import { showTags } from './tags.js';
import { keepToken, pageToken } from './token.js';
import { WatchChat } from './watch-chat.js';
import { t, translatePage } from './words.js';

const THEATRE_KEY = 'aerial-theatre';

const name = nameFromPath('watch');
const parameters = new URLSearchParams(location.search);
const embedded = parameters.get('embed') === '1';
const path = encodeURIComponent(name);
const player = byId('player', AerialPlayer);
const badge = byId('badge', HTMLElement);
const viewers = byId('viewers', HTMLElement);
const since = byId('since', HTMLElement);
const tracks = byId('tracks', HTMLElement);
const stalled = byId('stalled', HTMLElement);
const transcoding = byId('transcoding', HTMLElement);
const token = pageToken('watch');
const feed = new BroadcastFeed(token, { name, polls: embedded });
const chat = embedded ? null : new WatchChat(player, byId('chat', HTMLElement), name);

function showFacts() {
  const broadcast = feed.find(name);
  const live = player.state === 'live';
  const slate = broadcast?.state === 'slate';
  const gone =
    feed.connected && (broadcast?.state === 'stale' || (broadcast?.state === 'waiting' && !broadcast.on_demand));
  const state = slate ? 'paused' : live && !gone ? 'live' : broadcast?.state === 'live' ? 'on-air' : 'off-air';
  setText(badge, t(`watch-${state}`));
  badge.classList.toggle('live', live && !slate && !gone);
  badge.classList.toggle('slate', slate);
  viewers.hidden = !broadcast;
  setText(viewers, broadcast ? t('viewers', { count: broadcast.viewers }) : '');
  player.viewers = broadcast ? broadcast.viewers : null;
  // Without news, the player believes what it sees.
  player.broadcast = feed.connected && broadcast ? broadcast : undefined;
  for (const [element, text] of /** @type {const} */ ([
    [tracks, codecsText(broadcast)],
    [stalled, stalledText(broadcast)],
    [transcoding, transcodingText(broadcast)],
  ])) {
    element.hidden = text === '';
    setText(element, element === transcoding && text ? t('transcoded', { what: text }) : text);
  }
  showAbout(broadcast);
  showSince();
  chat?.show(broadcast?.chat ?? false);
}

/** @param {import('./broadcasts.js').Broadcast|undefined} broadcast */
function showAbout(broadcast) {
  const shown = broadcast ? titleOf(broadcast) : name;
  setText(byId('title', HTMLElement), shown);
  document.title = t('watch-page-title', { name: shown });
  player.label = shown;
  const description = byId('description', HTMLElement);
  description.hidden = !broadcast?.description;
  setText(description, broadcast?.description ?? '');
  showTags(byId('tags', HTMLElement), broadcast);
}

function showSince() {
  const started = Date.parse(feed.find(name)?.started ?? '');
  since.hidden = Number.isNaN(started);
  if (!since.hidden) setText(since, t('watch-since', { time: durationText(Date.now() - started) }));
}

/** @param {boolean} on */
function showTheatre(on) {
  document.documentElement.classList.toggle('theatre', on);
}

function start() {
  document.documentElement.classList.toggle('embed', embedded);
  translatePage();
  fillIcons();
  enableCopyButtons();
  const title = byId('title', HTMLElement);
  if (embedded) {
    title.classList.add('unseen');
    player.before(title);
  }
  const share = new ShareSheet(name);
  byId('share', HTMLButtonElement).addEventListener('click', () => share.open());
  byId('keys', HTMLButtonElement).addEventListener('click', () => player.keys.toggle());
  player.token = token;
  // A frame hears of its broadcast too late for that.
  if (!embedded) player.ready = () => mayBeThere(feed, name);
  if (parameters.get('muted') === '1') player.muted = true;
  if (parameters.get('controls') === 'off') player.controls = 'off';
  if (!embedded) {
    player.theatre = read(THEATRE_KEY) === 'on' ? 'on' : 'off';
    showTheatre(player.theatre === 'on');
    player.addEventListener('theatre', () => {
      store(THEATRE_KEY, player.theatre);
      showTheatre(player.theatre === 'on');
    });
  }
  player.addEventListener('statechange', showFacts);
  player.addEventListener('token', (event) => {
    const { detail } = /** @type {CustomEvent<string>} */ (event);
    keepToken('watch', detail);
    feed.token = detail;
  });
  feed.addEventListener('connection', showFacts);
  feed.addEventListener('broadcasts', () => {
    showFacts();
    // Do not wait for the next attempt once the broadcast has started.
    if (['live', 'slate'].includes(feed.find(name)?.state ?? '') && player.state === 'waiting') player.client?.retry();
  });
  feed.start();
  player.src = at(`whep/${path}`);
  showFacts();
  setInterval(showSince, 1_000);
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') player.closePanels();
    else if (
      !event.composedPath().includes(player) &&
      !(event.target instanceof Element && event.target.closest('a, button, summary, pre, dialog, .chat'))
    )
      player.onKey(event);
  });
}

if (name) start();
else location.replace(ROOT);
