/** Players and publishers from npm, in pages of another origin. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { Server, openBrowser, test, until } from './harness.js';

/** Frames come as fast as a busy machine can, milliseconds. */
const FRAMES_TIMEOUT = 60_000;

/** @type {string} */
let origin;
/** @type {import('node:http').Server} */
let pages;
before(async () => {
  const entryPoints = [fileURLToPath(new URL('embed.js', import.meta.url))];
  const {
    outputFiles: [script],
  } = await build({ entryPoints, bundle: true, write: false, format: 'iife', platform: 'browser' });
  pages = createServer((request, response) => {
    const [type, body] =
      request.url === '/embed.js'
        ? ['text/javascript', script.contents]
        : [
            'text/html',
            '<!doctype html><title>Embed</title><video autoplay muted></video><script src="/embed.js"></script>',
          ];
    response.setHeader('Content-Type', type).end(body);
  }).listen(0, '127.0.0.1');
  await once(pages, 'listening');
  origin = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (pages.address()).port}`;
});
after(() => pages?.close());

/**
 * A page that has started one of the packages.
 * @param {Awaited<ReturnType<typeof openBrowser>>} browser
 * @param {string} name
 * @param {string} url
 */
async function started(browser, name, url) {
  const page = await browser.page();
  await page.goto(origin);
  await page.evaluate(([name, url]) => window.start[name](url), [name, url]);
  return page;
}

/** @param {import('playwright-core').Page} page */
async function decodesMore(page, more = 60) {
  const decoded = () => page.evaluate(() => window.decoded());
  const before = await decoded();
  await until(async () => (await decoded()) >= before + more, `${more} more frames`, FRAMES_TIMEOUT);
}

/**
 * Stops the client and checks that its session was deleted, or had already ended with its peer connection.
 * @param {Server} server
 * @param {import('playwright-core').Page} page
 * @param {'publishers'|'viewers'} name
 */
async function stops(server, page, name) {
  const deleted = page.waitForResponse((response) => response.request().method() === 'DELETE');
  await page.evaluate(() => window.stop());
  assert.ok([200, 404].includes((await deleted).status()));
  await until(async () => (await server.json('/api/server'))[name] === 0, `no more ${name}`);
}

/**
 * Publishes with one package and watches with another.
 * @param {import('node:test').TestContext} t
 * @param {{whip: string, whep: string, options?: string[], codec: string}} plan
 */
async function plays(t, { whip, whep, options = [], codec }) {
  const server = await Server.start(['--demo', 'false', ...options]);
  t.after(() => server.stop());
  const browser = await openBrowser(t);
  const studio = await started(browser, whip, `${server.origin}/whip/show`);
  await server.live('show');
  const { tracks } = await server.json('/api/broadcasts/show');
  assert.deepEqual(
    tracks.map((/** @type {{codec: string}} */ track) => track.codec),
    [codec, 'opus'],
  );
  const viewer = await started(browser, whep, `${server.origin}/whep/show`);
  await decodesMore(viewer);
  return { server, studio, viewer };
}

test('Eyevinn: whip-web-client publishes, webrtc-player watches', async (t) => {
  const { server, studio, viewer } = await plays(t, { whip: 'eyevinnWhip', whep: 'eyevinnPlayer', codec: 'vp8' });
  await stops(server, viewer, 'viewers');
  await stops(server, studio, 'publishers');
});

test('medooze: whip-whep publishes and watches, and both restart ICE', async (t) => {
  const options = ['--webrtc.publisher_engine', 'direct'];
  const { server, studio, viewer } = await plays(t, {
    whip: 'medoozeWhip',
    whep: 'medoozeWhep',
    options,
    codec: 'h264',
  });
  for (const page of [viewer, studio]) {
    await page.evaluate(() => window.restart());
    await decodesMore(viewer);
  }
  await stops(server, viewer, 'viewers');
  await stops(server, studio, 'publishers');
});
