/** A browser that publishes learns how much the way to the server takes. */

import assert from 'node:assert/strict';
import { demandingCamera } from './camera.js';
import { AUTOPLAY, Server, onAir, openBrowser, sleep, test, until } from './harness.js';
import { publishes } from './media.js';
import { Relay, through } from './relay.js';

/** What a browser without feedback has not reached after 15 s, in bit/s. */
const ESTIMATE = 1_500_000;
/** It is there after a second or two; this is for machines with a lot else to do, in milliseconds. */
const PATIENCE = 15_000;
/** As fast as a camera. */
const CAMERA = ['--use-fake-device-for-media-stream=fps=30', '--use-fake-ui-for-media-stream', ...AUTOPLAY];
/** A line that takes what a page sends at most, but loses some of it. */
const LOSSY = { rate: 3_000_000, loss: 0.02, queue: 200, delay: 20 };
/** What a publisher takes this line for, at least, and what gets through of its picture, in bit/s. */
const HELD = { estimate: 1_800_000, picture: 1_500_000 };
const TRANSPORT_CC = 'draft-holmer-rmcat-transport-wide-cc-extensions-01';

/** @param {import('playwright-core').Page} page */
const estimate = (page) =>
  page.evaluate(async () => {
    const peer = /** @type {RTCPeerConnection} */ (Reflect.get(window, 'peer'));
    let estimate = 0;
    (await peer.getStats()).forEach((report) => {
      if (report.type === 'candidate-pair') estimate = Math.max(estimate, report.availableOutgoingBitrate ?? 0);
    });
    return estimate;
  });

/**
 * What a page sends: the height of its picture, the encoder's rate in bit/s, and the bytes so far.
 * @param {import('playwright-core').Page} page
 * @returns {Promise<{height: number, rate: number, bytes: number}>}
 */
const sent = (page) =>
  page.evaluate(async () => {
    const peer = /** @type {RTCPeerConnection|undefined} */ (Reflect.get(window, 'peer'));
    const sent = { height: 0, rate: 0, bytes: 0 };
    (await peer?.getStats())?.forEach((report) => {
      if (report.type !== 'outbound-rtp' || report.kind !== 'video') return;
      sent.height = report.frameHeight ?? 0;
      sent.rate = report.targetBitrate ?? 0;
      sent.bytes = report.bytesSent ?? 0;
    });
    return sent;
  });

/** Keeps the page's peer connection where {@link sent} finds it. @param {import('playwright-core').Page} page */
const keepPeer = (page) =>
  page.addInitScript(() => {
    window.RTCPeerConnection = class extends RTCPeerConnection {
      /** @param {RTCConfiguration} [configuration] */
      constructor(configuration) {
        super(configuration);
        Object.assign(window, { peer: this });
      }
    };
  });

/**
 * Begins to publish with the page of the server.
 * @param {import('playwright-core').Page} page
 * @param {string} url
 */
async function goLive(page, url) {
  await keepPeer(page);
  await page.goto(url);
  await page.locator('#go:enabled').click();
  await onAir(page);
}

