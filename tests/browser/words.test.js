/** What users are told when something goes wrong. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { FAKE_DEVICES, ON_AIR, Server, onAir, openBrowser, screenshot, test, until } from './harness.js';

/** @type {Server} */
let server;
before(async () => {
  server = await Server.start();
});
after(() => server?.stop());

/**
 * Waits until a page has named the obstacle, to people and to programs.
 * @param {import('playwright-core').Page} page
 * @param {string} reason
 */
async function told(page, reason) {
  await page.locator(`#notice[data-reason="${reason}"]`).waitFor();
  for (const words of ['#notice-title', '#notice-text']) assert.notEqual(await page.locator(words).innerText(), '');
}

test('permission denied', async (t) => {
  const browser = await openBrowser(t, [...FAKE_DEVICES, '--deny-permission-prompts']);
  const page = await browser.page();
  await page.goto(`${server.origin}/publish/denied`);
  await page.locator('#allow').click();
  await told(page, 'NotAllowedError');
  const denied = await page.locator('#curtain-title').innerText();
  assert.equal(denied, await page.locator('#notice-title').innerText(), 'the curtain does not promise a question');
  await screenshot(page, 'publish-denied');
  assert.deepEqual(browser.faults, []);
});

test('no device', async (t) => {
  const browser = await openBrowser(t, [
    '--use-fake-device-for-media-stream=device-count=0',
    '--use-fake-ui-for-media-stream',
  ]);
  const page = await browser.page();
  await page.addInitScript(() => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('none', 'NotFoundError'));
  });
  await page.goto(`${server.origin}/publish/nothing`);
  await page.locator('#go').click();
  await told(page, 'NotFoundError');
});

for (const name of ['NotReadableError', 'OverconstrainedError']) {
  test(`${name} of one device leaves the other`, async (t) => {
    const browser = await openBrowser(t);
    const page = await browser.page();
    await page.addInitScript((name) => {
      const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = (constraints) =>
        constraints.video ? Promise.reject(new DOMException('broken', name)) : original(constraints);
    }, name);
    await page.goto(`${server.origin}/publish/half`);
    await told(page, name);
    await page.locator('#curtain[data-mark=mic]').waitFor();
    assert.equal(await page.locator('#mute-mic').isEnabled(), true);
  });
}

for (const locale of ['en-US', 'ko-KR']) {
  test(`${locale}: the pages for publishers show why OBS was refused`, async (t) => {
    const name = `refused-${locale}`;
    const [agent, other] = ['OBS-Studio/32.1', 'ffmpeg'];
    const refuse = (/** @type {string} */ method, /** @type {string} */ agent) =>
      fetch(`${server.origin}/whip/${name}`, {
        method,
        headers: { 'content-type': 'application/sdp', 'user-agent': agent },
        body: 'v=0',
      });
    assert.equal((await refuse('POST', agent)).status, 400);
    const browser = await openBrowser(t, undefined, { locale });
    const pages = await Promise.all(
      [`/publish/${name}/obs`, `/publish/${name}`].map(async (route) => {
        const page = await browser.page();
        await page.goto(server.origin + route);
        return page;
      }),
    );
    /** The line, once it is about this reason. @param {string} reason @param {string} agent */
    const said = (reason, agent) =>
      Promise.all(
        pages.map(async (page) => {
          const line = page.locator(`#refusal[data-reason=${reason}]`, { hasText: `“${agent}”` });
          await line.waitFor();
          return line.innerText();
        }),
      );
    const first = await said('malformed', agent);
    assert.equal((await refuse('PUT', other)).status, 405);
    const second = await said('method-not-allowed', other);
    for (const text of [...first, ...second]) {
      // Besides what the server says.
      assert.equal(/[가-힣]{2}/.test(text), locale === 'ko-KR', text);
    }
    for (const text of second)
      assert.doesNotMatch(text.replace(other, ''), locale === 'ko-KR' ? /[a-z]{3}/ : /[가-힣]/);
    await screenshot(pages[0], `obs-refused-${locale}`);
    assert.deepEqual(browser.faults, []);
  });
}

test('a name that is taken', async (t) => {
  const browser = await openBrowser(t);
  const first = await browser.page();
  await first.goto(`${server.origin}/publish/mine`);
  await first.locator('#go').click();
  await onAir(first);
  await server.live('mine');
  const second = await browser.page();
  await second.goto(`${server.origin}/publish/mine`);
  await second.locator('#go').click();
  await told(second, 'name-taken');
  assert.equal(await second.locator('#notice-action').getAttribute('href'), `${server.origin}/publish/mine-2`);
  await second.locator('#go.primary').waitFor();
  await screenshot(second, 'publish-taken');
  assert.equal(await first.locator(ON_AIR).isVisible(), true);
});

test('a server that refuses, and one that is not running', async (t) => {
  const browser = await openBrowser(t);
  const page = await browser.page();
  const answer = (/** @type {number} */ status, body = {}) =>
    page.route('**/whip/words', (route) =>
      route.fulfill({
        status,
        contentType: 'application/problem+json',
        body: JSON.stringify(body),
      }),
    );
  await page.goto(`${server.origin}/publish/words`);
  const goLive = page.locator('#go');
  await answer(422, { title: 'unsupported', detail: 'no H264 here' });
  await goLive.click();
  await told(page, 'unsupported');
  assert.match(await page.locator('#notice-text').innerText(), /no H264 here/, 'what the server says is passed on');
  await page.unrouteAll();
  await answer(401);
  await goLive.click();
  await told(page, 'unauthorized');
  await page.unrouteAll();
  await page.route('**/whip/words', (route) => route.abort('connectionrefused'));
  await goLive.click();
  await page.locator('#screen[data-state=offline]').waitFor();
  await page.unrouteAll();
  await onAir(page); // it kept trying
});

test('a page without a secure context explains itself', async (t) => {
  const browser = await openBrowser(t);
  const page = await browser.page();
  await page.addInitScript(() => Object.defineProperty(window, 'isSecureContext', { value: false }));
  await page.goto(`${server.origin}/publish/insecure`);
  await told(page, 'insecure');
  assert.match(await page.locator('#notice-text').innerText(), /https:\/\//, 'it says what would help');
  assert.equal(await page.locator('#go').isDisabled(), true);
});

test('a viewer without a common format is told so and can try again', async (t) => {
  const browser = await openBrowser(t);
  const page = await browser.page();
  await server.live('demo');
  await page.route('**/whep/demo', (route) =>
    route.fulfill({
      status: 422,
      contentType: 'application/problem+json',
      body: JSON.stringify({ detail: 'the broadcast is H265' }),
    }),
  );
  await page.goto(`${server.origin}/watch/demo`);
  await page.getByText('the broadcast is H265').first().waitFor();
  await page.unrouteAll();
  await page.locator('aerial-player button.action').click();
  await until(() => page.evaluate(() => document.querySelector('aerial-player').state === 'live'), 'the page to play');
});

test('/publish asks for a name', async (t) => {
  const browser = await openBrowser(t);
  const page = await browser.page();
  await page.goto(`${server.origin}/publish`);
  const name = page.locator('#name');
  await name.fill('.hidden');
  await name.press('Enter');
  await page.locator('#name[aria-invalid=true]').waitFor();
  await name.fill('good.name');
  await name.press('Enter');
  await page.waitForURL('**/publish/good.name');
  await until(async () => (await page.title()).includes('good.name'), 'the title');
});
