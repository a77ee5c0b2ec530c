/** Bad networks: what Chromium decodes when it, or the publisher, is behind a relay that loses and delays. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before } from 'node:test';
import { AUTOPLAY, Server, onAir, openBrowser, sleep, test, until } from './harness.js';
import { keepsDecoding, played, plays } from './media.js';
import { Relay, through } from './relay.js';

/** Milliseconds that many viewers may take on a busy machine. */
const PATIENCE = 60_000;

/** Many viewers at once need small pictures. */
const BROADCASTS = `
  [broadcasts.demo]
  source = "demo.launch"
  [broadcasts.small]
  source = "demo.launch"
  vars = { width = "320", height = "180", bitrate = "500" }
`;

/** @type {string} */
let folder;
/** @type {Server} */
let server;
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'aerial-network-'));
  const config = path.join(folder, 'aerial.toml');
  await writeFile(config, BROADCASTS);
  server = await Server.start(['--config', config]);
  await server.live('demo');
  await server.live('small');
});
after(async () => {
  await server?.stop();
  await rm(folder, { recursive: true });
});

/**
 * Opens the demo behind a relay.
 * @param {import('node:test').TestContext} t
 * @param {import('./relay.js').Path} network
 */
async function watching(t, network) {
  const relay = await Relay.start(network);
  t.after(() => relay.stop());
  const browser = await openBrowser(t, AUTOPLAY);
  const page = await browser.page();
  await through(page, relay);
  await page.goto(`${server.origin}/watch/demo`);
  await plays(page);
  return { relay, page };
}

/**
 * A page's decoded frames, freezes and losses within some seconds.
 * @param {import('playwright-core').Page} page
 * @param {number} seconds
 */
async function figures(page, seconds) {
  const read = () =>
    page.evaluate(async () => {
      const player = document.querySelector('aerial-player');
      /** @type {Record<string, number>} */
      let video = {};
      (await player.client.peer.getStats()).forEach((report) => {
        if (report.type === 'inbound-rtp' && report.kind === 'video') video = { ...report };
      });
      return video;
    });
  const from = await read();
  await sleep(seconds * 1000);
  const to = await read();
  const since = (/** @type {string} */ name) => (to[name] ?? 0) - (from[name] ?? 0);
  return {
    fps: since('framesDecoded') / ((to.timestamp - from.timestamp) / 1000),
    freezes: since('freezeCount'),
    frozen: since('totalFreezesDuration'),
    nacks: since('nackCount'),
    plis: since('pliCount'),
    again: since('retransmittedPacketsReceived'),
    lost: since('packetsLost'),
  };
}

/**
 * The networks of viewers that watch at the same time.
 * @type {Record<string, import('./relay.js').Path>}
 */
const PATHS = {
  '1 % loss': { loss: 0.01, delay: 25 },
  '3 % loss': { loss: 0.03, delay: 25 },
  '5 % loss': { loss: 0.05, delay: 25 },
  '10 % loss': { loss: 0.1, delay: 25 },
  '10 % loss in bursts of 5': { loss: 0.1, burst: 5, delay: 10 },
  '20 ms of delay': { delay: 20 },
  '200 ms of delay': { delay: 200 },
  'jitter': { delay: 20, jitter: 60 },
  'reordering': { delay: 40, reorder: 0.05 },
  'duplicates': { delay: 10, duplicate: 0.1 },
  'all of it': { loss: 0.05, delay: 40, jitter: 20, reorder: 0.05, duplicate: 0.05 },
};

test('on every bad network pictures go on, and what is lost comes again', async (t) => {
  const relays = await Promise.all(Object.values(PATHS).map((network) => Relay.start(network)));
  t.after(() => relays.forEach((relay) => relay.stop()));
  const page = await (await openBrowser(t, AUTOPLAY)).page();
  await through(page, ...relays);
  await page.goto(server.origin);
  await page.evaluate(watchAll, relays.length);
  const begun = await until(
    async () => {
      const all = await page.evaluate(readAll);
      return all.every(({ frames }) => frames > 0) && all;
    },
    'all to play',
    PATIENCE,
  );
  const ended = await until(
    async () => {
      const all = await page.evaluate(readAll);
      return all.every(({ frames }, index) => frames > begun[index].frames + 150) && all;
    },
    '150 more frames behind each relay',
    PATIENCE,
  );
  Object.entries(PATHS).forEach(([name, { loss = 0 }], index) => {
    const { connections, again, ...rest } = ended[index];
    t.diagnostic(`${name}: ${JSON.stringify({ again, ...rest, ...relays[index].counts })}`);
    assert.equal(connections, 1, `${name}: the same session`);
    if (loss > 0.02) assert.ok(again > 0, `${name}: packets came again`);
  });
});

/** In the page: a viewer behind each relay. @param {number} count */
async function watchAll(count) {
  const { WhepClient } = await import('/js/whep.js');
  window.clients = Array.from({ length: count }, (_, relay) => {
    const video = Object.assign(document.createElement('video'), { muted: true, autoplay: true });
    const client = Object.assign(new WhepClient('/whep/small', { video }), { connections: 0 });
    client.prepare = (peer) => {
      peer.relay = relay;
      client.connections += 1;
      WhepClient.prototype.prepare.call(client, peer);
    };
    client.start();
    return client;
  });
}

/** In the page: what each of them has got so far. */
function readAll() {
  return Promise.all(
    window.clients.map(async (client) => {
      const figures = { state: client.state, connections: client.connections, frames: 0, nacks: 0, plis: 0, again: 0 };
      (await client.peer?.getStats())?.forEach((report) => {
        if (report.type !== 'inbound-rtp' || report.kind !== 'video') return;
        const { framesDecoded, nackCount, pliCount, retransmittedPacketsReceived } = report;
        Object.assign(figures, {
          frames: framesDecoded,
          nacks: nackCount,
          plis: pliCount,
          again: retransmittedPacketsReceived ?? 0,
        });
      });
      return figures;
    }),
  );
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
    await studio.locator('#quality').selectOption('480p');
    await studio.locator('#go').click();
    await onAir(studio);
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
  await page.evaluate(() => {
    window.firstPeer = document.querySelector('aerial-player').client.peer;
  });
  relay.blackout = true;
  await sleep(5_000);
  const before = (await played(page)).frames;
  relay.blackout = false;
  const from = Date.now();
  await until(async () => (await played(page)).frames > before + 10, 'the picture to go on', 10_000);
  t.diagnostic(`playing again after ${Date.now() - from} ms`);
  assert.ok(
    await page.evaluate(() => window.firstPeer === document.querySelector('aerial-player').client.peer),
    'the same session',
  );
});

test('a changed address of the client is followed', async (t) => {
  const { relay, page } = await watching(t, {});
  relay.rebind();
  await sleep(1_000);
  await keepsDecoding(page, { seconds: 3 });
});
