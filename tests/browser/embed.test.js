/** Players and publishers from npm and the pages of examples/, in pages of another origin. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { Server, openBrowser, test, until } from './harness.js';

/** Frames come as fast as a busy machine can, milliseconds. */
const FRAMES_TIMEOUT = 60_000;
/** Pages of `examples/`. */
const EXAMPLES = ['element', 'plain-viewer'];

/** @type {string} */
let origin;
/** @type {import('node:http').Server} */
let pages;
before(async () => {
  const entryPoints = [fileURLToPath(new URL('embed.js', import.meta.url))];
  const {
    outputFiles: [script],
  } = await build({ entryPoints, bundle: true, write: false, format: 'iife', platform: 'browser' });
  const blank = '<!doctype html><title>Embed</title><video autoplay muted></video><script src="/embed.js"></script>';
  /** @type {Map<string, [string, string | Uint8Array]>} */
  const files = new Map([
    ['/', ['text/html', blank]],
    ['/embed.js', ['text/javascript', script.contents]],
  ]);
  for (const name of EXAMPLES) {
    const file = new URL(`../../examples/${name}/index.html`, import.meta.url);
    files.set(`/${name}/`, ['text/html', await readFile(file, 'utf8')]);
  }
  pages = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const [type, body] = files.get(pathname) ?? ['text/plain', ''];
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
async function decodesMore(page, more = 30) {
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
  const server = await Server.start(['--demo', 'false', '--http.origins', origin, ...options]);
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
  // Its restart understands one candidate only.
  const options = ['--webrtc.publisher_engine', 'direct', '--webrtc.tcp', 'false'];
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

for (const name of EXAMPLES) {
  test(`the example ${name} plays`, async (t) => {
    const server = await Server.start();
    t.after(() => server.stop());
    await server.live('demo');
    const { page: open, faults } = await openBrowser(t);
    const page = await open();
    await page.goto(`${origin}/${name}/?server=${encodeURIComponent(server.origin)}`);
    const shown = () =>
      page.evaluate(() => {
        const host = document.querySelector('aerial-player')?.shadowRoot ?? document;
        return host.querySelector('video')?.getVideoPlaybackQuality().totalVideoFrames ?? 0;
      });
    await until(async () => (await shown()) > 0, `the first frame of ${name}`);
    const before = await shown();
    await until(async () => (await shown()) >= before + 30, '30 more frames', FRAMES_TIMEOUT);
    assert.deepEqual(faults, []);
  });
}

// A browser opens six connections to a server over HTTP/1.1: embedded pages must not keep one each.
test('seven embedded pages on one page play', async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  await server.live('demo');
  const { page: open, faults } = await openBrowser(t);
  const page = await open();
  await page.goto(origin);
  const frame = `<iframe src="${server.origin}/watch/demo?embed=1" width="320" height="180"></iframe>`;
  await page.setContent(frame.repeat(7));
  const live = async () => {
    const states = page
      .frames()
      .slice(1)
      .map((frame) => frame.evaluate(() => document.querySelector('aerial-player')?.state));
    return (await Promise.all(states)).filter((state) => state === 'live').length;
  };
  await until(async () => (await live()) === 7, 'seven live players', FRAMES_TIMEOUT);
  assert.deepEqual(faults, []);
});
