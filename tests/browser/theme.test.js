/** What an operator makes of the pages: name, texts, logo, colour; and what is said about broadcasts. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before } from 'node:test';
import { Server, assertAccessible, openBrowser, screenshot, test } from './harness.js';

const NAME = 'Kanal <b>9</b> & "Söhne"';
/** Too light for a light page, and too dark for none. */
const ACCENT = '#ffd400';
const LOGO = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 20"><script>window.ran = true</script>
  <rect width="40" height="20" rx="4" fill="#0a5"/></svg>`;
const TITLE = 'Die <i>Probe</i> & "mehr"';
const CONFIG = `
[broadcasts.demo]
source = "demo.launch"
title = ${JSON.stringify(TITLE)}
description = "A test picture, with a clock"
tags = ["test", "Bild & Ton"]
`;
const PAGES = ['/', '/watch/demo', '/watch/a+b', '/publish/look', '/publish/look/obs', '/nothing/here', '/api/docs'];

/** @type {Server} */
let server;
/** @type {string} */
let folder;
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'aerial-theme-'));
  const logo = path.join(folder, 'logo.svg');
  await writeFile(logo, LOGO);
  const file = path.join(folder, 'aerial.toml');
  await writeFile(file, CONFIG);
  server = await Server.start([
    ...['--config', file],
    ...['--site.name', NAME, '--site.description', 'Live from "here"', '--site.footer', 'Imprint: <here>'],
    ...['--site.logo', logo, '--site.accent', ACCENT],
  ]);
  await server.live('demo');
});
after(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
  test(`${colorScheme}: every page has the operator's name, logo and colour, and can be read`, async (t) => {
    const browser = await openBrowser(t, undefined, { colorScheme, reducedMotion: 'reduce' });
    const page = await browser.page();
    for (const route of PAGES) {
      await page.goto(server.origin + route);
      await page.locator('.brand').waitFor();
      assert.equal((await page.locator('.brand').innerText()).trim(), NAME, route);
      assert.ok((await page.title()).includes(NAME), `${route}: ${await page.title()}`);
      const { accent, written, ran } = await page.evaluate(() => ({
        accent: getComputedStyle(document.documentElement).getPropertyValue('--accent'),
        written: document.querySelectorAll('.brand b').length,
        ran: 'ran' in window,
      }));
      assert.equal(accent === ACCENT, colorScheme === 'dark', `${route}: ${accent}`);
      assert.deepEqual({ written, ran }, { written: 0, ran: false }, route);
      await assertAccessible(page, route);
      if (route === '/api/docs') continue;
      const width = await page.locator('.brand img').evaluate((image) => {
        const { naturalWidth } = /** @type {HTMLImageElement} */ (image);
        return naturalWidth;
      });
      assert.ok(width > 0, `${route}: the logo is not shown`);
      assert.match(await page.locator('.foot').innerText(), /Imprint: <here>/, route);
    }
    await page.goto(server.origin);
    await screenshot(page, `theme-${colorScheme}`);
    assert.deepEqual(browser.faults, []);
  });
}

test('others show the name and the description, and nothing of it becomes markup', async () => {
  const text = async (/** @type {string} */ route) => (await fetch(server.origin + route)).text();
  const page = await text('/');
  assert.match(page, /og:site_name" content="Kanal &lt;b&gt;9&lt;\/b&gt; &amp; &quot;Söhne&quot;"/);
  assert.match(page, /og:description" content="Live from &quot;here&quot;"/);
  assert.match(page, /rel="icon" href="\.\/site\/logo"/);
  const watch = await text('/watch/demo');
  assert.match(watch, /og:title" content="Die &lt;i&gt;Probe&lt;\/i&gt; &amp; &quot;mehr&quot;"/);
  assert.match(watch, /og:description" content="A test picture, with a clock"/);
  const manifest = JSON.parse(await text('/manifest.webmanifest'));
  assert.equal(manifest.name, NAME);
  const embed = await server.json(`/oembed?url=${encodeURIComponent(`${server.origin}/watch/demo`)}`);
  assert.equal(embed.provider_name, NAME);
  const logo = await fetch(`${server.origin}/site/logo`);
  assert.equal(logo.headers.get('content-type'), 'image/svg+xml');
  assert.match(logo.headers.get('content-security-policy') ?? '', /default-src 'none'.*sandbox/);
  assert.equal((await fetch(`${server.origin}/site/other`)).status, 404);
});

test('a broadcast has its title, description and tags in the list and on its page', async (t) => {
  const browser = await openBrowser(t, undefined, { reducedMotion: 'reduce' });
  const page = await browser.page();
  await page.goto(server.origin);
  const card = page.locator('.card[data-name=demo]');
  assert.equal(await card.locator('a').innerText(), TITLE);
  assert.deepEqual(await card.locator('.tags li').allInnerTexts(), ['test', 'Bild & Ton']);
  await screenshot(page, 'index-about');
  await card.locator('a').click();
  await page.locator('h1', { hasText: TITLE }).waitFor();
  await page.locator('#description', { hasText: 'with a clock' }).waitFor();
  assert.deepEqual(await page.locator('#tags li').allInnerTexts(), ['test', 'Bild & Ton']);
  assert.ok((await page.title()).startsWith(TITLE));
  await assertAccessible(page);
  await screenshot(page, 'watch-about');
});
