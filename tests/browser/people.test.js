/** The pages for people: languages, screens, accessibility, and what goes wrong. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { AUTOPLAY, Server, assertAccessible, openBrowser, screenshot, test, until } from './harness.js';
import { plays } from './media.js';
import { PAGES, openPage } from './pages.js';
import { koreanOf, textOf } from './texts.js';

/** Names, which are the same in every language. */
const EQUAL = new Set(['OBS Studio', 'Aerial']);
const SIDE = { width: 844, height: 390 };
const LONG = 'a-name-that-is-longer-than-any-phone-is-wide-but-still-legal.yes';

/** @type {Server} */
let server;
before(async () => {
  server = await Server.start();
  await server.live('demo');
});
after(() => server?.stop());

/** @param {import('playwright-core').Page} page @param {string} route */
async function open(page, route) {
  await page.goto(server.origin + route);
  await page.locator('html.ready').waitFor({ state: 'attached' });
}

test('no text of a Korean page is the English one', async (t) => {
  const shown = async (/** @type {string} */ locale) => {
    const page = await (await openBrowser(t, undefined, { locale })).page();
    /** @type {Record<string, string>} By page and key. */
    const texts = {};
    for (const [name, route] of Object.entries(PAGES)) {
      await open(page, route);
      const found = await page
        .locator('[data-t]')
        .evaluateAll((elements) =>
          elements.map((element) => [element.getAttribute('data-t'), element.textContent?.trim()]),
        );
      for (const [key, text] of found) texts[`${name} ${key}`] = text ?? '';
    }
    return texts;
  };
  const [english, korean] = [await shown('en-US'), await shown('ko-KR')];
  assert.ok(Object.keys(english).length > 50);
  const same = Object.entries(korean).filter(([place, text]) => /[A-Za-z]/.test(text) && text === english[place]);
  const unexpected = same.filter(([, text]) => !EQUAL.has(text));
  assert.deepEqual(unexpected, []);
});

for (const locale of ['en-US', 'ko-KR']) {
  test(`${locale}: every page is in this language and accessible`, async (t) => {
    const browser = await openBrowser(t, undefined, { locale, reducedMotion: 'reduce' });
    const page = await browser.page();
    for (const name of Object.keys(PAGES)) {
      await openPage(page, server.origin, name);
      assert.equal(await page.locator('html').getAttribute('lang'), locale.slice(0, 2));
      const text = await page.locator('body').innerText();
      if (name !== 'embed') assert.equal(/[가-힣]{2}/.test(text.replace('한국어', '')), locale === 'ko-KR', name);
      await assertAccessible(page, name);
    }
    assert.deepEqual(browser.faults, []);
  });
}

test('states of the player are accessible: figures, keys, token, failure, share sheet', async (t) => {
  const browser = await openBrowser(t, AUTOPLAY, { reducedMotion: 'reduce' });
  const page = await browser.page();
  await open(page, '/watch/demo');
  await plays(page);
  await page.keyboard.press('i');
  await page.keyboard.press('?');
  await assertAccessible(page, 'figures and keys');
  await page.keyboard.press('Escape');
  await page.locator('#share').click();
  await page.locator('#share-qr svg').waitFor();
  await page.locator('#share-bare').check();
  assert.match(await page.locator('#snippet-frame').innerText(), /watch\/demo\?embed=1&amp;controls=off/);
  await assertAccessible(page, 'share sheet');
  await screenshot(page, 'share');
  for (const [status, type] of /** @type {const} */ ([
    [401, 'token-missing'],
    [403, 'token-insufficient'],
    [503, 'full'],
  ])) {
    await page.route('**/whep/demo', (route) =>
      route.fulfill({
        status: status === 503 ? 400 : status,
        contentType: 'application/problem+json',
        body: JSON.stringify({ type: `urn:aerial:problem:${type}` }),
      }),
    );
    await open(page, '/watch/demo');
    await page.locator('aerial-player .cover[data-state=failed]').waitFor();
    await assertAccessible(page, type);
    await page.unrouteAll();
  }
  assert.equal(
    await page.locator('aerial-player .cover:not(.sound-only) .hint').first().innerText(),
    textOf('problem-full'),
  );
});

test('the code for pages keeps the name of the broadcast', async (t) => {
  const page = await (await openBrowser(t)).page();
  await open(page, '/watch/dividend');
  await page.locator('#share').click();
  const snippet = await page.locator('#snippet-element').innerText();
  assert.match(snippet, /<aerial-player src="[^"]*\/whep\/dividend" label="dividend"><\/aerial-player>$/);
});

