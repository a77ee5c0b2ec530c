/** From `/publish/{name}` to `/watch/{name}`. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { ON_AIR, Server, onAir, openBrowser, ownBrowser, screenshot, sleep, test, until } from './harness.js';
import { difference, hears, inStep, keepsDecoding, match, median, moves, played, plays, record } from './media.js';

/** Largest mean difference of a sent and a received picture, of 255; coding costs about 1. */
const ALIKE = 6;
/** From the publisher's preview to the viewer's screen, in milliseconds, on one busy machine. */
const DELAY_MAX = 1_000;

/** @type {Server} */
let server;
before(async () => {
  server = await Server.start(['--demo', 'false']);
});
after(() => server?.stop());

/**
 * @param {import('playwright-core').Page} page
 * @param {string} name
 */
async function goLive(page, name) {
  await page.goto(`${server.origin}/publish/${name}`);
  await page.locator('#go').click();
  await onAir(page);
}

/** @param {import('playwright-core').Page} page */
const stop = (page) => page.locator('#go.stop').click();

test('camera and microphone arrive as they were sent', async (t) => {
  const publishing = await openBrowser(t);
  const studio = await publishing.page();
  await studio.goto(`${server.origin}/publish/cam`);
  // One machine encodes, serves and decodes here: a smaller picture leaves it enough time.
  await studio.locator('#quality').selectOption('480p');
  await goLive(studio, 'cam');
  const watching = await openBrowser(t);
  const viewer = await watching.page();
  await viewer.goto(`${server.origin}/watch/cam`);
  await plays(viewer);
  const [apart] = await Promise.all([inStep(viewer), keepsDecoding(viewer), moves(viewer), hears(viewer)]);
  t.diagnostic(`picture ahead of sound by ${Math.round(apart)} ms`);

  const [shown, seen] = await Promise.all([
    record(studio, { count: 80, every: 40 }),
    sleep(1_500).then(() => record(viewer, { count: 7, every: 220 })),
  ]);
  const matches = match(shown, seen);
  t.diagnostic(`delays ${matches.map(({ delay }) => Math.round(delay))} ms`);
  t.diagnostic(
    `differences ${matches.map((each) => `${each.difference.toFixed(2)} (others ${each.others.toFixed(2)})`)}`,
  );
  assert.ok(median(matches.map((each) => each.difference)) < ALIKE, 'the viewer sees other pictures than were sent');
  assert.ok(median(matches.map((each) => each.others / each.difference)) > 2, 'any picture would have matched');
  const delay = median(matches.map((each) => each.delay));
  assert.ok(delay > -60 && delay < DELAY_MAX, `seen ${delay} ms after it was shown`);

  await studio.locator('#viewers', { hasText: '1' }).waitFor();
  await studio.locator('#figures', { hasText: 'fps' }).waitFor();
  await screenshot(studio, 'publish-live');
  await screenshot(viewer, 'watch-cam');
  await stop(studio);
  await studio.locator('#screen[data-state=closed]').waitFor();
  assert.deepEqual([...publishing.faults, ...watching.faults], []);
});

test('a viewer page goes on when the publisher stops and starts again', async (t) => {
  const browser = await openBrowser(t);
  const studio = await browser.page();
  await goLive(studio, 'again');
  const viewer = await (await openBrowser(t)).page();
  await viewer.goto(`${server.origin}/watch/again`);
  await plays(viewer);
  await viewer.evaluate(() => {
    window.notReloaded = true;
  });

  await stop(studio);
  await until(async () => (await played(viewer)).state !== 'live', 'the viewer to notice');
  await screenshot(viewer, 'watch-interrupted');
  await studio.locator('#go').click();
  await onAir(studio);
  await plays(viewer, 'the viewer to go on');
  await keepsDecoding(viewer);
  assert.equal(await viewer.evaluate(() => window.notReloaded), true);
});

test('a viewer page goes on when the publisher vanishes and another takes over', async (t) => {
  const first = await ownBrowser(t);
  await goLive(await first.page(), 'vanish');
  const viewer = await (await openBrowser(t)).page();
  await viewer.goto(`${server.origin}/watch/vanish`);
  await plays(viewer);
  await first.browser.close(); // no DELETE, no goodbye

  const second = await (await openBrowser(t)).page();
  await second.goto(`${server.origin}/publish/vanish`);
  await until(async () => {
    const button = second.locator('#go.primary');
    if (await button.isVisible()) await button.click();
    return second.locator(ON_AIR).isVisible();
  }, 'the name to be free again');
  await plays(viewer, 'the viewer to go on');
  await keepsDecoding(viewer);
});