for (const engine of /** @type {const} */ (['webrtcbin', 'direct'])) {
  test(`${engine}: feedback lets a publisher's estimate grow`, async (t) => {
    const server = await Server.start(['--demo', 'false', '--webrtc.publisher_engine', engine]);
    t.after(() => server.stop());
    const browser = await openBrowser(t, CAMERA);
    const page = await browser.page();
    await page.goto(`${server.origin}/publish`); // only this one may use the camera
    const answer = await publishes(page, `${server.origin}/whip/estimate`, { width: 1280, height: 720, frameRate: 30 });
    const sections = answer.split('\r\nm=').slice(1);
    assert.equal(sections.length, 2);
    for (const section of sections) {
      assert.match(section, new RegExp(`\\r\\na=extmap:\\d+ http://www.ietf.org/id/${TRANSPORT_CC}\\r\\n`));
      assert.match(section, /\r\na=rtcp-fb:\d+ transport-cc\r\n/);
    }
    await server.live('estimate');
    await until(async () => (await estimate(page)) > ESTIMATE, 'the estimate to grow', PATIENCE);
    // Chromium has halved the picture for each frame that came before the connection was up: one or two.
    await until(async () => (await sent(page)).height >= 540, 'a picture of 540 lines', 10_000);
  });

  test(`${engine}: the page sends 720p at 2 Mb/s within 5 s`, async (t) => {
    const server = await Server.start(['--demo', 'false', '--webrtc.publisher_engine', engine]);
    t.after(() => server.stop());
    const browser = await openBrowser(t, CAMERA);
    const page = await browser.page();
    await goLive(page, `${server.origin}/publish/fast`);
    const heights = new Set();
    const full = async () => {
      const { height, rate } = await sent(page);
      if (height > 0) heights.add(height);
      return height === 720 && rate >= 2_000_000;
    };
    await until(full, '720p at 2 Mb/s', 5_000);
    assert.deepEqual([...heights], [720], 'no smaller picture before');
  });

  test(`${engine}: a publisher that is asked for less sends less, and stays`, async (t) => {
    const limit = 500; // kbit/s, in all
    const server = await Server.start([
      '--demo',
      'false',
      '--webrtc.publisher_engine',
      engine,
      '--limits.publisher_bitrate',
      `${limit}`,
    ]);
    t.after(() => server.stop());
    const browser = await openBrowser(t, await demandingCamera(t, 1280, 720));
    const page = await browser.page();
    await goLive(page, `${server.origin}/publish/modest`);
    await until(async () => (await sent(page)).rate > limit * 1000, 'more than the limit', PATIENCE);
    await until(async () => (await sent(page)).rate < limit * 1000, 'less than the limit', PATIENCE);
    // Longer than a publisher that does not listen may stay.
    await sleep(7_000);
    assert.equal((await server.json('/api/broadcasts/modest')).state, 'live');
    const { rate } = await sent(page);
    t.diagnostic(`${Math.round(rate / 1000)} kbit/s`);
    assert.ok(rate > 0 && rate < limit * 1000, `${rate} bit/s`);
  });

  test(`${engine}: a lossy line of 3 Mb/s is held without oscillation`, async (t) => {
    const server = await Server.start(['--demo', 'false', '--webrtc.publisher_engine', engine]);
    t.after(() => server.stop());
    // Small, so that the encoder keeps up on any machine: what it cannot spend, no estimate is for.
    const browser = await openBrowser(t, await demandingCamera(t, 640, 360));
    const page = await browser.page();
    const relay = await Relay.start(LOSSY);
    t.after(() => relay.stop());
    await through(page, relay);
    await goLive(page, `${server.origin}/publish/lossy`);
    await until(async () => (await estimate(page)) >= HELD.estimate, 'the estimate to grow', PATIENCE);
    await sleep(1_000); // the encoder follows
    const before = { bytes: (await sent(page)).bytes, at: performance.now() };
    // Not the encoder's rate: Chromium lowers that by as much as its encoder exceeds it.
    /** @type {number[]} */
    const estimates = [];
    for (let sample = 0; sample < 16; sample += 1) {
      estimates.push(Math.min(await estimate(page), LOSSY.rate));
      await sleep(500);
    }
    const picture = (((await sent(page)).bytes - before.bytes) * 8_000) / (performance.now() - before.at);
    const kilobits = estimates.map((rate) => Math.round(rate / 1000)).join(' ');
    t.diagnostic(`${kilobits}; picture ${Math.round(picture / 1000)} kbit/s`);
    const [least, most] = [Math.min(...estimates), Math.max(...estimates)];
    assert.ok(least >= HELD.estimate, `${least} bit/s`);
    assert.ok(picture >= HELD.picture, `${picture} bit/s`);
    assert.ok(most <= least * 1.5, `${least} to ${most} bit/s`);
    // One may be the line's own: the queue has been full.
    const falls = estimates.filter((rate, at) => rate < (estimates[at - 1] ?? 0) * 0.8);
    assert.ok(falls.length <= 1, `fell to ${falls} bit/s`);
    assert.ok(relay.counts.lost > 20, 'it was lossy');
  });
}
