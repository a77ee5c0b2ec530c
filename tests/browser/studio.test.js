/** The studio: screen and camera together, shape, volume, layers, and recording in the browser. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before } from 'node:test';
import { Server, assertAccessible, onAir, openBrowser, screenshot, test, until } from './harness.js';
import { plays } from './media.js';
import { textOf } from './texts.js';

/** @typedef {import('playwright-core').Page} Page */

/** Where the camera may be, as shares of the picture's width and height. @type {Record<string, [number, number]>} */
const PLACES = {
  'bottom-right': [0.88, 0.85],
  'bottom-left': [0.12, 0.85],
  'top-left': [0.12, 0.15],
  'top-right': [0.88, 0.15],
};

/** @type {Server} */
let server;
before(async () => {
  server = await Server.start(['--demo', 'false']);
});
after(() => server?.stop());

/**
 * Opens a studio whose screen is red with a sound of its own, and whose camera is blue on its left half and green on
 * its right.
 * @param {import('./harness.js').Context} t
 * @param {string} name
 * @param {import('playwright-core').BrowserContextOptions} [options]
 */
async function openStudio(t, name, options) {
  const browser = await openBrowser(t, undefined, options);
  const page = await browser.page();
  await page.addInitScript(paintDevices);
  await page.goto(`${server.origin}/publish/${name}`);
  await page.locator('#curtain').waitFor({ state: 'hidden' });
  return { browser, page };
}

/** @param {Page} page @param {string} mode */
const choose = (page, mode) => page.locator(`[name=source][value=${mode}]`).check({ force: true });

/**
 * The colour at a place of the picture that a video element shows.
 * @param {Page} page
 * @param {[number, number]} place Shares of its width and height.
 */
function colourAt(page, [across, down]) {
  return page.evaluate(
    ([across, down]) => {
      const video = document.querySelector('aerial-player')?.video ?? document.querySelector('video');
      const { videoWidth, videoHeight } = video;
      const context = new OffscreenCanvas(1, 1).getContext('2d');
      context.drawImage(video, across * videoWidth, down * videoHeight, 1, 1, 0, 0, 1, 1);
      const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
      const strongest = Math.max(red, green, blue);
      if (strongest < 60) return 'black';
      return strongest === red ? 'red' : strongest === green ? 'green' : 'blue';
    },
    [across, down],
  );
}

/** Waits until only this corner has the camera. @param {Page} page @param {string} corner */
async function cameraIn(page, corner) {
  await until(async () => {
    for (const [name, place] of Object.entries(PLACES))
      if (((await colourAt(page, place)) !== 'red') !== (name === corner)) return false;
    return true;
  }, `the camera in the ${corner}`);
}

test('a camera in a corner of the screen is moved by keys, clicks and the pointer, and viewers see it', async (t) => {
  const { browser, page } = await openStudio(t, 'both');
  await page.locator('#go').click();
  await onAir(page);
  const viewer = await (await openBrowser(t)).page();
  await viewer.goto(`${server.origin}/watch/both`);
  await plays(viewer);
  const session = () => viewer.evaluate(() => document.querySelector('aerial-player').client.stream.id);
  const before = await session();

  await choose(page, 'both');
  await cameraIn(page, 'bottom-right');
  await cameraIn(viewer, 'bottom-right');
  assert.equal(await session(), before, 'viewers stay in their session');
  const inset = page.locator('#inset');
  await inset.focus();
  await page.keyboard.press('ArrowLeft');
  await cameraIn(page, 'bottom-left');
  await page.keyboard.press('ArrowUp');
  await cameraIn(page, 'top-left');
  assert.ok((await inset.getAttribute('aria-label')).includes(textOf('corner-top-left')));
  await page.keyboard.press('Enter');
  await cameraIn(page, 'top-right');
  const box = await inset.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x - 300, box.y + 350, { steps: 5 });
  await page.mouse.up();
  await cameraIn(viewer, 'bottom-left');
  await assertAccessible(page, 'screen and camera');
  await screenshot(page, 'studio-both');

  await choose(page, 'camera');
  await inset.waitFor({ state: 'hidden' });
  await until(async () => (await colourAt(viewer, [0.25, 0.5])) === 'blue', 'the camera alone');
  assert.equal(await session(), before);
  await page.reload();
  await page.locator('#curtain').waitFor({ state: 'hidden' });
  await choose(page, 'both');
  await cameraIn(page, 'bottom-left'); // remembered
  assert.deepEqual(browser.faults, []);
});

test('the picture goes on without the timers of the page, which browsers stop in the background', async (t) => {
  const { page } = await openStudio(t, 'hidden');
  await page.evaluate(() => {
    window.requestAnimationFrame = () => 0;
    window.setInterval = /** @type {any} */ (() => 0);
    window.setTimeout = /** @type {any} */ (() => 0);
  });
  await choose(page, 'both');
  await cameraIn(page, 'bottom-right');
  /** The middle of the screen, where a white square wanders. */
  const middle = () =>
    page.evaluate(() => {
      const video = document.querySelector('video');
      const context = new OffscreenCanvas(320, 1).getContext('2d');
      const { videoWidth, videoHeight } = video;
      context.drawImage(video, 0, videoHeight / 2, videoWidth, 1, 0, 0, 320, 1);
      return context.getImageData(0, 0, 320, 1).data.join();
    });
  const seen = new Set();
  await until(async () => seen.add(await middle()).size >= 4, 'the picture to move');
});

