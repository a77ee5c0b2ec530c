/** The page `/`. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { Server, openBrowser, screenshot, test } from './harness.js';

/** @type {Server} */
let server;
before(async () => {
  server = await Server.start();
});
after(() => server?.stop());

test('the list shows the demo and updates itself', async (t) => {
  await server.live('demo');
  const browser = await openBrowser(t);
  const list = await browser.page();
  await list.goto(server.origin);
  const demo = list.locator('.card[data-name=demo]');
  await demo.locator('.badge.live').waitFor();
  assert.equal(await demo.locator('a').getAttribute('href'), `${server.origin}/watch/demo`);

  // A new broadcast appears, its viewers are counted, and it disappears again, without a reload.
  await list.evaluate(() => {
    window.notReloaded = true;
  });
  const studio = await browser.page();
  await studio.goto(`${server.origin}/publish/extra`);
  await studio.locator('#go').click();
  const extra = list.locator('.card[data-name=extra]');
  await extra.locator('.badge.live').waitFor();
  const viewer = await browser.page();
  await viewer.goto(`${server.origin}/watch/extra`);
  await extra.locator('.count', { hasText: '1' }).waitFor();
  await screenshot(list, 'index');
  await viewer.close();
  await extra.locator('.count', { hasText: '0' }).waitFor();
  await studio.locator('#go.stop').click();
  await list.locator('.card[data-name=extra] .badge.live').waitFor({ state: 'detached' });
  assert.equal(await list.evaluate(() => window.notReloaded), true);
  assert.deepEqual(browser.faults, []);
});

test('the go-live box checks the name and knows the OBS settings', async (t) => {
  const browser = await openBrowser(t);
  const page = await browser.page();
  await page.goto(server.origin);
  // A name that nobody else has copied.
  assert.match(await page.locator('#obs-server').innerText(), /\/whip\/live-\d{4}$/);
  const name = page.locator('#name');
  await name.fill('not a name');
  assert.equal(await name.getAttribute('aria-invalid'), 'true');
  await name.fill('my-show');
  assert.equal(await page.locator('#obs-server').innerText(), `${server.origin}/whip/my-show`);
  await name.press('Enter');
  await page.waitForURL('**/publish/my-show');
  assert.deepEqual(browser.faults, []);
});
