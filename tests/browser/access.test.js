/** Keyboard, screen reader, and that the pages are there at all on a desk and on a phone. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { Server, openBrowser, screenshot, test } from './harness.js';
import { PAGES, openPage } from './pages.js';

const SCREENS = { desktop: { width: 1280, height: 800 }, phone: { width: 375, height: 812 } };

/** @type {Server} */
let server;
before(async () => {
  server = await Server.start();
  await server.live('demo');
});
after(() => server?.stop());

/**
 * Everything that users can operate, inside the player too, with its name for screen readers.
 * @param {import('playwright-core').Page} page
 */
function controls(page) {
  return page.evaluate(() => {
    const roots = [document, ...[...document.querySelectorAll('aerial-player')].map((player) => player.shadowRoot)];
    return roots
      .flatMap((root) => [
        .../** @type {NodeListOf<HTMLInputElement>} */ (
          root.querySelectorAll(
            'button, input, select, textarea, summary, a[href], [role=button], [role=meter], [tabindex]',
          )
        ),
      ])
      .filter((element) => element.checkVisibility({ opacityProperty: false, visibilityProperty: true }))
      .map((element) => ({
        what: `${element.localName}#${element.id}.${element.className}`,
        name: (
          element.getAttribute('aria-label') ??
          ([...(element.labels ?? [])].map((label) => label.textContent).join(' ') || element.textContent) ??
          ''
        ).trim(),
        stop:
          element.matches('button:not(:disabled), input:not(:disabled), select:not(:disabled), summary, a[href]') &&
          element.tabIndex >= 0 &&
          element.type !== 'radio',
      }));
  });
}

/** Pages work under the strictest useful policy, whichever the server sends. @param {import('playwright-core').Route} route */
async function forbidInline(route) {
  if (route.request().resourceType() !== 'document') return route.fallback();
  const response = await route.fetch();
  return route.fulfill({
    response,
    headers: { ...response.headers(), 'content-security-policy': "default-src 'self'" },
  });
}

/** How many places the Tab key stops at in one round. @param {import('playwright-core').Page} page */
async function tabStops(page) {
  const seen = new Set();
  for (let press = 0; press < 60; press += 1) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      let active = document.activeElement;
      while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
      if (!active || active === document.body) return '';
      /** @type {Set<Element>} */
      const stops = Reflect.get(window, 'stops') ?? new Set();
      Object.assign(window, { stops });
      if (stops.has(active)) return null; // the round is over
      stops.add(active);
      const visible =
        getComputedStyle(active).outlineStyle !== 'none' ||
        active.matches('input[type=radio]') ||
        active.closest('.card') !== null;
      return `${active.localName}#${active.id}.${active.className}|${active.getAttribute('aria-label') ?? active.textContent?.trim().slice(0, 20)}|${visible}`;
    });
    if (at === null) break;
    if (at) seen.add(at);
  }
  return [...seen];
}

for (const name of Object.keys(PAGES)) {
  test(`${name}: everything has a name and the Tab key reaches it with a visible focus`, async (t) => {
    const browser = await openBrowser(t);
    const page = await browser.page();
    await page.route('**', forbidInline);
    await openPage(page, server.origin, name);
    const found = await controls(page);
    assert.ok(found.length > 0);
    assert.deepEqual(
      found.filter((control) => control.name === ''),
      [],
      'controls without a name',
    );
    const stops = await tabStops(page);
    const expected = found.filter(({ stop }) => stop);
    assert.ok(
      stops.length >= expected.length,
      `${stops.length} stops for ${expected.length} controls:\n${stops.join('\n')}\nof\n${expected.map(({ what }) => what).join('\n')}`,
    );
    assert.deepEqual(
      stops.filter((stop) => stop.endsWith('|false')),
      [],
      'focus that cannot be seen',
    );
    assert.equal(await page.locator('html').getAttribute('lang'), 'en');
    assert.ok((await page.title()).length > 5);
    if (name !== 'embed') assert.equal(await page.locator('h1:visible').count(), 1, 'one heading');
    assert.equal(
      (await page.locator('[role=status]').count()) > 0 ||
        (await page.locator('aerial-player').count()) > 0 ||
        ['naming', 'missing'].includes(name),
      true,
    );
    assert.deepEqual(browser.faults, []);
  });
}

for (const [screen, viewport] of Object.entries(SCREENS)) {
  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    test(`${screen}, ${colorScheme}: pages are not blank and not wider than the screen`, async (t) => {
      const browser = await openBrowser(t, undefined, { viewport, colorScheme, reducedMotion: 'reduce' });
      const blank = await browser.page();
      for (const name of Object.keys(PAGES)) {
        const page = await browser.page();
        await openPage(page, server.origin, name);
        const picture = await screenshot(page, `${name}-${screen}-${colorScheme}`);
        const colours = await blank.evaluate(countColours, picture.toString('base64'));
        assert.ok(colours > 12, `${name} shows only ${colours} colours`);
        const [wide, ground] = await page.evaluate(() => [
          document.documentElement.scrollWidth,
          getComputedStyle(document.body).backgroundColor,
        ]);
        assert.ok(wide <= viewport.width, `${name} is ${wide} pixels wide`);
        if (name === 'index') assert.equal(ground, colorScheme === 'dark' ? 'rgb(11, 14, 20)' : 'rgb(245, 246, 248)');
        await page.close();
      }
    });
  }
}

/** In the page: how many different colours a picture has. @param {string} base64 */
async function countColours(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
  const canvas = new OffscreenCanvas(200, 200);
  const context = canvas.getContext('2d');
  context.drawImage(bitmap, 0, 0, 200, 200);
  const { data } = context.getImageData(0, 0, 200, 200);
  const colours = new Set();
  for (let at = 0; at < data.length; at += 4)
    colours.add(((data[at] >> 3) << 10) | ((data[at + 1] >> 3) << 5) | (data[at + 2] >> 3));
  return colours.size;
}
