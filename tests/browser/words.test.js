/** What users are told when something goes wrong. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { FAKE_DEVICES, Server, openBrowser, screenshot, test, until } from './harness.js';

/** @type {Server} */
let server;
before(async () => {
  server = await Server.start();
});
after(() => server?.stop());

/**
 * @param {import('playwright-core').Page} page
 * @returns {Promise<string>}
 */
async function notice(page) {
  const alert = page.getByRole('alert');
  await alert.waitFor();
  return alert.innerText();
}

test('permission denied', async (t) => {
  const browser = await openBrowser(t, [...FAKE_DEVICES, '--deny-permission-prompts']);
  const page = await browser.page();
  await page.goto(`${server.origin}/publish/denied`);
  await page.getByRole('button', { name: 'Turn on' }).click();
  const text = await notice(page);
  assert.match(text, /Permission for the camera and microphone was denied/);
  assert.match(text, /allow it for this page/);
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
  await page.getByRole('button', { name: 'Go live' }).click();
  assert.match(await notice(page), /No camera was found/);
});

for (const { name, words } of [
  { name: 'NotReadableError', words: /Another program may be using it/ },
  { name: 'OverconstrainedError', words: /is no longer available/ },
]) {
  test(`${name} of one device leaves the other`, async (t) => {
    const browser = await openBrowser(t);
    const page = await browser.page();
    await page.addInitScript((name) => {
      const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = (constraints) =>
        constraints.video ? Promise.reject(new DOMException('broken', name)) : original(constraints);
    }, name);
    await page.goto(`${server.origin}/publish/half`);
    assert.match(await notice(page), words);
    await page.getByText('Viewers hear you').waitFor();
    assert.equal(await page.getByRole('button', { name: 'Mute microphone' }).isEnabled(), true);
  });
}

test('a name that is taken', async (t) => {
  const browser = await openBrowser(t);
  const first = await browser.page();
  await first.goto(`${server.origin}/publish/mine`);
  await first.getByRole('button', { name: 'Go live' }).click();
  await first.getByText('You are live.').waitFor();
  await server.live('mine');
  const second = await browser.page();
  await second.goto(`${server.origin}/publish/mine`);
  await second.getByRole('button', { name: 'Go live' }).click();
  assert.match(await notice(second), /already live under this name/);
  assert.equal(await second.getByRole('button', { name: 'Go live' }).isVisible(), true);
  await screenshot(second, 'publish-taken');
  assert.equal(await first.getByText('You are live.').isVisible(), true);
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
  const goLive = page.getByRole('button', { name: 'Go live' });
  await answer(422, { title: 'unsupported', detail: 'no H264 here' });
  await goLive.click();
  assert.match(await notice(page), /no video or audio format in common. The server says: no H264 here/);
  await page.unrouteAll();
  await answer(401);
  await goLive.click();
  await page.getByText(/requires a token/).waitFor();
  await page.unrouteAll();
  await page.route('**/whip/words', (route) => route.abort('connectionrefused'));
  await goLive.click();
  await page
    .getByText('The connection was lost. Reconnecting')
    .or(page.getByText('cannot be reached'))
    .first()
    .waitFor();
  await page.unrouteAll();
  await page.getByText('You are live.').waitFor(); // it kept trying
});

test('a page without a secure context explains itself', async (t) => {
  const browser = await openBrowser(t);
  const page = await browser.page();
  await page.addInitScript(() => Object.defineProperty(window, 'isSecureContext', { value: false }));
  await page.goto(`${server.origin}/publish/insecure`);
  assert.match(await notice(page), /not secure[\s\S]*https:\/\//);
  assert.equal(await page.getByRole('button', { name: 'Go live' }).isDisabled(), true);
});

test('a viewer without a common format is told so and can try again', async (t) => {
  const browser = await openBrowser(t);
  const page = await browser.page();
  await page.route('**/whep/odd', (route) =>
    route.fulfill({
      status: 422,
      contentType: 'application/problem+json',
      body: JSON.stringify({ detail: 'the broadcast is H265' }),
    }),
  );
  await page.goto(`${server.origin}/watch/odd`);
  await page.getByText('The server says: the broadcast is H265.').first().waitFor();
  await page.unrouteAll();
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByText('odd has not started yet').first().waitFor();
});

test('/publish asks for a name', async (t) => {
  const browser = await openBrowser(t);
  const page = await browser.page();
  await page.goto(`${server.origin}/publish`);
  const name = page.getByLabel('Name of your broadcast');
  await name.fill('.hidden');
  await name.press('Enter');
  await page.getByText(/no leading dot/).waitFor();
  await name.fill('good.name');
  await name.press('Enter');
  await page.waitForURL('**/publish/good.name');
  await until(async () => (await page.title()).includes('good.name'), 'the title');
});
