/** The page `/`. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { Server, assertAccessible, openBrowser, screenshot, test, until } from './harness.js';
import { textOf } from './texts.js';

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

test('a long list is searched, filtered and ordered', async (t) => {
  const browser = await openBrowser(t);
  const page = await browser.page();
  /** @param {string} name @param {number} viewers @param {string} started @param {string} [kind] */
  const live = (name, viewers, started, kind = 'video') => {
    const tracks = [{ kind, codec: kind === 'video' ? 'h264' : 'opus' }];
    return { name, state: 'live', viewers, started: `2026-01-0${started}T00:00:00Z`, source: 'whip', tracks };
  };
  const broadcasts = [
    ...[live('alpha', 1, '1'), live('beta', 9, '2'), live('radio-one', 4, '3', 'audio'), live('cam10', 2, '4')],
    ...[
      live('cam9', 3, '5'),
      live('zeta', 0, '6'),
      { ...live('later', 0, '7'), state: 'waiting', started: null, tracks: [] },
    ],
  ];
  // The page has a stream of its own, with what the test says.
  await page.addInitScript(() => Reflect.deleteProperty(window, 'SharedWorker'));
  await page.route('**/api/events*', (route) =>
    route.fulfill({
      contentType: 'text/event-stream',
      body: `event: broadcasts\ndata: ${JSON.stringify({ broadcasts })}\n\n`,
    }),
  );
  await page.goto(server.origin);
  const shown = () =>
    page.locator('.card').evaluateAll((cards) =>
      cards
        .filter((card) => card.checkVisibility())
        .map((card) => card.getAttribute('data-name'))
        .join(' '),
    );
  const shows = (/** @type {string} */ expected) => until(async () => (await shown()) === expected, expected, 5_000);
  await shows('beta radio-one cam9 cam10 alpha zeta later');
  await page.locator('#order').selectOption('name');
  await shows('alpha beta cam9 cam10 later radio-one zeta');
  await page.locator('#order').selectOption('newest');
  await shows('zeta cam9 cam10 radio-one beta alpha later');
  await page.locator('#search').fill('CAM');
  await shows('cam9 cam10');
  assert.equal(await page.locator('#summary').innerText(), textOf('list-found', { count: 2 }));
  await page.locator('#search').fill('');
  await page.locator('#filter').selectOption('sound');
  await shows('radio-one');
  await page.locator('#filter').selectOption('picture');
  await shows('zeta cam9 cam10 beta alpha');
  await assertAccessible(page);
  await screenshot(page, 'index-finding');
  await page.setViewportSize({ width: 390, height: 844 });
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 390);
  await page.reload();
  await shows('zeta cam9 cam10 radio-one beta alpha later'); // the order is remembered
});
