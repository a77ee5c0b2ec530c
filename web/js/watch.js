/** The page `/watch/{name}`. With `?embed=1` it is only the player, for frames. */

import { BroadcastFeed, codecsText, nameFromPath, stalledText, transcodingText } from './broadcasts.js';
import { byId, durationText, enableCopyButtons, fillIcons, plural, setText } from './dom.js';
import { AerialPlayer } from './player.js';
import { ROOT, at } from './site.js';
import { TokenForm, pageToken, wantsToken } from './token.js';

const name = nameFromPath('watch');
const embedded = new URLSearchParams(location.search).get('embed') === '1';
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
const tokenForm = new TokenForm('watch', (token) => {
  feed.token = token;
  player.setAttribute('token', token);
  player.client?.retry(); // even if it is the same token
});

function showFacts() {
  const broadcast = feed.find(name);
  const live = player.state === 'live';
  const slate = broadcast?.state === 'slate';
  setText(badge, slate ? 'Paused' : live ? 'Live' : broadcast?.state === 'live' ? 'On air' : 'Off air');
  badge.classList.toggle('live', live && !slate);
  badge.classList.toggle('slate', slate);
  viewers.hidden = !broadcast;
  setText(viewers, broadcast ? `${plural(broadcast.viewers, 'viewer')}` : '');
  if (broadcast) player.setAttribute('viewers', String(broadcast.viewers));
  else player.removeAttribute('viewers');
  const codecs = codecsText(broadcast);
  tracks.hidden = codecs === '';
  setText(tracks, codecs);
  const stopped = stalledText(broadcast);
  stalled.hidden = stopped === '';
  setText(stalled, stopped);
  const made = transcodingText(broadcast);
  transcoding.hidden = made === '';
  setText(transcoding, made === '' ? '' : `Transcoded: ${made}`);
  showSince();
}

function showSince() {
  const started = Date.parse(feed.find(name)?.started ?? '');
  since.hidden = Number.isNaN(started);
  if (!since.hidden) setText(since, `on air for ${durationText(Date.now() - started)}`);
}

function describe() {
  document.title = `${name} - Aerial`;
  setText(byId('title', HTMLElement), name);
  setText(byId('link', HTMLElement), at(`watch/${path}`));
  setText(
    byId('snippet-frame', HTMLElement),
    `<iframe src="${at(`watch/${path}`)}?embed=1" width="960" height="540"\n  allow="autoplay; fullscreen; picture-in-picture" title="${name}"></iframe>`,
  );
  setText(
    byId('snippet-element', HTMLElement),
    `<script type="module" src="${at('js/player.js')}"></script>\n<aerial-player src="${at(`whep/${path}`)}" label="${name}"></aerial-player>`,
  );
}

function start() {
  document.documentElement.classList.toggle('embed', embedded);
  document.body.classList.add('ready');
  fillIcons();
  enableCopyButtons();
  describe();
  player.setAttribute('label', name);
  if (token) player.setAttribute('token', token);
  player.setAttribute('src', at(`whep/${path}`));
  player.after(tokenForm.element);
  player.addEventListener('statechange', () => {
    showFacts();
    const error = player.client?.error;
    if (error && wantsToken(error)) tokenForm.ask(error.words, error.kind);
    else tokenForm.hide();
  });
  feed.addEventListener('broadcasts', () => {
    showFacts();
    // Do not wait for the next attempt once the broadcast has started.
    if (['live', 'slate'].includes(feed.find(name)?.state ?? '') && player.state === 'waiting') player.client?.retry();
  });
  feed.start();
  setInterval(showSince, 1_000);
  document.addEventListener('keydown', (event) => {
    if (
      !event.composedPath().includes(player) &&
      !(event.target instanceof Element && event.target.closest('a, button, summary, pre'))
    )
      player.onKey(event);
  });
}

if (name) start();
else location.replace(ROOT);