test('the camera is sent upright, and mirrored', async (t) => {
  const { page } = await openStudio(t, 'upright');
  await until(async () => (await colourAt(page, [0.2, 0.5])) === 'blue', 'the picture');
  await page.locator('#more summary').click();
  await page.locator('#shape').selectOption('portrait');
  await until(
    () => page.evaluate(() => document.querySelector('video').videoWidth < document.querySelector('video').videoHeight),
    'a picture that is higher than wide',
  );
  await page.locator('#mirror').check();
  await until(async () => (await colourAt(page, [0.2, 0.5])) === 'green', 'the mirrored picture');
  await screenshot(page, 'studio-portrait');
  await page.locator('#go').click();
  await onAir(page);
  const viewer = await (await openBrowser(t)).page();
  await viewer.goto(`${server.origin}/watch/upright`);
  await plays(viewer);
  assert.equal(await colourAt(viewer, [0.2, 0.5]), 'green');
  const [width, height] = await viewer.evaluate(() => {
    const { videoWidth, videoHeight } = document.querySelector('aerial-player').video;
    return [videoWidth, videoHeight];
  });
  assert.ok(height > width, `${width}x${height}`);
});

test('microphone and shared sound have their own volume', async (t) => {
  const { page } = await openStudio(t, 'volume');
  await choose(page, 'screen');
  await page.locator('#more summary').click();
  const level = async () => Number(await page.locator('#meter').getAttribute('aria-valuenow'));
  const slide = (/** @type {string} */ id, /** @type {string} */ value) => page.locator(id).fill(value);
  await slide('#gain', '0');
  await slide('#screen-gain', '100');
  // The shared sound is a tone of -10 dB.
  await until(async () => Math.abs((await level()) + 13) < 4, 'the shared sound alone');
  await slide('#screen-gain', '25');
  await until(async () => Math.abs((await level()) + 25) < 4, 'the shared sound, softer');
  await slide('#screen-gain', '0');
  await until(async () => (await level()) < -55, 'silence');
  assert.equal(await page.locator('#screen-gain-value').textContent(), '0 %');
  await assertAccessible(page, 'all settings');
  await screenshot(page, 'studio-settings');
});

test('codec, bitrate, frame rate and layers are as chosen', async (t) => {
  const { page } = await openStudio(t, 'advanced');
  await page.locator('#more summary').click();
  await page.locator('#codec').selectOption('vp8');
  await page.locator('#rate').selectOption('15');
  await page.locator('#bitrate').fill('900');
  await page.locator('#bitrate').blur();
  await page.locator('#layers').selectOption('3');
  await page.locator('#go').click();
  await onAir(page);
  await server.live('advanced');
  await until(async () => {
    const { tracks } = await server.json('/api/broadcasts/advanced');
    const video = tracks.find((/** @type {{kind: string}} */ { kind }) => kind === 'video');
    return video.codec === 'vp8' && video.layers?.length === 3;
  }, 'three layers of VP8');
  await page.locator('#figures', { hasText: 'VP8' }).waitFor();
  await page.reload();
  assert.equal(await page.locator('#layers').inputValue(), '3', 'remembered');
});

test('a sent broadcast can be recorded, and is kept in parts when the source changes', async (t) => {
  const { page } = await openStudio(t, 'tape');
  const record = page.locator('#record');
  await record.click();
  await page.locator('#record[aria-pressed=true]').waitFor();
  const room = page.locator('#recordings-room');
  assert.match(await room.innerText(), / 20 /);
  await page.waitForTimeout(2_200);
  await choose(page, 'screen');
  await page.locator('#recordings a').first().waitFor();
  await page.waitForTimeout(1_500);
  await record.click();
  await until(async () => (await page.locator('#recordings a').count()) === 2, 'two parts');
  const [download] = await Promise.all([page.waitForEvent('download'), page.locator('#recordings a').last().click()]);
  assert.equal(download.suggestedFilename(), 'tape-1.webm');
  const content = await readFile(await download.path());
  assert.equal(content.readUInt32BE(0), 0x1a45dfa3, 'WebM');
  assert.ok(content.length > 20_000, `${content.length} bytes`);
  assert.equal(await record.getAttribute('aria-pressed'), 'false');
  await assertAccessible(page, 'recordings');
  await screenshot(page, 'studio-recordings');
  assert.match(await room.innerText(), / 18 /);
  await page.locator('#recordings button').first().click();
  assert.match(await room.innerText(), / 19 /);
  assert.equal(await page.locator('#recordings a').count(), 1);
});

