/** The page `/watch/{a}+{b}+{c}`: several broadcasts at once, one of them with sound. */

import { BroadcastFeed, SEVERAL_MAX, nameFromPath } from './broadcasts.js';
import { byId, fillIcons, h, icon, setText } from './dom.js';
import { AerialPlayer } from './player.js';
import { mayBeThere } from './readiness.js';
import { ROOT, at } from './site.js';
import { keepToken, pageToken } from './token.js';
import { t, translatePage } from './words.js';

const asked = [...new Set(nameFromPath('watch').split('+').filter(Boolean))];
const names = asked.slice(0, SEVERAL_MAX);
const token = pageToken('watch');
const feed = new BroadcastFeed(token);
const grid = byId('tiles', HTMLElement);
/** @type {Map<string, {player: AerialPlayer, button: HTMLButtonElement}>} */
const tiles = new Map();

/** @param {string} name */
function makeTile(name) {
  const player = /** @type {AerialPlayer} */ (document.createElement('aerial-player'));
  player.muted = true;
  player.label = name;
  player.token = token;
  player.controls = 'off';
  player.tabIndex = -1;
  // Tiles are small: the smallest there is will do.
  player.frugal = names.length > 1;
  player.ready = () => mayBeThere(feed, name);
  player.src = at(`whep/${encodeURIComponent(name)}`);
  const button = h('button', {
    'class': 'hear',
    'type': 'button',
    'aria-label': t('multi-hear', { name }),
    'aria-pressed': 'false',
    'click': () => hear(name),
  });
  const link = h('a', { href: at(`watch/${encodeURIComponent(name)}`) }, name);
  const tile = h('div', { class: 'tile' }, player, button, h('p', {}, link));
  player.addEventListener('statechange', () => {
    // What the player offers then is below this button.
    button.hidden = ['failed', 'closed'].includes(player.state);
  });
  player.addEventListener('token', (event) => takeToken(/** @type {CustomEvent<string>} */ (event).detail));
  tiles.set(name, { player, button });
  grid.append(tile);
}

/** @param {string} entered The token that one of the players was given, for all. */
function takeToken(entered) {
  keepToken('watch', entered);
  feed.token = entered;
  for (const { player } of tiles.values()) if (player.state !== 'live') player.token = entered;
}

/** @param {string} chosen The one with sound. */
function hear(chosen) {
  for (const [name, { player, button }] of tiles) {
    const loud = name === chosen && player.video.muted;
    player.video.muted = !loud;
    button.setAttribute('aria-pressed', String(loud));
    button.replaceChildren(icon(loud ? 'volume' : 'muted'));
  }
}

function showNews() {
  for (const [name, { player }] of tiles) {
    const broadcast = feed.find(name);
    player.broadcast = feed.connected && broadcast ? broadcast : undefined;
    if (['live', 'slate'].includes(broadcast?.state ?? '') && player.state === 'waiting') player.client?.retry();
  }
}

if (names.length === 0) location.replace(ROOT);
translatePage();
fillIcons();
document.title = t('multi-page-title', { count: names.length });
setText(byId('title', HTMLElement), t('multi-title', { count: names.length }));
if (asked.length > names.length) setText(byId('hint', HTMLElement), t('multi-too-many', { count: SEVERAL_MAX }));
grid.style.setProperty('--columns', String(Math.ceil(Math.sqrt(names.length))));
names.forEach(makeTile);
for (const { button } of tiles.values()) button.append(icon('muted'));
feed.addEventListener('broadcasts', showNews);
feed.addEventListener('connection', showNews);
feed.start();