test('the language can be chosen, and stays', async (t) => {
  const page = await (await openBrowser(t)).page();
  await open(page, '/');
  await page.locator('select[data-languages]').selectOption('ko');
  await page.locator('h1', { hasText: koreanOf('list-title') }).waitFor();
  await open(page, '/watch/nobody');
  await page.locator('aerial-player .title', { hasText: textOf('player-waiting', { name: 'nobody' }, 'ko') }).waitFor();
  await open(page, '/watch/nobody?lang=en');
  await page.locator('aerial-player .title', { hasText: textOf('player-waiting', { name: 'nobody' }) }).waitFor();
});

test('more than six tabs of a browser hear from the server', async (t) => {
  const { context } = await openBrowser(t);
  const tabs = [];
  for (let tab = 0; tab < 9; tab += 1) {
    const page = await context.newPage();
    await open(page, tab % 2 ? '/watch/demo?muted=1' : '/');
    tabs.push(page);
  }
  for (const page of tabs) {
    const news = page.locator('.card[data-name=demo] .badge.live, #viewers:not([hidden])');
    await news.first().waitFor();
  }
});

test('a wrong address leads people somewhere', async (t) => {
  const page = await (await openBrowser(t)).page();
  await page.goto(`${server.origin}/demo`);
  assert.equal(page.url(), `${server.origin}/watch/demo`);
  await page.goto(`${server.origin}/watch/demo/`);
  assert.equal(page.url(), `${server.origin}/watch/demo`);
  await open(page, '/no/such/page');
  await page.locator('.lost a').click();
  await page.waitForURL(`${server.origin}/`);
});

test('a phone on its side has the picture and the buttons in sight, and long names fit', async (t) => {
  const browser = await openBrowser(t, undefined, { viewport: SIDE });
  const page = await browser.page();
  await open(page, '/watch/demo');
  const player = await page.locator('aerial-player').boundingBox();
  assert.ok(player.width > 550 && player.y + player.height <= SIDE.height, JSON.stringify(player));
  await open(page, `/publish/${LONG}`);
  const go = await page.locator('#go').boundingBox();
  assert.ok(go.y + go.height <= SIDE.height, JSON.stringify(go));
  const over = await page.locator('.choice > div').evaluate((choices) => choices.scrollWidth - choices.clientWidth);
  assert.ok(over <= 0, `the choices are ${over} pixels too wide`);
  for (const width of [320, 390]) {
    await page.setViewportSize({ width, height: 844 });
    for (const route of [`/publish/${LONG}`, `/watch/${LONG}`, `/publish/${LONG}/obs`]) {
      await open(page, route);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `${route} is ${wide} pixels wide on ${width}`);
    }
  }
  await open(page, '/');
  await page.locator('.head a.primary').click();
  await page.waitForURL('**/publish/');
  assert.match(await page.locator('#name').inputValue(), /^live-\d{4}$/);
});

test('waiting makes no failed requests, and the player believes the server at once', async (t) => {
  const browser = await openBrowser(t, AUTOPLAY);
  const page = await browser.page();
  /** @type {string[]} */
  const posts = [];
  page.on('request', (request) => {
    if (request.method() === 'POST') posts.push(request.url());
  });
  await open(page, '/watch/nobody');
  await page.locator('aerial-player .cover[data-state=waiting]').waitFor();
  await page.waitForTimeout(500); // a request would come at once
  assert.deepEqual(posts, []);

  await open(page, '/watch/demo');
  await plays(page);
  const chip = page.locator('aerial-player .chip.live');
  for (const [state, shown] of [
    ['stale', textOf('player-offline-again')],
    ['waiting', textOf('player-waiting-again', { name: 'demo' })],
  ]) {
    await page.evaluate((state) => {
      const player = document.querySelector('aerial-player');
      player.broadcast = /** @type {any} */ ({ ...player.broadcast, state });
    }, state);
    assert.equal(await chip.innerText(), textOf('player-off-air'));
    assert.equal(await page.locator('aerial-player .cover:not(.sound-only) .title').innerText(), shown);
  }
});

