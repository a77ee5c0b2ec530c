/** Chat and data in real browsers: over the data channel, and over HTTP where there is none. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before } from 'node:test';
import { Server, assertAccessible, onAir, openBrowser, screenshot, test, until } from './harness.js';
import { textOf } from './texts.js';

const CONFIG = `
[broadcasts.room]
chat = true
data = true
publisher_engine = "direct"

# The ban of one test holds for everybody at this address.
[broadcasts.timed]
data = true
publisher_engine = "direct"

[broadcasts.plain]
chat = true
data = true
viewer_engine = "webrtcbin"
publisher_engine = "webrtcbin"
`;
const DESK = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };

/** @typedef {import('playwright-core').Page} Page */

/** @type {Server} */
let server;
before(async () => {
  const file = path.join(tmpdir(), `aerial-chat-${process.pid}.toml`);
  await writeFile(file, CONFIG);
  server = await Server.start(['--config', file, '--demo', 'false']);
});
after(() => server?.stop());

/** Goes live. @param {Page} page @param {string} name */
async function publish(page, name) {
  await page.goto(`${server.origin}/publish/${name}`);
  await page.locator('#go').click();
  await onAir(page);
  await server.live(name);
}

/** Watches, and takes part under a name. @param {Page} page @param {string} broadcast @param {string} name */
async function join(page, broadcast, name) {
  await page.goto(`${server.origin}/watch/${broadcast}`);
  await page.locator('#chat-text:enabled').waitFor();
  if (await page.locator('#chat-name').isVisible()) await page.locator('#chat-name').fill(name);
}

/** @param {Page} page @param {string} text */
async function say(page, text) {
  await page.locator('#chat-text').fill(text);
  await page.locator('#chat-text').press('Enter');
}

/** @param {Page} page @param {string} text */
const reads = (page, text) => page.locator('.chat-row p', { hasText: text }).waitFor();

/** How the player reaches the server. @param {Page} page */
const hasChannel = (page) =>
  page.evaluate(() => /** @type {any} */ (document.querySelector('aerial-player')).client.channelOpen);

/** @param {Page} page @param {string} text @param {string} action The key of a button. */
async function moderate(page, text, action) {
  const row = page.locator('.chat-row', { hasText: text });
  await row.locator('summary').click();
  await row.getByRole('button', { name: textOf(action) }).click();
}

test('two viewers and the publisher talk over the channel, and the publisher keeps order', async (t) => {
  const [studio, first, second] = await Promise.all([openBrowser(t), openBrowser(t), openBrowser(t)]);
  const [host, mina, june] = await Promise.all([studio.page(), first.page(), second.page()]);
  await Promise.all([host, mina, june].map((page) => page.setViewportSize(DESK)));
  await publish(host, 'room');
  await join(mina, 'room', 'Mina');
  await join(june, 'room', 'June');
  await until(async () => (await hasChannel(mina)) && (await hasChannel(june)), 'the channels');
  await say(mina, 'Hello from Mina, see https://example.com/a?b=1.');
  await Promise.all([reads(june, 'Hello from Mina'), reads(host, 'Hello from Mina')]);
  assert.equal(await june.locator('.chat-log a').count(), 0, 'an address is text');
  await say(june, '<b>Hi</b> Mina');
  await reads(mina, '<b>Hi</b> Mina');
  await host.locator('#chat-name').fill('Host');
  await say(host, 'Welcome!');
  await reads(mina, 'Welcome!');
  assert.equal(await mina.locator('.chat-mark').count(), 1, 'the host is marked');

  // Reactions float over every picture.
  await june.locator('.chat-reactions button').first().click();
  const floats = () =>
    mina.evaluate(() => document.querySelector('aerial-player')?.shadowRoot?.querySelectorAll('.floats span').length);
  await until(floats, 'a reaction');

  // Latecomers read what was said.
  const late = await (await openBrowser(t)).page();
  await late.setViewportSize(PHONE);
  await join(late, 'room', 'Late');
  for (const text of ['Hello from Mina', '<b>Hi</b> Mina', 'Welcome!']) await reads(late, text);
  await Promise.all([
    screenshot(mina, 'chat-watch-1440'),
    screenshot(host, 'chat-studio-1440'),
    screenshot(late, 'chat-watch-390-top'),
  ]);
  await late.locator('#chat').scrollIntoViewIfNeeded();
  await screenshot(late, 'chat-watch-390');

  // The publisher deletes, and bans.
  await moderate(host, '<b>Hi</b> Mina', 'chat-delete');
  await until(async () => (await mina.locator('.chat-row', { hasText: '<b>Hi</b>' }).count()) === 0, 'the deletion');
  await moderate(host, 'Hello from Mina', 'chat-ban');
  await mina.locator('#chat-text:disabled').waitFor();
  assert.equal(await june.locator('.chat-row', { hasText: 'Hello from Mina' }).count(), 0);
  const refused = mina.evaluate(() => {
    const { client } = /** @type {any} */ (document.querySelector('aerial-player'));
    const answer = new Promise((resolve) => {
      client.addEventListener('message', (/** @type {CustomEvent} */ { detail }) => {
        if (detail.type === 'refused') resolve(detail.reason);
      });
    });
    client.send({ type: 'say', text: 'still here' });
    return answer;
  });
  assert.equal(await refused, 'banned');
  for (const browser of [studio, first, second]) assert.deepEqual(browser.faults, []);
});

