/** The tools of the player, several players at once, and the assistant for OBS. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { AUTOPLAY, Server, openBrowser, screenshot, test, until } from './harness.js';
import { plays } from './media.js';
import { textOf } from './texts.js';

/** @type {Server} */
let server;
before(async () => {
  server = await Server.start();
  await server.live('demo');
});
after(() => server?.stop());

test('paused, theatre, screenshot, figures to copy, keys, and the system', async (t) => {
  const browser = await openBrowser(t, AUTOPLAY, { permissions: ['clipboard-read', 'clipboard-write'] });
  const page = await browser.page();
  await page.goto(`${server.origin}/watch/demo`);
  await plays(page);
  await page.keyboard.press('Space');
  const cover = page.locator('aerial-player .cover:not(.sound-only)');
  await cover.getByText(textOf('player-behind', { count: 1 })).waitFor();
  await screenshot(page, 'watch-paused');
  await cover.getByText(textOf('player-back')).click();
  await until(() => page.evaluate(() => !document.querySelector('aerial-player').paused), 'play to go on');
  assert.equal(await cover.isVisible(), false);

  await page.keyboard.press('t');
  await page.locator('html.theatre').waitFor({ state: 'attached' });
  const { width } = await page.locator('aerial-player').boundingBox();
  assert.equal(width, 1_280);
  await screenshot(page, 'watch-theatre');
  await page.keyboard.press('t');

  const download = page.waitForEvent('download');
  await page.keyboard.press('s');
  assert.match((await download).suggestedFilename(), /^demo .*\.png$/);

  await page.keyboard.press('?');
  await page.locator('aerial-player .keys', { hasText: textOf('player-screenshot') }).waitFor();
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('aerial-player .keys').isVisible(), false);

  await page.keyboard.press('i');
  const stats = page.locator('aerial-player .stats');
  await stats.getByText('fps').waitFor();
  await until(async () => (await stats.locator('path[d*=L]').count()) === 6, 'six lines');
  await stats
    .locator('.plots div', { hasText: textOf('stats-delay') })
    .getByText(/\d ms/)
    .waitFor();
  await screenshot(page, 'watch-plots');
  await stats.locator('button').click();
  const copied = JSON.parse(await page.evaluate(() => navigator.clipboard.readText()));
  assert.equal(copied.video.codec, 'H264');
  assert.ok(
    copied.lastMinute.bitrate.some((/** @type {number|null} */ value) => value > 0),
    JSON.stringify(copied),
  );
  assert.match(await page.locator('aerial-player .chip.live').innerText(), /\s\d+ ms$/);
  await page.keyboard.press('Escape');
  assert.equal(await stats.isVisible(), false);

  const system = await page.evaluate(() => [
    navigator.mediaSession.metadata?.title,
    navigator.mediaSession.playbackState,
  ]);
  assert.deepEqual(system, ['demo', 'playing']);
  assert.deepEqual(browser.faults, []);
});

test('the menu of qualities asks for renditions and layers', async (t) => {
  const browser = await openBrowser(t, AUTOPLAY);
  const page = await browser.page();
  // A page of somebody else: on the watch page, the server's news would come in between.
  await page.goto(`${server.origin}/healthz`);
  await page.evaluate(async (origin) => {
    const module = `${origin}/js/player.js`;
    await import(module);
    const player = document.createElement('aerial-player');
    player.src = '/whep/demo';
    document.body.append(player);
  }, server.origin);
  await plays(page);
  const offer = (/** @type {object} */ what) =>
    page.evaluate((what) => {
      const player = document.querySelector('aerial-player');
      player.broadcast = /** @type {any} */ ({ state: 'live', tracks: [], ...what });
    }, what);
  const button = page.locator('aerial-player .bar button[aria-label=Quality]');
  assert.equal(await button.isVisible(), false, 'nothing to choose');
  await offer({ renditions: [{ name: '360p', kind: 'video', codec: 'h264', viewers: 0 }] });
  await button.click();
  await screenshot(page, 'watch-quality');
  const asked = page.waitForRequest((request) => request.method() === 'POST');
  await page.locator('aerial-player .menu').getByText('360p', { exact: true }).click();
  assert.equal(new URL((await asked).url()).searchParams.get('rendition'), '360p');
  // The server has no such rendition.
  await plays(page, 'the automatic quality');

  await offer({ renditions: [], tracks: [{ kind: 'video', codec: 'h264', layers: ['high', 'low'] }] });
  await button.click();
  const layer = page.waitForRequest((request) => request.url().endsWith('/layer'));
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  assert.deepEqual((await layer).postDataJSON(), { mediaId: '0', rid: 'low' });
  // Back to what the server chooses: the menu says so at once, whatever arrives in the meantime.
  await button.click();
  await page.locator('aerial-player .menu button').first().click();
  await offer({ renditions: [], tracks: [{ kind: 'video', codec: 'h264', layers: ['high', 'low', 'tiny'] }] });
  await button.click();
  assert.match(
    await page.locator('aerial-player .menu [aria-checked=true]').innerText(),
    new RegExp(`^${textOf('player-auto')}`),
  );
  assert.equal(await page.evaluate(() => document.querySelector('aerial-player').quality.layer), '');
});

test('several broadcasts at once, one with sound', async (t) => {
  const browser = await openBrowser(t, AUTOPLAY);
  const page = await browser.page();
  await page.goto(`${server.origin}/watch/demo+nobody`);
  await plays(page, 'the first tile');
  const muted = () =>
    page.evaluate(() => [...document.querySelectorAll('aerial-player')].map((player) => player.video.muted));
  assert.deepEqual(await muted(), [true, true]);
  await page.locator('.tile .hear').first().click();
  assert.deepEqual(await muted(), [false, true]);
  await page.locator('.tile .hear').last().click();
  assert.deepEqual(await muted(), [true, false]);
  await screenshot(page, 'several');
  assert.deepEqual(browser.faults, []);
});

test('several broadcasts are chosen from the list', async (t) => {
  const page = await (await openBrowser(t)).page();
  const broadcasts = ['a', 'b'].map((name) => ({
    name,
    state: 'live',
    viewers: 0,
    started: '',
    tracks: [{ kind: 'video', codec: 'h264' }],
  }));
  await page.addInitScript(() => {
    /** @type {any} */ (window).SharedWorker = undefined;
  });
  await page.route('**/api/events', (route) =>
    route.fulfill({
      contentType: 'text/event-stream',
      body: `event: broadcasts\ndata: ${JSON.stringify({ broadcasts })}\n\n`,
    }),
  );
  await page.goto(server.origin);
  await page.locator('#several').click();
  for (const name of ['a', 'b']) await page.locator(`.card[data-name=${name}] input`).check();
  await screenshot(page, 'index-choosing');
  await page.locator('#choosing-go', { hasText: textOf('list-several-go', { count: 2 }) }).click();
  await page.waitForURL(`${server.origin}/watch/a+b`);
});

test('the assistant for OBS says what arrives', async (t) => {
  const page = await (await openBrowser(t, AUTOPLAY)).page();
  await page.goto(`${server.origin}/publish/demo/obs`);
  assert.equal(await page.locator('#server').innerText(), `${server.origin}/whip/demo`);
  assert.match(await page.locator('#ffmpeg').innerText(), /-f whip http.*\/whip\/demo$/);
  await page.locator('#state.good').waitFor();
  await page.locator('.finding[data-what=size]', { hasText: /\d{3,4} × \d{3,4}/ }).waitFor();
  await page.locator('.finding[data-what=keyframes]', { hasText: / s$/m }).waitFor();
  await screenshot(page, 'obs');
});