test('blocked media is told from a slow server', async (t) => {
  const page = await (await openBrowser(t, AUTOPLAY)).page();
  await page.addInitScript(() => {
    const Native = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Native {
      /** @param {RTCConfiguration} options */
      constructor(options) {
        super({ ...options, iceTransportPolicy: 'relay' }); // as if a firewall dropped all of UDP
      }
    };
  });
  await open(page, '/watch/demo');
  await until(
    () =>
      page.evaluate(() => {
        const { client } = document.querySelector('aerial-player');
        if (client) client.settings.connectTimeout = 500;
        return client?.error?.kind === 'blocked';
      }),
    'the obstacle to be found',
  );
  const hint = page.locator('aerial-player .cover:not(.sound-only) .hint').first();
  assert.ok((await hint.innerText()).startsWith(textOf('error-blocked')));
});

test('sound without a picture has a cover, and the choice of silence is kept', async (t) => {
  const browser = await openBrowser(t);
  const studio = await browser.page();
  await open(studio, '/publish/radio');
  await studio.locator('input[value=audio]').check({ force: true });
  await studio.locator('#go').click();
  await studio.locator('#screen[data-state=live]').waitFor();
  const viewer = await browser.page();
  await open(viewer, '/watch/radio');
  await viewer.locator('aerial-player .sound-only .title', { hasText: 'radio' }).waitFor();
  await until(
    async () => Number(await viewer.locator('aerial-player .sound-only .meter').getAttribute('aria-valuenow')) > -60,
    'the level to move',
  );
  await screenshot(viewer, 'watch-sound-only');
  await assertAccessible(viewer, 'sound only');
  await viewer.keyboard.press('m');
  await viewer.reload();
  await viewer.locator('aerial-player .sound-only').waitFor();
  assert.equal(await viewer.evaluate(() => document.querySelector('aerial-player').video.muted), true);
});

test('properties of the element reflect its attributes, whenever they are set', async (t) => {
  const page = await (await openBrowser(t)).page();
  await page.goto(`${server.origin}/healthz`);
  const found = await page.evaluate(async (origin) => {
    // As frameworks do: before the element is known, and after.
    const early = /** @type {any} */ (document.createElement('aerial-player'));
    Object.assign(early, { label: 'early', muted: true });
    document.body.append(early);
    const module = `${origin}/js/player.js`;
    await import(module);
    const late = document.createElement('aerial-player');
    Object.assign(late, { src: '/whep/nobody', label: 'late', token: 'a', viewers: 7, controls: false, muted: true });
    document.body.append(late);
    const attributes = (/** @type {Element} */ element) =>
      ['src', 'label', 'token', 'viewers', 'controls', 'muted'].map((name) => element.getAttribute(name));
    const before = attributes(late);
    Object.assign(late, { viewers: null, controls: true, muted: false, label: '' });
    return { early: attributes(early), before, after: attributes(late), state: late.state };
  }, server.origin);
  assert.deepEqual(found.early.slice(1, 2), ['early']);
  assert.deepEqual(found.early.at(-1), '');
  assert.deepEqual(found.before, ['/whep/nobody', 'late', 'a', '7', 'off', '']);
  assert.deepEqual(found.after, ['/whep/nobody', null, 'a', null, null, null]);
  assert.notEqual(found.state, 'idle', 'a source that is set as a property is played');
});

test('a server that has died is not shown as live', async (t) => {
  const mortal = await Server.start();
  t.after(() => mortal.stop());
  await mortal.live('demo');
  const page = await (await openBrowser(t)).page();
  await page.goto(mortal.origin);
  const badge = page.locator('.card[data-name=demo] .badge').first();
  await page.locator('.card[data-name=demo] .badge.live').waitFor();
  await mortal.stop();
  await until(async () => (await badge.textContent())?.trim() === textOf('state-lost'), 'the card to say so', 5_000);
});

test('list and watch page are small', async (t) => {
  const page = await (await openBrowser(t)).page();
  for (const route of ['/', '/watch/nobody']) {
    await open(page, route);
    await page.waitForTimeout(500);
    const bytes = await page.evaluate(() => {
      const loaded = /** @type {PerformanceResourceTiming[]} */ ([
        ...performance.getEntriesByType('navigation'),
        ...performance.getEntriesByType('resource'),
      ]);
      return loaded.reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0);
    });
    t.diagnostic(`${route}: ${bytes} bytes`);
    assert.ok(bytes > 5_000 && bytes < 120_000, `${route}: ${bytes} bytes`);
  }
});
