/** Chromium keeps watching on one connection while the publisher leaves, the slate appears and the publisher returns. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before } from 'node:test';
import { Server, openBrowser, test, until } from './harness.js';
import { decodesMore, played, plays } from './media.js';

/** @type {Server} */
let server;
/** @type {string} */
let folder;
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'aerial-slate-'));
  const config = path.join(folder, 'aerial.toml');
  await writeFile(config, '[defaults]\nslate = "demo.launch"\ntranscode_heavy = true\n');
  server = await Server.start(['--config', config, '--timeouts.grace', '500ms']);
});
after(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

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

for (const codec of ['h264', 'vp8', 'vp9', 'av1']) {
  test(`${codec}: the picture goes on from the publisher to the slate and back`, async (t) => {
    const broadcast = `slate-${codec}`;
    const browser = await openBrowser(t);
    const goLive = async () => {
      const studio = await browser.page();
      await studio.goto(`${server.origin}/publish/${broadcast}`);
      await studio.evaluate(publish, [`/whip/${broadcast}`, codec]);
      await server.live(broadcast);
      return studio;
    };
    const studio = await goLive();
    const viewer = await browser.page();
    await viewer.goto(`${server.origin}/watch/${broadcast}`);
    await plays(viewer);
    await decodesMore(viewer);
    await viewer.evaluate(() => {
      window.firstPeer = document.querySelector('aerial-player').client.peer;
    });
    await studio.close();
    const state = async () => (await server.json(`/api/broadcasts/${broadcast}`)).state;
    await until(async () => (await state()) === 'slate', 'the slate');
    await until(async () => (await played(viewer)).width === 1280, 'the size of the slate');
    await decodesMore(viewer);
    await viewer.locator('#badge.slate').waitFor();
    await goLive();
    await until(async () => (await played(viewer)).width === 320, 'the size of the publisher');
    await decodesMore(viewer);
    assert.equal((await played(viewer)).codec, `video/${codec.toUpperCase()}`);
    assert.ok(
      await viewer.evaluate(() => window.firstPeer === document.querySelector('aerial-player').client.peer),
      'one connection',
    );
    assert.deepEqual(browser.faults, []);
  });
}
