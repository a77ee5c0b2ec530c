/** Bad networks: what Chromium decodes when it, or the publisher, is behind a relay that loses and delays. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { AUTOPLAY, Server, openBrowser, sleep, test, until } from './harness.js';
import { keepsDecoding, played, plays } from './media.js';
import { Relay, through } from './relay.js';

let server;
before(async () => {
  server = await Server.start();
  await server.live('demo');
});
after(() => server?.stop());

/** Opens the demo behind a relay. */
async function watching(t, path) {
  const relay = await Relay.start(path);
  t.after(() => relay.stop());
  const browser = await openBrowser(t, AUTOPLAY);
  const page = await browser.page();
  await through(page, relay);
  await page.goto(`${server.origin}/watch/demo`);
  await plays(page);
  return { relay, page };
}

/** Frames decoded, freezes and losses of a page within some seconds. */
async function figures(page, seconds) {
  const read = () => page.evaluate(async () => {
    const player = document.querySelector('aerial-player');
    let video = {};
    (await player.client.peer.getStats()).forEach((report) => {
      if (report.type === 'inbound-rtp' && report.kind === 'video') video = { ...report };
    });
    return video;
  });
  const from = await read();
  await sleep(seconds * 1000);
  const to = await read();
  const since = (name) => (to[name] ?? 0) - (from[name] ?? 0);
  return {
    fps: since('framesDecoded') / ((to.timestamp - from.timestamp) / 1000),
    freezes: since('freezeCount'), frozen: since('totalFreezesDuration'),
    nacks: since('nackCount'), plis: since('pliCount'), again: since('retransmittedPacketsReceived'), lost: since('packetsLost'),
  };
}

for (const [name, path] of Object.entries({
  '5 % loss and 50 ms round trip': { loss: 0.05, delay: 25 },
  '10 % loss in bursts of 5': { loss: 0.1, burst: 5, delay: 10 },
  'reordering, duplicates and jitter': { reorder: 0.05, duplicate: 0.05, delay: 40, jitter: 10 },
})) {
  test(`${name}: what is lost comes again`, async (t) => {
    const { relay, page } = await watching(t, path);
    const result = await figures(page, 10);
    t.diagnostic(`${JSON.stringify(result)} ${JSON.stringify(relay.counts)}`);
    assert.ok(result.fps > 15, `${result.fps} frames a second decoded`);
    if (path.loss) assert.ok(result.again > 0, 'packets came again');
  });
}

for (const engine of ['webrtcbin', 'direct']) {
  test(`a publisher on ${engine} that loses 5 % at 50 ms round trip is seen whole`, async (t) => {
    const server = await Server.start(['--demo', 'false', '--webrtc.publisher_engine', engine]);
    t.after(() => server.stop());
    const relay = await Relay.start({ loss: 0.05, delay: 25 });
    t.after(() => relay.stop());
    const studio = await (await openBrowser(t)).page();
    await through(studio, relay);
    await studio.goto(`${server.origin}/publish/far`);
    await studio.getByLabel('Quality').selectOption('480p');
    await studio.getByRole('button', { name: 'Go live' }).click();
    await studio.getByText('You are live.').waitFor();
    const viewer = await (await openBrowser(t, AUTOPLAY)).page();
    await viewer.goto(`${server.origin}/watch/far`);
    await plays(viewer);
    const result = await figures(viewer, 10);
    t.diagnostic(`${JSON.stringify(result)} ${JSON.stringify(relay.counts)}`);
    assert.ok(relay.counts.lost > 20, 'the relay loses');
    assert.ok(result.fps > 5, `${result.fps} frames a second decoded`);
  });
}

test('after a blackout of 5 s the same session plays again', async (t) => {
  const { relay, page } = await watching(t, { delay: 10 });
  await page.evaluate(() => { window.firstPeer = document.querySelector('aerial-player').client.peer; });
  relay.blackout = true;
  await sleep(5_000);
  const before = (await played(page)).frames;
  relay.blackout = false;
  const from = Date.now();
  await until(async () => (await played(page)).frames > before + 10, 'the picture to go on', 10_000);
  t.diagnostic(`playing again after ${Date.now() - from} ms`);
  assert.ok(await page.evaluate(() => window.firstPeer === document.querySelector('aerial-player').client.peer), 'the same session');
});

test('a changed address of the client is followed', async (t) => {
  const { relay, page } = await watching(t, {});
  relay.rebind();
  await sleep(1_000);
  await keepsDecoding(page, { seconds: 3 });
});
