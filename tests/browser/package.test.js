/** The package of the player: packed as npm does, then used by a plain page, by React and by Vue on another origin. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { after, before } from 'node:test';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import axe from 'axe-core';
import { build } from 'esbuild';
import { Server, openBrowser, screenshot, test, until } from './harness.js';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const BUILD = fileURLToPath(new URL('../../web/package/build.js', import.meta.url));

/** What users of each framework write. `told` has the states that they were told. */
const APPS = {
  plain: `
    import '@aerial/player';
    const player = document.createElement('aerial-player');
    player.src = window.source;
    player.muted = true;
    player.addEventListener('statechange', (event) => window.told.push(event.detail.state));
    document.querySelector('#app').append(player);`,
  react: `
    import '@aerial/player';
    import { createElement, useState } from 'react';
    import { createRoot } from 'react-dom/client';
    function App() {
      const [state, setState] = useState('');
      if (state) window.told.push(state);
      return createElement('aerial-player', {
        src: window.source, muted: true, label: 'React', viewers: 3, onstatechange: (event) => setState(event.detail.state),
      });
    }
    createRoot(document.querySelector('#app')).render(createElement(App));`,
  vue: `
    import '@aerial/player';
    import { createApp, h } from 'vue';
    createApp({
      render: () => h('aerial-player', {
        src: window.source, muted: true, label: 'Vue', viewers: 3,
        onStatechange: (event) => window.told.push(event.detail.state),
      }),
    }).mount('#app');`,
};
/** What the types have to allow. */
const TYPED = `
  import { AerialPlayer, WhepClient, WhipClient, type StateChange } from '@aerial/player';
  import { WhepClient as Same } from '@aerial/player/whep';
  const player: AerialPlayer = document.createElement('aerial-player');
  player.getToken = async (refused: string) => refused + '1';
  player.volume = player.paused ? 0.5 : 1;
  player.autoplay = false;
  player.addEventListener('statechange', (event) => (event as CustomEvent<StateChange>).detail.state === 'live');
  export const started: Promise<void> = player.play();
  export const client: Same = new WhepClient('/whep/demo', { video: player.video });
  export const publish = (stream: MediaStream) => new WhipClient('/whip/a', stream, { layers: 3 });
`;

