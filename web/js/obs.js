/** The page `/publish/{name}/obs`: what to set in OBS, and what to change in view of what arrives. */

import { BroadcastFeed, nameFromPath, newName } from './broadcasts.js';
import { byId, enableCopyButtons, fillIcons, h, icon, setText } from './dom.js';
import { findings } from './obs-findings.js';
import { RefusalLine } from './refusal.js';
import { at } from './site.js';
import { pageToken } from './token.js';
import { WhepClient } from './whep.js';
import { t, translatePage } from './words.js';

/** How often what arrives is judged, in milliseconds. */
const EVERY = 1_000;

const name = nameFromPath('publish') || newName();
const path = encodeURIComponent(name);
const token = pageToken('watch');
const publishToken = pageToken('publish');
const feed = new BroadcastFeed(token || publishToken, { name });
const picture = byId('picture', HTMLVideoElement);
const client = new WhepClient(at(`whep/${path}`), {
  video: picture,
  token: token || publishToken,
  ready: () => ['live', 'slate'].includes(feed.find(name)?.state ?? ''),
});
/** The latest reading. @type {import('./obs-findings.js').Reading|null} */
let last = null;

async function look() {
  const { peer } = client;
  const live = client.state === 'live' && peer;
  const failure = client.state === 'failed' ? client.error?.words : '';
  setText(byId('state', HTMLElement), live ? t('obs-connected') : failure || t('obs-waiting'));
  byId('state', HTMLElement).classList.toggle('good', Boolean(live));
  byId('watch', HTMLElement).hidden = picture.hidden = !live;
  if (!live) {
    last = null;
    byId('findings', HTMLElement).replaceChildren();
    return;
  }
  /** @type {Map<string, any>} */
  const reports = new Map();
  (await peer.getStats()).forEach((report) => reports.set(report.id, report));
  const reading = { at: Date.now(), reports, first: last?.first ?? reports };
  const rows = findings(reading, last, feed.find(name)).map(({ what, value, advice }) =>
    h(
      'li',
      { 'class': advice ? 'finding bad' : 'finding', 'data-what': what },
      h('span', { class: 'verdict', title: t(advice ? 'obs-improve' : 'obs-good') }, icon(advice ? 'alert' : 'check')),
      h('span', {}, t(`obs-${what}`)),
      h('strong', {}, value),
      ...(advice ? [h('p', {}, t(advice))] : []),
    ),
  );
  byId('findings', HTMLElement).replaceChildren(...rows);
  last = reading;
}

async function describe() {
  const endpoint = at(`whip/${path}`);
  setText(byId('server', HTMLElement), endpoint);
  let needsToken = false;
  try {
    needsToken = Boolean((await (await fetch(at('api/server'))).json()).needs_token?.publish);
  } catch {
    // the recipe without a token is right for most servers
  }
  setText(byId('token-value', HTMLElement), t(needsToken ? 'obs-your-token' : 'obs-no-token'));
  const [ffmpegToken, gstreamerToken] = needsToken
    ? [' -authorization TOKEN', ' signaller::auth-token=TOKEN']
    : ['', ''];
  setText(
    byId('ffmpeg', HTMLElement),
    `ffmpeg -re -i FILE -c:v libx264 -tune zerolatency -bf 0 -g 60 -b:v 2500k -pix_fmt yuv420p -c:a libopus -ac 2 -ar 48000 -f whip${ffmpegToken} ${endpoint}`,
  );
  setText(
    byId('gstreamer', HTMLElement),
    `gst-launch-1.0 whipclientsink name=sink signaller::whip-endpoint=${endpoint}${gstreamerToken} videotestsrc is-live=true ! videoconvert ! sink. audiotestsrc is-live=true ! audioconvert ! sink.`,
  );
}

translatePage();
fillIcons();
enableCopyButtons();
document.title = t('obs-page-title');
byId('watch', HTMLAnchorElement).href = at(`watch/${path}`);
void describe();
new RefusalLine(name, () => publishToken).start();
feed.addEventListener('broadcasts', () => {
  if (client.state === 'waiting') client.retry();
});
feed.start();
client.start();
setInterval(() => void look(), EVERY);
