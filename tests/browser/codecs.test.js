/** Every codec that a browser offers, from its publisher to its viewer, on the engines that are not the default. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { openFirefox } from './firefox.js';
import { Server, openBrowser, test } from './harness.js';
import { decodesMore, played, plays } from './media.js';

/** @type {Server} */
let server;
before(async () => {
  server = await Server.start([
    ...['--demo', 'false'],
    ...['--webrtc.publisher_engine', 'direct', '--webrtc.viewer_engine', 'webrtcbin'],
  ]);
});
after(() => server?.stop());

/**
 * Publishes and watches in one browser, with one codec after the other.
 * @template {import('./page.d.ts').AnyPage & {goto: (url: string) => Promise<unknown>, close: () => Promise<void>}} Page
 * @param {{page: () => Promise<Page>}} browser
 * @param {string} name
 * @param {string[]} codecs
 */
async function carries(browser, name, codecs) {
  for (const codec of codecs) {
    const broadcast = `${name}-${codec}`;
    const studio = await browser.page();
    await studio.goto(`${server.origin}/publish/${broadcast}`);
    await studio.evaluate(publish, [`/whip/${broadcast}`, codec]);
    await server.live(broadcast);
    const { tracks } = await server.json(`/api/broadcasts/${broadcast}`);
    assert.deepEqual(
      tracks.map((/** @type {{codec: string}} */ track) => track.codec),
      [codec, 'opus'],
    );
    const viewer = await browser.page();
    await viewer.goto(`${server.origin}/watch/${broadcast}`);
    await plays(viewer);
    await decodesMore(viewer);
    assert.equal((await played(viewer)).codec, `video/${codec.toUpperCase()}`);
    await viewer.close();
    await studio.close();
  }
}

/**
 * In the page: publishes a small picture and a tone.
 * @param {string[]} what URL and codec.
 */
async function publish([url, codec]) {
  const { WhipClient } = await import('/js/whip.js');
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 180 }, audio: true });
  window.client = new WhipClient(url, stream, { codecs: [codec], maxHeight: 180 });
  window.client.start();
}

test('Chromium: H264, VP8, VP9 and AV1', async (t) => {
  await carries(await openBrowser(t), 'chromium', ['h264', 'vp8', 'vp9', 'av1']);
});

// Without H264: Debian's Firefox has none until it has downloaded OpenH264.
test('Firefox: VP8, VP9 and AV1', async (t) => {
  await carries(await openFirefox(t), 'firefox', ['vp8', 'vp9', 'av1']);
});
