/** Pictures that pause: while the sound goes on, as that of a camera which is off, and slides that have none. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Server, openBrowser, sleep, test, until } from './harness.js';
import { played, plays, publishes } from './media.js';

/** Longer than a player waits for media. */
const PAUSE_SECONDS = 4;
/** As many slides are watched, this many milliseconds apart. */
const SLIDES = 2;
const SLIDE_TIME = 4_000;
/** Slides are published on one engine and watched on the other, and both on each. */
const ENGINES = `
[broadcasts.direct]
publisher_engine = "direct"
[broadcasts.webrtcbin]
publisher_engine = "webrtcbin"
[broadcasts.watched]
publisher_engine = "direct"
viewer_engine = "webrtcbin"
`;
const BROADCASTS = ['direct', 'webrtcbin', 'watched'];

/** @param {import('playwright-core').Page} page */
const switchOff = (page) =>
  page.evaluate(async () => {
    /** @type {RTCPeerConnection} */
    const peer = Reflect.get(window, 'peer');
    await peer
      .getSenders()
      .find(({ track }) => track?.kind === 'video')
      ?.replaceTrack(null);
  });

for (const engine of ['webrtcbin', 'direct']) {
  test(`${engine}: the last picture stays, and who comes meanwhile gets it`, async (t) => {
    const server = await Server.start(['--demo', 'false', '--webrtc.publisher_engine', engine]);
    t.after(() => server.stop());
    const browser = await openBrowser(t);
    const studio = await browser.page();
    await studio.goto(`${server.origin}/publish`); // only this one may use the camera
    await publishes(studio, `${server.origin}/whip/pause`, { width: 320, height: 180 });
    await server.live('pause');
    const early = await browser.page();
    await early.goto(`${server.origin}/watch/pause`);
    await plays(early);
    await switchOff(studio);
    await until(async () => {
      const { frames } = await played(early);
      await sleep(500);
      return (await played(early)).frames === frames;
    }, 'the picture to pause');
    const late = await browser.page();
    await late.goto(`${server.origin}/watch/pause`);
    await plays(late, 'who comes late to see the picture');
    for (let second = 0; second < PAUSE_SECONDS; second += 1) {
      await sleep(1_000);
      for (const page of [early, late]) assert.equal((await played(page)).state, 'live');
    }
    for (const page of [early, late]) {
      await page.locator('#stalled:not([hidden])').waitFor();
      assert.equal((await played(page)).state, 'live');
    }
  });
}

/**
 * A page of another site, which knows of the broadcasts only what its players know.
 * @param {import('./harness.js').Context} t
 */
async function elsewhere(t) {
  const pages = createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html').end('<!doctype html>');
  }).listen(0, '127.0.0.1');
  await once(pages, 'listening');
  t.after(() => pages.close());
  return `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (pages.address()).port}`;
}

/**
 * In the page: publishes slides without sound. They change soon until `slower` is called.
 * @param {{origin: string, broadcasts: string[], time: number}} plan
 */
async function presents({ origin, broadcasts, time }) {
  const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 180 });
  const context = canvas.getContext('2d');
  /** @type {any} A CanvasCaptureMediaStreamTrack. */
  const track = canvas.captureStream(0).getVideoTracks()[0];
  let slide = 0;
  const next = () => {
    slide += 1;
    context.fillStyle = `hsl(${slide * 40} 80% 50%)`;
    context.fillRect(0, 0, canvas.width, canvas.height);
    track.requestFrame();
  };
  let timer = setInterval(next, 200);
  window.slower = () => {
    clearInterval(timer);
    timer = setInterval(next, time);
  };
  window.peers = [];
  for (const broadcast of broadcasts) {
    const peer = new RTCPeerConnection();
    window.peers.push(peer);
    peer.addTransceiver(track, { direction: 'sendonly' });
    await peer.setLocalDescription();
    const headers = { 'content-type': 'application/sdp' };
    const body = peer.localDescription?.sdp;
    const reply = await fetch(`${origin}/whip/${broadcast}`, { method: 'POST', headers, body });
    await peer.setRemoteDescription({ type: 'answer', sdp: await reply.text() });
  }
}

test('between slides without sound a player stays live, on any page', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'aerial-slides-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const config = path.join(folder, 'aerial.toml');
  await writeFile(config, ENGINES);
  const server = await Server.start(['--config', config]);
  t.after(() => server.stop());
  const { origin } = server;
  const browser = await openBrowser(t);
  const studio = await browser.page();
  await studio.goto(`${origin}/publish`);
  await studio.evaluate(presents, { origin, broadcasts: BROADCASTS, time: SLIDE_TIME });
  await Promise.all(BROADCASTS.map((broadcast) => server.live(broadcast)));
  const page = await browser.page();
  await page.goto(await elsewhere(t));
  await page.evaluate(
    async ({ origin, broadcasts }) => {
      await import(`${origin}/js/v1/player.js`);
      window.states = [];
      for (const broadcast of broadcasts) {
        const player = document.createElement('aerial-player');
        Object.assign(player, { muted: true, src: `${origin}/whep/${broadcast}` });
        player.addEventListener('statechange', (/** @type {any} */ { detail }) =>
          window.states.push(`${broadcast}: ${detail.state}`),
        );
        document.body.append(player);
      }
    },
    { origin, broadcasts: BROADCASTS },
  );
  /** @returns {Promise<{states: string[], frames: number[]}>} What has happened, and what has been decoded. */
  const watched = () =>
    page.evaluate(async () => {
      const players = [...document.querySelectorAll('aerial-player')];
      const decoded = players.map(async ({ client }) => {
        let frames = 0;
        (await client?.peer?.getStats())?.forEach((report) => (frames += report.framesDecoded ?? 0));
        return frames;
      });
      return { states: window.states, frames: await Promise.all(decoded) };
    });
  await until(async () => {
    const { states } = await watched();
    return BROADCASTS.every((broadcast) => states.includes(`${broadcast}: live`));
  }, 'every player to be live');
  await studio.evaluate(() => window.slower());
  const before = await watched();
  await sleep(SLIDE_TIME * (SLIDES + 0.5));
  const after = await watched();
  assert.deepEqual(after.states, before.states, 'nothing has happened');
  for (const [index, broadcast] of BROADCASTS.entries()) {
    const seen = after.frames[index] - before.frames[index];
    assert.ok(seen >= SLIDES && seen <= SLIDES + 3, `${broadcast}: ${seen} slides`);
  }
});