test('a recording that the browser has no room for does not begin', async (t) => {
  const { page } = await openStudio(t, 'full');
  await page.evaluate(() => {
    navigator.storage.estimate = async () => ({ quota: 5_000, usage: 5_000 });
  });
  await page.locator('#record').click();
  await page.locator('#recordings-room', { hasText: textOf('publish-recordings-full') }).waitFor();
  assert.equal(await page.locator('#record').getAttribute('aria-pressed'), 'false');
});

test('figures have their course while live, and a summary when it is over', async (t) => {
  const { browser, page } = await openStudio(t, 'course');
  await page.locator('#go').click();
  await onAir(page);
  for (const name of ['bitrate', 'fps', 'rtt', 'viewers'])
    await page.locator(`#figures-panel [data-plot=${name}] path[d*=L]`).waitFor({ state: 'attached' });
  await page.locator('[data-plot=bitrate]', { hasText: /[1-9].*b\/s/ }).waitFor();
  await assertAccessible(page, 'live');
  await screenshot(page, 'studio-live');
  const viewer = await browser.page();
  await viewer.goto(`${server.origin}/watch/course`);
  await plays(viewer);
  await page.locator('[data-plot=viewers]', { hasText: '1' }).waitFor();
  await page.locator('#go').click();
  const summary = page.locator('#summary');
  await summary.getByText(textOf('summary-bitrate')).waitFor();
  assert.match(await summary.innerText(), /\s0:\d\d\s[^\d]*\s1\s[^\d]*\s[1-9].*b\/s/);
  assert.equal(await page.locator('#figures-panel').isVisible(), false);
  await assertAccessible(page, 'summary');
  await screenshot(page, 'studio-summary');
  await page.locator('#go').click();
  await summary.waitFor({ state: 'hidden' });
});

test('five seconds are recorded and played back as a test', async (t) => {
  const { browser, page } = await openStudio(t, 'try', { locale: 'ko-KR' });
  await page.locator('#test', { hasText: textOf('test', { count: 5 }, 'ko') }).click();
  await page.locator('#test', { hasText: textOf('test-left', { count: 5 }, 'ko') }).waitFor();
  await page.locator('#test-sheet').waitFor();
  await until(
    () =>
      page.evaluate(() => /** @type {HTMLVideoElement} */ (document.querySelector('#test-video')).currentTime > 0.5),
    'the recording to play',
  );
  await assertAccessible(page, 'test recording');
  await screenshot(page, 'studio-test');
  await page.locator('#test-close').click();
  await page.locator('#test-sheet').waitFor({ state: 'hidden' });
  await until(async () => (await page.locator('#test-video').getAttribute('src')) === null, 'the recording to be gone');
  assert.deepEqual(browser.faults, []);
});

test('a phone keeps its screen on while live, and shows all settings', async (t) => {
  const { page } = await openStudio(t, 'phone', { viewport: { width: 390, height: 844 }, locale: 'ko-KR' });
  await page.evaluate(() => {
    Object.assign(window, { locks: 0 });
    navigator.wakeLock.request = async () => {
      window.locks += 1;
      return /** @type {any} */ ({ released: false, release: async () => (window.locks -= 1) });
    };
  });
  await page.locator('#go').click();
  await onAir(page);
  assert.equal(await page.evaluate(() => window.locks), 1);
  await page.locator('#go').click();
  await until(() => page.evaluate(() => window.locks === 0), 'the screen to be let go');
  await page.locator('#more summary').click();
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 390, `${wide} pixels wide`);
  await assertAccessible(page, 'phone');
  await screenshot(page, 'studio-phone');
});

/** In the page: devices with colours that can be told apart. */
function paintDevices() {
  const { setInterval } = window; // a test takes it away
  /** @param {(context: CanvasRenderingContext2D) => void} paint */
  const film = (paint) => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 1280, height: 720 });
    const context = canvas.getContext('2d');
    let step = 0;
    setInterval(() => {
      paint(context);
      context.fillStyle = '#fff';
      context.fillRect(step++ % 1280, 350, 20, 20);
    }, 50);
    return canvas.captureStream(20).getVideoTracks();
  };
  const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async ({ video, audio }) => {
    const sound = audio ? (await original({ audio })).getAudioTracks() : [];
    const camera = (/** @type {CanvasRenderingContext2D} */ context) => {
      context.fillStyle = '#00f';
      context.fillRect(0, 0, 640, 720);
      context.fillStyle = '#0c0';
      context.fillRect(640, 0, 640, 720);
    };
    return new MediaStream([...(video ? film(camera) : []), ...sound]);
  };
  navigator.mediaDevices.getDisplayMedia = async () => {
    const audio = new AudioContext();
    const output = audio.createMediaStreamDestination();
    const tone = new OscillatorNode(audio);
    const softer = new GainNode(audio, { gain: 10 ** (-10 / 20) });
    tone.connect(softer).connect(output);
    tone.start();
    const screen = film((context) => {
      context.fillStyle = '#f00';
      context.fillRect(0, 0, 1280, 720);
    });
    return new MediaStream([...screen, ...output.stream.getAudioTracks()]);
  };
}
