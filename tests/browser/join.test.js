/** What a viewer that joins between two keyframes sees if these are far apart. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AUTOPLAY, Server, openBrowser, sleep, test, until } from './harness.js';

/** A group of pictures lasts almost as long as the server keeps. */
const GROUP = 290;
/** Three seconds of pictures that come before the live one, and are not seen. */
const LONG = 90;

/** Counts the pictures that could be seen. @param {import('playwright-core').Page} page */
const countSeen = (page) =>
  page.addInitScript(() => {
    Object.assign(window, { seen: 0 });
    const timer = setInterval(() => {
      const player = document.querySelector('aerial-player');
      const cover = player?.shadowRoot?.querySelector('[part=cover]');
      if (!player?.video || !(cover instanceof HTMLElement)) return;
      clearInterval(timer);
      const note = () => {
        if (cover.hidden === true) Object.assign(window, { seen: Reflect.get(window, 'seen') + 1 });
        player.video.requestVideoFrameCallback(note);
      };
      player.video.requestVideoFrameCallback(note);
    }, 1);
  });

test('who joins late in a long group of pictures sees only what is live', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'aerial-join-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const config = path.join(folder, 'aerial.toml');
  await writeFile(config, `[broadcasts.long]\nsource = "demo.launch"\nvars = { gop = "${GROUP}" }\n`);
  const server = await Server.start(['--config', config, '--demo', 'false']);
  t.after(() => server.stop());
  await server.live('long');
  const browser = await openBrowser(t, AUTOPLAY);
  const page = await browser.page();
  await countSeen(page);
  // A viewer that comes early in a group has nothing to catch up with.
  for (let attempt = 0; attempt < 5; attempt += 1) {
    await sleep(4_000);
    await page.goto(`${server.origin}/watch/long`);
    await until(() => page.evaluate(() => Reflect.get(window, 'seen') > 0), 'a picture');
    const decoded = await page.evaluate(async () => {
      let frames = 0;
      (await document.querySelector('aerial-player').client.peer.getStats()).forEach((report) => {
        if (report.type === 'inbound-rtp' && report.kind === 'video') frames = report.framesDecoded;
      });
      return frames;
    });
    t.diagnostic(`${decoded} pictures decoded when the first was seen`);
    // Without that, it is one of the first.
    if (decoded >= LONG) return;
  }
  assert.fail('pictures of before are seen');
});
