/** The page `/watch/{name}` with viewers on webrtcbin. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { AUTOPLAY, Server, openBrowser, test, until } from './harness.js';
import { playsWhole } from './media.js';

/** @type {Server} */
let server;
before(async () => {
  server = await Server.start(['--webrtc.viewer_engine', 'webrtcbin']);
  await server.live('demo');
});
after(() => server?.stop());

test('webrtcbin: picture moves, sound is heard, both in step, and the end is noticed', async (t) => {
  const browser = await openBrowser(t, AUTOPLAY);
  const page = await browser.page();
  await playsWhole(t, page, `${server.origin}/watch/demo`);
  const viewers = async () => (await server.json('/api/broadcasts/demo')).viewers;
  assert.equal(await viewers(), 1);
  await page.goto('about:blank');
  await until(async () => (await viewers()) === 0, 'the viewer to be gone', 5_000);
  assert.deepEqual(browser.faults, []);
});