test('data arrives with its frame, and what viewers send reaches the publisher', async (t) => {
  const browser = await openBrowser(t);
  const [host, viewer] = [await browser.page(), await browser.page()];
  // A page of somebody's own, which uses the client alone.
  await host.goto(`${server.origin}/publish/elsewhere`);
  await host.evaluate(async () => {
    const { WhipClient } = await import(/** @type {any} */ ('/js/whip.js'));
    const stream = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
    const client = new WhipClient('/whip/timed', stream);
    Object.assign(window, { client, controls: [] });
    client.addEventListener('message', (/** @type {CustomEvent} */ { detail }) => {
      if (detail.type === 'control') /** @type {any} */ (window).controls.push(detail.data);
    });
    client.start();
  });
  await server.live('timed');
  await viewer.goto(`${server.origin}/watch/timed`);
  await until(() => hasChannel(viewer), 'the channel');
  await until(() => viewer.evaluate(() => document.querySelector('aerial-player')?.state === 'live'), 'the picture');
  const arrived = viewer.evaluate(() => {
    const player = /** @type {any} */ (document.querySelector('aerial-player'));
    /** The timestamps of the frames that are shown. @type {number[]} */
    const shown = [];
    const look = (/** @type {number} */ _, /** @type {any} */ frame) => {
      shown.push(frame.rtpTimestamp);
      player.video.requestVideoFrameCallback(look);
    };
    player.video.requestVideoFrameCallback(look);
    let rtp = 0;
    const take = player.client.take.bind(player.client);
    player.client.take = (/** @type {any} */ event) => {
      if (event.type === 'data') ({ rtp } = event);
      take(event);
    };
    return new Promise((resolve) => {
      player.addEventListener('data', (/** @type {CustomEvent} */ { detail }) =>
        resolve({ data: detail.data, rtp, last: shown.at(-1), count: shown.length }),
      );
    });
  });
  const send = () => host.evaluate(() => /** @type {any} */ (window).client.send({ type: 'data', data: { score: 1 } }));
  await until(send, 'the channel of the publisher');
  const { data, rtp, last } = /** @type {any} */ (await arrived);
  assert.deepEqual(data, { score: 1 });
  assert.ok(rtp > 0, 'it names a frame');
  assert.ok(Math.abs((last - rtp) | 0) < 90_000 / 5, `shown ${last}, wanted ${rtp}`);
  await viewer.evaluate(() => {
    /** @type {any} */ (document.querySelector('aerial-player')).client.send({ type: 'control', data: { vote: 2 } });
  });
  const controls = () => host.evaluate(() => /** @type {any} */ (window).controls);
  await until(async () => (await controls()).length > 0, 'the vote');
  assert.deepEqual(await controls(), [{ vote: 2 }]);
});

test('without a channel, the chat goes over HTTP', async (t) => {
  const browser = await openBrowser(t, undefined, { reducedMotion: 'reduce' });
  const [host, mina] = [await browser.page(), await browser.page()];
  await publish(host, 'plain');
  await join(mina, 'plain', 'Mina');
  assert.equal(await hasChannel(mina), false);
  await say(mina, 'over HTTP');
  await reads(host, 'over HTTP');
  // The publisher proves itself with its session.
  await host.locator('.moderated').waitFor();
  await moderate(host, 'over HTTP', 'chat-timeout');
  await mina.locator('#chat-text:disabled').waitFor();
  await mina.getByText(new RegExp(textOf('chat-silent', { count: '\\d+' }))).waitFor();
  await assertAccessible(mina);
  assert.deepEqual(browser.faults, []);
});
