/** Firefox publishes and watches. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { SYSTEM_H264, openFirefox } from './firefox.js';
import { AUTOPLAY, Server, openBrowser, test, until } from './harness.js';
import { played, plays, seenAndHeard } from './media.js';
import { textOf } from './texts.js';

/** @type {Server} */
let server;
before(async () => {
  server = await Server.start();
});
after(() => server?.stop());

/**
 * A page's button that says this.
 * @param {import('puppeteer-core').Page} page
 * @param {string} words
 */
const button = (page, words) => page.locator(`::-p-aria(${words}[role="button"])`);

test('Firefox: what its publish page sends plays in Firefox and in Chromium, until it stops', async (t) => {
  const firefox = await openFirefox(t);
  const studio = await firefox.page();
  await studio.goto(`${server.origin}/publish/fox`);
  await studio.select('#quality', '360p');
  await button(studio, textOf('publish-go')).click();
  await server.live('fox');
  const { tracks } = await server.json('/api/broadcasts/fox');
  assert.deepEqual(
    tracks.map((/** @type {{codec: string}} */ { codec }) => codec),
    ['vp8', 'opus'],
  );

  const chromium = await openBrowser(t, AUTOPLAY);
  const viewers = [await firefox.page(), await chromium.page()];
  for (const viewer of viewers) {
    await viewer.goto(`${server.origin}/watch/fox`);
    await plays(viewer);
    await seenAndHeard(viewer);
    assert.equal((await played(viewer)).codec, 'video/VP8');
  }
  await button(studio, textOf('publish-stop')).click();
  for (const viewer of viewers) {
    await until(async () => (await played(viewer)).state !== 'live', 'the viewer to notice');
  }
});

test('Firefox: H264 plays', async (t) => {
  const firefox = await openFirefox(t, SYSTEM_H264);
  await server.live('demo');
  const viewer = await firefox.page();
  await viewer.goto(`${server.origin}/watch/demo`);
  await plays(viewer);
  await seenAndHeard(viewer);
  assert.equal((await played(viewer)).codec, 'video/H264');
});
