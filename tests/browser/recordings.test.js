/** The operator's page of recordings: they are played, downloaded and deleted. */

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before } from 'node:test';
import { AUTOPLAY, Server, assertAccessible, openBrowser, screenshot, test, until } from './harness.js';
import { koreanOf, textOf } from './texts.js';

const TOKEN = 'operator-secret-1';
const CONFIG = `
[[auth.tokens]]
token = "${TOKEN}"
admin = true

[broadcasts.demo]
source = "demo.launch"
`;

/** @type {Server} */
let server;
/** @type {string} */
let folder;
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'aerial-recordings-'));
  const file = path.join(folder, 'aerial.toml');
  await writeFile(file, CONFIG);
  await mkdir(path.join(folder, 'kept'));
  server = await Server.start(['--config', file, '--recordings.directory', path.join(folder, 'kept')]);
  await server.live('demo');
});
after(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** @param {string} output @param {boolean} running */
async function record(output, running) {
  const response = await fetch(`${server.origin}/api/v1/broadcasts/demo/outputs/${output}`, {
    method: 'PATCH',
    headers: { 'Authorization': `Bearer ${TOKEN}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ running }),
  });
  assert.equal(response.status, 200);
}

test('the operator plays, downloads and deletes a recording', async (t) => {
  const browser = await openBrowser(t, AUTOPLAY, { viewport: { width: 1440, height: 900 } });
  const page = await browser.page();
  await page.goto(`${server.origin}/admin?token=${TOKEN}`);
  await page.locator('#recordings').click();
  await page.locator('#none').waitFor();
  await assertAccessible(page, 'no recordings');
  await record('record-mp4', true);
  await page.waitForTimeout(4000);
  await page.reload();
  const row = page.locator('#rows > li', { hasText: 'demo' });
  await row.locator('.badge').waitFor();
  assert.equal(await row.locator('button', { hasText: textOf('recordings-delete') }).isDisabled(), true);
  await record('record-mp4', false);
  await until(async () => {
    await page.reload();
    await row.waitFor();
    return row.locator('button', { hasText: textOf('recordings-delete') }).isEnabled();
  }, 'the end of the recording');
  await row.locator('.facts', { hasText: `h264 1280 × 720 · ${textOf('recordings-parts', { count: 1 })}` }).waitFor();
  await row.locator('button', { hasText: textOf('recordings-play') }).click();
  await until(
    () =>
      row
        .locator('video')
        .evaluate(
          (video) =>
            /** @type {HTMLVideoElement} */ (video).videoWidth === 1280 &&
            /** @type {HTMLVideoElement} */ (video).currentTime > 0.5,
        ),
    'the picture',
  );
  await assertAccessible(page, 'a recording');
  await screenshot(page, 'recordings');
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    row.locator('a', { hasText: textOf('recordings-download') }).click(),
  ]);
  const [name] = await readdir(path.join(folder, 'kept'));
  assert.equal(download.suggestedFilename(), name);
  const saved = await stat(await download.path());
  assert.equal(saved.size, (await stat(path.join(folder, 'kept', name))).size);
  await row.locator('button', { hasText: textOf('recordings-delete') }).click();
  await row.locator('button', { hasText: textOf('recordings-delete-sure') }).click();
  await page.locator('#none').waitFor();
  assert.deepEqual(await readdir(path.join(folder, 'kept')), []);
  assert.deepEqual(browser.faults, []);
});

test('a phone shows it in Korean', async (t) => {
  const browser = await openBrowser(t, undefined, {
    viewport: { width: 390, height: 844 },
    locale: 'ko-KR',
    colorScheme: 'dark',
  });
  await writeFile(path.join(folder, 'kept', 'demo-20260101T120000Z.mkv'), 'x');
  const page = await browser.page();
  await page.goto(`${server.origin}/admin/recordings?token=${TOKEN}`);
  await page.locator('#rows > li', { hasText: 'demo' }).waitFor();
  await page.locator('h1', { hasText: koreanOf('recordings-title') }).waitFor();
  await assertAccessible(page, 'a phone');
  const { width, inner } = await page.evaluate(() => ({
    width: document.documentElement.scrollWidth,
    inner: innerWidth,
  }));
  assert.ok(width <= inner, `${width} in ${inner}`);
  await screenshot(page, 'recordings-phone');
  assert.deepEqual(browser.faults, []);
});
