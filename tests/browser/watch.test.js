/** The page `/watch/{name}`, on the demo broadcast. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before } from 'node:test';
import { AUTOPLAY, Server, openBrowser, screenshot, test, until } from './harness.js';
import { keepsDecoding, played, plays, playsWhole } from './media.js';

/** @type {Server} */
let server;
before(async () => {
  server = await Server.start();
  await server.live('demo');
});
after(() => server?.stop());

test('the demo plays: picture moves, sound is heard, both in step', async (t) => {
  const browser = await openBrowser(t, AUTOPLAY);
  const page = await browser.page();
  await playsWhole(t, page, `${server.origin}/watch/demo`);
  await page.locator('#badge.live').waitFor();
  await page.locator('#viewers', { hasText: /[1-9]/ }).waitFor();
  await screenshot(page, 'watch-demo');
  assert.deepEqual(browser.faults, []);
});

test('the server notices when a viewer leaves', async (t) => {
  const browser = await openBrowser(t, AUTOPLAY);
  const page = await browser.page();
  const viewers = async () => (await server.json('/api/broadcasts/demo')).viewers;
  const before = await viewers();
  await page.goto(`${server.origin}/watch/demo`);
  await plays(page);
  await until(async () => (await viewers()) > before, 'the viewer to be counted');
  await page.goto('about:blank');
  await until(async () => (await viewers()) <= before, 'the viewer to be gone', 5_000);
});

test('if the browser insists, playback starts silently and one tap turns on the sound', async (t) => {
  const browser = await openBrowser(t, ['--autoplay-policy=document-user-activation-required']);
  const page = await browser.page();
  // To Chromium, each look into a page by Playwright is a user's gesture: it must not come before the page has tried.
  await page.addInitScript(() => {
    const { play } = HTMLMediaElement.prototype;
    HTMLMediaElement.prototype.play = function tried() {
      const playing = play.call(this);
      const tell = () => console.log('tried to play');
      playing.then(tell, tell);
      return playing;
    };
  });
  const tried = page.waitForEvent('console', (message) => message.text() === 'tried to play');
  await page.goto(`${server.origin}/watch/demo`);
  await tried;
  const tap = page.locator('aerial-player button.sound');
  await tap.waitFor();
  await plays(page);
  assert.equal(await page.evaluate(() => document.querySelector('aerial-player').video.muted), true);
  await keepsDecoding(page);
  await screenshot(page, 'watch-tap-for-sound');
  await tap.click();
  await tap.waitFor({ state: 'hidden' });
  assert.deepEqual(
    await page.evaluate(() => {
      const { muted, paused } = document.querySelector('aerial-player').video;
      return { muted, paused };
    }),
    { muted: false, paused: false },
  );
});

test('keys: i shows figures, m mutes, space pauses', async (t) => {
  const browser = await openBrowser(t, AUTOPLAY);
  const page = await browser.page();
  await page.goto(`${server.origin}/watch/demo`);
  await plays(page);
  await page.keyboard.press('i');
  const figures = await until(async () => {
    const text = await page.locator('aerial-player .stats').innerText();
    return / fps/.test(text) && /b\/s/.test(text) && / ms/.test(text) && text;
  }, 'figures');
  assert.match(figures, /\d{3,4} × \d{3,4}/);
  await screenshot(page, 'watch-figures');
  const video = () =>
    page.evaluate(() => {
      const { muted, paused } = document.querySelector('aerial-player').video;
      return { muted, paused };
    });
  await page.keyboard.press('m');
  assert.equal((await video()).muted, true);
  await page.keyboard.press('m');
  assert.equal((await video()).muted, false);
  await page.keyboard.press('Space');
  assert.equal((await video()).paused, true);
  await page.keyboard.press('Space');
  await until(async () => !(await video()).paused, 'play to go on');
});

test('a frame and an element of another origin play too', async (t) => {
  const embedder = createServer((_request, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end(`<!doctype html><title>Somebody's page</title>
      <iframe src="${server.origin}/watch/demo?embed=1" width="640" height="360" allow="autoplay"></iframe>
      <script type="module" src="${server.origin}/js/player.js"></script>
      <aerial-player src="${server.origin}/whep/demo"></aerial-player>`);
  }).listen(0, '127.0.0.1');
  t.after(() => embedder.close());
  await once(embedder, 'listening');
  const browser = await openBrowser(t, AUTOPLAY);
  const page = await browser.page();
  await page.goto(`http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (embedder.address()).port}/`);
  await plays(page, 'the element of another origin');
  const frame = page.frames().find((each) => each.url().includes('/watch/demo'));
  await until(() => frame.evaluate(() => document.querySelector('aerial-player').state === 'live'), 'the frame');
  assert.equal(await frame.locator('header').isVisible(), false);
});

test('a viewer reconnects by itself after losing its connection', async (t) => {
  const browser = await openBrowser(t, AUTOPLAY);
  const page = await browser.page();
  await page.goto(`${server.origin}/watch/demo`);
  await plays(page);
  const lost = await page.evaluate(() => {
    const { client } = document.querySelector('aerial-player');
    window.states = [];
    client.addEventListener('statechange', (event) => {
      window.states.push(/** @type {CustomEvent} */ (event).detail.state);
    });
    const { peer } = client;
    peer.close(); // what a broken network looks like from above
    return peer.connectionState;
  });
  assert.equal(lost, 'closed');
  await until(async () => (await page.evaluate(() => window.states)).includes('offline'), 'the loss to be noticed');
  await plays(page, 'the player to come back');
  await keepsDecoding(page, { seconds: 1 });
  assert.equal((await played(page)).state, 'live');
});