/** @type {Server} */
let server;
/** @type {string} */
let folder;
/** @type {string} */
let origin;
/** @type {import('node:http').Server} */
let pages;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'aerial-package-'));
  execFileSync(process.execPath, [BUILD, path.join(folder, 'package')], { stdio: 'inherit' });
  const packed = execFileSync('npm', ['pack', '--silent'], { cwd: path.join(folder, 'package'), encoding: 'utf8' });
  const installed = path.join(folder, 'node_modules/@aerial/player');
  await mkdir(installed, { recursive: true });
  const archive = path.join(folder, 'package', packed.trim());
  execFileSync('tar', ['-xzf', archive, '--strip-components=1', '-C', installed]);
  for (const name of ['react', 'react-dom', 'scheduler', 'vue', '@vue'])
    await symlink(path.join(HERE, 'node_modules', name), path.join(folder, 'node_modules', name));
  await writeFile(path.join(folder, 'package.json'), '{ "type": "module" }');

  /** @type {Map<string, [string, string|Uint8Array]>} */
  const files = new Map();
  for (const [name, text] of Object.entries(APPS)) {
    const entry = path.join(folder, `${name}.js`);
    await writeFile(entry, text);
    const {
      outputFiles: [script],
    } = await build({
      entryPoints: [entry],
      bundle: true,
      write: false,
      format: 'esm',
      target: 'es2022',
      define: { 'process.env.NODE_ENV': '"production"' },
      logLevel: 'error',
    });
    files.set(`/${name}.js`, ['text/javascript', script.contents]);
  }
  pages = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    const [type, body] = files.get(pathname) ?? ['text/html', page(pathname.slice(1), searchParams.get('source'))];
    response.setHeader('Content-Type', type).end(body);
  }).listen(0, '127.0.0.1');
  await once(pages, 'listening');
  origin = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (pages.address()).port}`;
  server = await Server.start(['--http.origins', origin]);
  await server.live('demo');
});
after(async () => {
  pages?.close();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** @param {string} name @param {string|null} source */
const page = (name, source) => `<!doctype html><html lang="en"><title>${name}</title>
  <style>body { margin: 0 } aerial-player { border-radius: 20px } aerial-player::part(live) { background: rebeccapurple }</style>
  <main><h1>${name}</h1><div id="app"></div></main>
  <script>window.told = []; window.source = ${JSON.stringify(source)};</script>
  ${name === 'blank' ? '' : `<script type="module" src="/${name}.js"></script>`}`;

for (const name of Object.keys(APPS)) {
  test(`${name}: the element plays, is styled, and tells its state`, async (t) => {
    const { page: open, faults } = await openBrowser(t);
    const page = await open();
    await page.goto(`${origin}/${name}?source=${encodeURIComponent(`${server.origin}/whep/demo`)}`);
    await until(() => page.evaluate(() => window.told.includes('live')), 'the app to hear of it');
    const frames = () =>
      page.evaluate(() => document.querySelector('aerial-player').video.getVideoPlaybackQuality().totalVideoFrames);
    await until(async () => (await frames()) > 10, 'ten frames');
    const [muted, colour] = await page.evaluate(() => {
      const player = document.querySelector('aerial-player');
      return [player.muted, getComputedStyle(player.shadowRoot.querySelector('.live')).backgroundColor];
    });
    assert.equal(muted, true);
    assert.equal(colour, 'rgb(102, 51, 153)');
    assert.deepEqual(faults, []);
  });
}

test('types are complete', async () => {
  await writeFile(path.join(folder, 'typed.ts'), TYPED);
  const tsc = path.join(HERE, 'node_modules/.bin/tsc');
  const flags = ['--noEmit', '--strict', '--skipLibCheck', 'false', '--target', 'es2022', '--module', 'esnext'];
  const rest = ['--moduleResolution', 'bundler', '--lib', 'es2023,dom,dom.iterable', '--types', ''];
  execFileSync(tsc, [...flags, ...rest, 'typed.ts'], { cwd: folder, stdio: 'inherit' });
});

test('the element behaves as a media element', async (t) => {
  const { page: open, faults } = await openBrowser(t);
  const page = await open();
  /** @type {(string|undefined)[]} */
  const tokens = [];
  await page.route('**/whep/demo', async (route) => {
    const request = route.request();
    if (request.method() !== 'POST') return route.fallback();
    const { authorization } = request.headers();
    tokens.push(authorization);
    if (authorization) return route.fallback();
    return route.fulfill({
      status: 401,
      contentType: 'application/problem+json',
      headers: { 'access-control-allow-origin': '*' },
      body: JSON.stringify({ type: 'urn:aerial:problem:token-missing' }),
    });
  });
  await page.goto(`${origin}/blank`);
  await page.evaluate(async (server) => {
    await import(`${server}/js/v1/player.js`);
    const player = document.createElement('aerial-player');
    Object.assign(player, {
      src: `${server}/whep/demo`,
      autoplay: false,
      poster: `${server}/card.png`,
      muted: true,
      getToken: async (/** @type {string} */ refused) => `after-${refused || 'none'}`,
    });
    const button = Object.assign(document.createElement('button'), { slot: 'controls', textContent: 'Mine' });
    player.append(button);
    for (const name of ['play', 'playing', 'pause', 'volumechange', 'stats', 'ended', 'error', 'qualitieschange'])
      player.addEventListener(name, () => window.told.push(name));
    document.querySelector('#app').append(player);
  }, server.origin);
  const player = page.locator('aerial-player');
  const poster = player.locator('[part=poster]');
  await until(() => poster.evaluate((image) => /** @type {HTMLImageElement} */ (image).naturalWidth > 0), 'the poster');
  assert.deepEqual(tokens, [], 'nothing is loaded before play()');
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => /** @type {any} */ (window).axe.run('aerial-player'));
  assert.deepEqual(violations, []);
  await screenshot(page, 'package-poster');

  await page.evaluate(() => document.querySelector('aerial-player').play());
  assert.deepEqual(tokens, [undefined, 'Bearer after-none']);
  const now = await page.evaluate(() => {
    const { paused, ended, error, readyState, duration, videoWidth, currentSrc } =
      document.querySelector('aerial-player');
    return { paused, ended, error, readyState, duration, isWide: videoWidth > 0, currentSrc };
  });
  assert.deepEqual(now, {
    paused: false,
    ended: false,
    error: null,
    readyState: 4,
    duration: Infinity,
    isWide: true,
    currentSrc: `${server.origin}/whep/demo`,
  });
  await poster.waitFor({ state: 'hidden' });
  assert.equal(await page.locator('aerial-player button', { hasText: 'Mine' }).isVisible(), true);
  await until(() => page.evaluate(() => window.told.includes('stats')), 'figures');
  await page.evaluate(async () => {
    const player = document.querySelector('aerial-player');
    player.volume = 0.3;
    player.pause();
    const renditions = [{ name: '360p', kind: 'video', codec: 'h264', viewers: 0 }];
    player.broadcast = /** @type {any} */ ({ name: 'demo', state: 'live', viewers: 1, tracks: [{}], renditions });
    window.told.push(player.qualities.map(({ rendition }) => rendition).join());
    window.told.push(String(player.paused));
  });
  /** @type {string[]} */
  let seen = [];
  for (const event of ['play', 'playing', 'volumechange', 'pause', 'qualitieschange', ',source,360p', 'true']) {
    await until(async () => {
      seen = await page.evaluate(() => window.told);
      return seen.includes(event);
    }, event);
  }
  assert.ok(!seen.includes('ended') && !seen.includes('error'));
  await page.route('**/whep/gone', (route) =>
    route.fulfill({ status: 400, headers: { 'access-control-allow-origin': '*' }, body: '' }),
  );
  await page.evaluate((server) => {
    const player = document.querySelector('aerial-player');
    player.src = `${server}/whep/gone`;
    player.autoplay = true;
  }, server.origin);
  await until(() => page.evaluate(() => window.told.includes('error')), 'the error');
  assert.ok(await page.evaluate(() => document.querySelector('aerial-player').error.words));
  assert.deepEqual(faults, []);
});

test('a broadcast that is over has ended', async (t) => {
  const browser = await openBrowser(t);
  const studio = await browser.page();
  await studio.goto(`${server.origin}/publish/over`);
  await studio.locator('#go').click();
  await studio.locator('#screen[data-state=live]').waitFor();
  const viewer = await browser.page();
  await viewer.goto(`${origin}/plain?source=${encodeURIComponent(`${server.origin}/whep/over`)}`);
  await until(() => viewer.evaluate(() => window.told.includes('live')), 'the broadcast');
  await viewer.evaluate(() => {
    document.querySelector('aerial-player').addEventListener('ended', () => window.told.push('ended'));
  });
  await studio.locator('#go.stop').click();
  await until(() => viewer.evaluate(() => window.told.includes('ended')), 'the end', 60_000);
  assert.equal(await viewer.evaluate(() => document.querySelector('aerial-player').ended), true);
});

test('the readme has every part and slot', async () => {
  const readme = await readFile(path.join(folder, 'package/README.md'), 'utf8');
  const page = await readFile(path.join(folder, 'package/js/player.js'), 'utf8');
  const found = [...page.matchAll(/part'?: '([a-z]+)'|'slot', \{ name: '([a-z]+)'/g)].map(
    ([, part, slot]) => part ?? slot,
  );
  assert.ok(found.length > 8);
  for (const name of found) assert.match(readme, new RegExp(`\`${name}\``), name);
});
