/** The operator's page: on the public port with a token, and on the operator's own port. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before } from 'node:test';
import { AUTOPLAY, Server, assertAccessible, openBrowser, screenshot, test, until } from './harness.js';
import { plays } from './media.js';
import { textOf } from './texts.js';

const TOKEN = 'operator-secret-1';
const CONFIG = `
[[auth.tokens]]
token = "${TOKEN}"
admin = true

[broadcasts.demo]
source = "demo.launch"
renditions = ["h264-small.launch"]
`;

/** @type {Server} */
let server;
/** @type {string} */
let folder;
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'aerial-admin-'));
  const file = path.join(folder, 'aerial.toml');
  await writeFile(file, CONFIG);
  server = await Server.start(['--config', file]);
  await server.live('demo');
});
after(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** What the server says of the demo's pipeline. @param {string} part */
async function property(part) {
  const headers = { Authorization: `Bearer ${TOKEN}` };
  const response = await fetch(`${server.origin}/api/broadcasts/demo/pipelines/demo/properties`, { headers });
  const { properties } = await response.json();
  return properties.find((/** @type {{name: string}} */ { name }) => name === part).value;
}

test('the operator sees the server, adjusts a pipeline, and ends a session', async (t) => {
  const viewer = await (await openBrowser(t, AUTOPLAY)).page();
  await viewer.goto(`${server.origin}/watch/demo`);
  await plays(viewer);
  const browser = await openBrowser(t, undefined, { viewport: { width: 1440, height: 900 } });
  const page = await browser.page();
  await page.goto(`${server.origin}/admin`);
  const field = page.locator('#token');
  await field.fill('wrong');
  await field.press('Enter');
  await page.locator('.token[data-reason=unauthorized]').waitFor();
  await assertAccessible(page, 'token');
  await field.fill(TOKEN);
  await field.press('Enter');

  /** Lists of sessions that the page has asked for. @type {string[]} */
  const asked = [];
  page.on('request', (request) => {
    if (request.url().includes('/sessions')) asked.push(new URL(request.url()).search);
  });
  const strip = page.locator('#strip');
  await strip.locator('dd', { hasText: /^\d+ MB/ }).waitFor();
  const row = page.locator('#rows > li', { hasText: 'demo' });
  await row.locator('.facts', { hasText: /1280 × 720 30 fps · [\d.]+ [Mk]b\/s · 1 / }).waitFor();
  assert.deepEqual([...new Set(asked)], ['?role=publisher'], 'nobody sees the viewers of a closed row');
  await row.locator('summary').first().click();
  const session = row.locator('.sessions li', { hasText: `${textOf('admin-viewer')} · 127.0.0.1` });
  await session.waitFor();
  await session.locator('select').selectOption('h264-small');
  await session.locator('.muted', { hasText: 'h264-small' }).waitFor();
  assert.equal(await session.locator('select').inputValue(), 'h264-small');

  const pipeline = row.locator('.pipelines > li', {
    hasText: `${textOf('admin-source')} · ${textOf('admin-pipeline-running')}`,
  });
  const slider = pipeline.locator('input[type=range]');
  await slider.fill('1500');
  await until(async () => (await property('encoder.bitrate')) === 1500, 'the bitrate');
  await pipeline.locator('input[type=text]').fill('Hello');
  await pipeline.locator('input[type=text]').press('Enter');
  await until(async () => (await property('title.text')) === 'Hello', 'the title');
  await pipeline.locator('button', { hasText: textOf('admin-keyframe') }).click();
  await pipeline.locator('[role=status]', { hasText: textOf('admin-keyframe-done') }).waitFor();
  await pipeline.locator('summary', { hasText: textOf('admin-graph') }).click();
  await until(
    () => pipeline.locator('img').evaluate((image) => /** @type {HTMLImageElement} */ (image).naturalWidth > 300),
    'the graph',
  );
  await assertAccessible(page, 'an open broadcast');
  await page.evaluate(() => scrollTo(0, 0));
  await screenshot(page, 'admin');

  const first = await viewer.evaluate(() => document.querySelector('aerial-player').client.sessionUrl);
  await session.locator('button', { hasText: textOf('admin-kick') }).click();
  await until(
    () => viewer.evaluate((first) => document.querySelector('aerial-player').client?.sessionUrl !== first, first),
    'the session to end',
  );
  assert.deepEqual(browser.faults, []);
});

test('a phone shows it, in Korean too', async (t) => {
  for (const locale of ['en-US', 'ko-KR']) {
    const browser = await openBrowser(t, undefined, {
      viewport: { width: 390, height: 844 },
      locale,
      colorScheme: 'dark',
    });
    const page = await browser.page();
    await page.goto(`${server.origin}/admin?token=${TOKEN}`);
    await page.locator('#rows summary').first().click();
    assert.equal(new URL(page.url()).search, '', 'the token is not in the address');
    await page.locator('.pipelines input[type=range]').first().waitFor();
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= 390, `${wide} pixels wide`);
    assert.equal(/[가-힣]{2}/.test((await page.locator('main').innerText()) ?? ''), locale === 'ko-KR');
    await assertAccessible(page, locale);
    await screenshot(page, `admin-phone-${locale}`);
  }
});

test("the operator's own port has the page, with the link that the server logs", async (t) => {
  const own = await Server.start(['--admin.listen', '127.0.0.1:0']);
  t.after(() => own.stop());
  const link = await until(() => /admin=(http:\S+token=[0-9a-f]+)/.exec(own.log)?.[1], 'the link');
  const page = await (await openBrowser(t)).page();
  await page.goto(link);
  await page.locator('#rows > li', { hasText: 'demo' }).waitFor();
  assert.equal((await fetch(new URL('/', link))).status, 404, 'the other pages are not there');
});