test('a waiting page begins to play when the broadcast starts', async (t) => {
  const browser = await openBrowser(t);
  const viewer = await browser.page();
  await viewer.goto(`${server.origin}/watch/later`);
  await until(async () => (await played(viewer)).state === 'waiting', 'the page to wait');
  await screenshot(viewer, 'watch-waiting');
  const studio = await browser.page();
  await goLive(studio, 'later');
  await plays(viewer, 'the waiting page to play');
  await keepsDecoding(viewer);
});

test('mute, another quality and sound alone work while live', async (t) => {
  const browser = await openBrowser(t);
  const studio = await browser.page();
  await goLive(studio, 'switch');
  const viewer = await (await openBrowser(t)).page();
  await viewer.goto(`${server.origin}/watch/switch`);
  await plays(viewer);

  const microphone = studio.locator('#mute-mic');
  await microphone.click();
  assert.equal(await microphone.getAttribute('aria-pressed'), 'true');
  await until(async () => {
    const before = (await played(viewer)).energy;
    await sleep(1_200); // longer than from beep to beep
    return (await played(viewer)).energy - before < 1e-4;
  }, 'silence');
  await microphone.click();
  await hears(viewer);

  await studio.locator('#quality').selectOption('360p');
  await until(async () => {
    const { width } = await played(viewer);
    return width > 0 && width <= 640;
  }, 'the smaller picture');
  await keepsDecoding(viewer);
  await studio.locator('[name=source][value=audio]').check();
  await studio.locator('#curtain[data-mark=mic]').waitFor();
  await hears(viewer);
});

test('a microphone that is unplugged while live is missed, and used again when it is back', async (t) => {
  const browser = await openBrowser(t);
  const studio = await browser.page();
  await studio.addInitScript(() => {
    const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (constraints) => {
      const stream = await original(constraints);
      window.microphone = stream.getAudioTracks()[0] ?? window.microphone;
      return stream;
    };
  });
  await goLive(studio, 'unplug');
  const viewer = await (await openBrowser(t)).page();
  await viewer.goto(`${server.origin}/watch/unplug`);
  await plays(viewer);
  await studio.evaluate(() => {
    window.microphone.stop(); // like unplugging it, except that then the browser sends the event itself
    window.microphone.dispatchEvent(new Event('ended'));
  });
  const missing = studio.locator('#notice[data-reason=microphone-gone]');
  await missing.waitFor();
  await studio.evaluate(() => navigator.mediaDevices.dispatchEvent(new Event('devicechange')));
  await missing.waitFor({ state: 'hidden' });
  await hears(viewer);
  assert.equal(await studio.locator(ON_AIR).isVisible(), true);
});

test('H264 is what the server gets, and a screen can take the place of the camera', async (t) => {
  const browser = await openBrowser(t);
  const studio = await browser.page();
  await studio.addInitScript(shareRed);
  await goLive(studio, 'screen');
  await server.live('screen');
  /** @type {{tracks: {kind: string, codec: string}[]}} */
  const { tracks } = await server.json('/api/broadcasts/screen');
  const canEncode = await studio.evaluate(() =>
    RTCRtpSender.getCapabilities('video').codecs.some(({ mimeType }) => mimeType === 'video/H264'),
  );
  assert.equal(tracks.find(({ kind }) => kind === 'video').codec, canEncode ? 'h264' : 'vp8');
  assert.equal(tracks.find(({ kind }) => kind === 'audio').codec, 'opus');

  const viewer = await (await openBrowser(t)).page();
  await viewer.goto(`${server.origin}/watch/screen`);
  await plays(viewer);
  const session = () => viewer.evaluate(() => document.querySelector('aerial-player').client.stream.id);
  const before = await session();
  await studio.locator('[name=source][value=screen]').check();
  await until(async () => {
    const [{ pixels }] = await record(viewer, { count: 1, every: 0 });
    return (
      difference(
        pixels,
        pixels.map(() => RED),
      ) < 12
    );
  }, 'the screen to be seen');
  assert.equal(await session(), before);
  await hears(viewer);
});

/** What `record` makes of pure red. */
const RED = 64;

/** In the page: a red screen with a sound of its own, since Chromium's fake screen looks like its fake camera. */
function shareRed() {
  navigator.mediaDevices.getDisplayMedia = async () => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 1280, height: 720 });
    const context = canvas.getContext('2d');
    let step = 0;
    setInterval(() => {
      context.fillStyle = '#f00';
      context.fillRect(0, 0, 1280, 720);
      context.fillStyle = '#fff';
      context.fillRect(step++ % 1280, 700, 20, 20);
    }, 50);
    const audio = new AudioContext();
    const output = audio.createMediaStreamDestination();
    const tone = new OscillatorNode(audio);
    tone.connect(output);
    tone.start();
    return new MediaStream([...canvas.captureStream(20).getVideoTracks(), ...output.stream.getAudioTracks()]);
  };
}
