/** What viewers really hear and see: figures and pixels read inside the pages. */

import assert from 'node:assert/strict';
import { sleep, until } from './harness.js';

/** @typedef {import('./page.d.ts').AnyPage} AnyPage */

/** Size of the sampled pictures, in pixels. */
const WIDTH = 80;
const HEIGHT = 45;

/**
 * Figures of the player of a watch page.
 * @param {AnyPage} page
 */
export function played(page) {
  return page.evaluate(async () => {
    const player = document.querySelector('aerial-player');
    const result = {
      state: player.state,
      frames: 0,
      energy: 0,
      samples: 0,
      concealed: 0,
      videoPlayout: 0,
      audioPlayout: 0,
      width: 0,
      codec: '',
      sessions: 0,
    };
    const reports = new Map();
    (await player.client?.peer?.getStats())?.forEach((report) => reports.set(report.id, report));
    for (const report of reports.values()) {
      if (report.type !== 'inbound-rtp') continue;
      if (report.kind === 'video') {
        result.frames = report.framesDecoded ?? 0;
        result.width = report.frameWidth ?? 0;
        result.videoPlayout = report.estimatedPlayoutTimestamp ?? 0;
        result.codec = reports.get(report.codecId)?.mimeType ?? '';
      } else {
        result.energy = report.totalAudioEnergy ?? 0;
        result.samples = report.totalSamplesReceived ?? 0;
        result.concealed = report.concealedSamples ?? 0;
        result.audioPlayout = report.estimatedPlayoutTimestamp ?? 0;
      }
    }
    return result;
  });
}

/** Waits until a watch page plays. @param {AnyPage} page */
export async function plays(page, what = 'the player to play') {
  await until(async () => {
    const { state, frames } = await played(page);
    return state === 'live' && frames > 0;
  }, what);
}

/**
 * Opens a watch page and asserts that its picture moves, and that its sound is heard, in step with
 * it.
 * @param {import('node:test').TestContext} t
 * @param {import('playwright-core').Page} page
 * @param {string} url
 */
export async function playsWhole(t, page, url) {
  const from = Date.now();
  await page.goto(url);
  await plays(page);
  t.diagnostic(`playing ${Date.now() - from} ms after navigation`);
  const [apart] = await Promise.all([
    inStep(page),
    keepsDecoding(page, { seconds: 4, fps: 10 }),
    moves(page),
    hears(page),
  ]);
  t.diagnostic(`picture ahead of sound by ${Math.round(apart)} ms`);
}

/**
 * Asserts that frames keep being decoded, second after second.
 * @param {AnyPage} page
 * @param {{seconds?: number, fps?: number}} [expected] At least this many frames in each second.
 */
export async function keepsDecoding(page, { seconds = 2, fps = 5 } = {}) {
  let before = await played(page);
  for (let second = 1; second <= seconds; second += 1) {
    await sleep(1_000);
    const now = await played(page);
    assert.ok(now.frames - before.frames >= fps, `second ${second}: ${now.frames - before.frames} frames decoded`);
    before = now;
  }
}

/** Share of the sound that a browser may have made up, because it had none in time. */
const CONCEALED_MAX = 0.1;
/** So long is listened at a time, in milliseconds: fake microphones beep once a second or more often. */
const HEARD = 1_500;
/** Milliseconds until sound flows; a busy machine has some stutter at the beginning. */
const SOUND_TIMEOUT = 25_000;
/** So many frames more than before are decoded within this many milliseconds, however busy the machine is. */
const MORE_TIMEOUT = 60_000;

/**
 * Waits until this many more frames have been decoded.
 * @param {AnyPage} page
 * @param {number} [more]
 */
export async function decodesMore(page, more = 30) {
  const before = (await played(page)).frames;
  await until(async () => (await played(page)).frames >= before + more, `${more} more frames`, MORE_TIMEOUT);
}

/**
 * Asserts that sound arrives, and is not silence.
 * @param {AnyPage} page
 */
export async function hears(page) {
  let before = await played(page);
  const seen = [];
  for (const end = Date.now() + SOUND_TIMEOUT; Date.now() < end;) {
    await sleep(HEARD);
    const now = await played(page);
    const concealed = (now.concealed - before.concealed) / (now.samples - before.samples);
    if (now.energy > before.energy && concealed < CONCEALED_MAX) return;
    seen.push(
      `energy ${(now.energy - before.energy).toFixed(4)}, ${(concealed * 100).toFixed(1)} % made up by the browser`,
    );
    before = now;
  }
  assert.fail(`no sound, or too little: ${seen.join('; ')}`);
}

/**
 * Asserts that a picture goes on and moves, and that sound comes with it.
 * @param {AnyPage} page
 */
export const seenAndHeard = (page) => Promise.all([decodesMore(page), moves(page), hears(page)]);

/** Lips and voice further apart than this many milliseconds are noticed. */
const APART_MAX = 60;
/** Readings looked at together: nine seconds, so that passing through zero does not count as being in step. */
const STEP_READINGS = 45;
/** A browser moves towards step in small strides, and its sound buffer begins long; milliseconds. */
const STEP_TIMEOUT = 45_000;

/**
 * Waits until picture and sound are in step, by the median of nine seconds. They are compared
 * by the sender's clock, which the browser reconstructs from sender reports.
 * @param {AnyPage} page
 * @returns {Promise<number>} How far the picture is ahead of the sound in milliseconds.
 */
export async function inStep(page) {
  /** @type {number[]} */
  const readings = [];
  const end = Date.now() + STEP_TIMEOUT;
  while (Date.now() < end) {
    const { videoPlayout, audioPlayout } = await played(page);
    if (videoPlayout > 0 && audioPlayout > 0) readings.push(videoPlayout - audioPlayout);
    const last = readings.slice(-STEP_READINGS);
    if (last.length === STEP_READINGS && Math.abs(median(last)) < APART_MAX) return median(last);
    await sleep(200);
  }
  return assert.fail(
    `picture ahead of sound by ${readings.map(Math.round).join(', ') || 'an unknown time: no sender reports'} ms`,
  );
}

/**
 * Records what a video element shows, as small pictures with times: grey ones, or all three colours.
 * @param {AnyPage} page
 * @param {{count: number, every: number, colours?: boolean}} plan
 * @returns {Promise<{time: number, pixels: number[]}[]>}
 */
export function record(page, { count, every, colours = false }) {
  return page.evaluate(
    async ({ count, every, colours, width, height }) => {
      const video = document.querySelector('aerial-player')?.video ?? document.querySelector('video');
      const canvas = new OffscreenCanvas(width, height);
      const context = canvas.getContext('2d', { willReadFrequently: true });
      const pictures = [];
      for (let index = 0; index < count; index += 1) {
        context.drawImage(video, 0, 0, width, height);
        const time = performance.timeOrigin + performance.now();
        const { data } = context.getImageData(0, 0, width, height);
        const pixels = [];
        for (let at = 0; at < data.length; at += 4) {
          const [red, green, blue] = data.subarray(at, at + 3);
          if (colours) pixels.push(red, green, blue);
          else pixels.push(Math.round((red + 2 * green + blue) / 4));
        }
        pictures.push({ time, pixels });
        await new Promise((resolve) => setTimeout(resolve, every));
      }
      return pictures;
    },
    { count, every, colours, width: WIDTH, height: HEIGHT },
  );
}

/**
 * Mean difference of two pictures, 0 to 255.
 * @param {number[]} a
 * @param {number[]} b
 */
export function difference(a, b) {
  return a.reduce((sum, pixel, index) => sum + Math.abs(pixel - b[index]), 0) / a.length;
}

/**
 * Asserts that the picture moves, or at least its colour, which is all that Firefox's fake camera
 * does.
 * @param {AnyPage} page
 */
export async function moves(page) {
  const pictures = await record(page, { count: 6, every: 400, colours: true });
  const changes = pictures.slice(1).map((picture, index) => difference(picture.pixels, pictures[index].pixels));
  const changed = changes.filter((change) => change > 0.13).length;
  assert.ok(changed >= 3, `the picture changed by ${changes.map((change) => change.toFixed(2))}`);
}

/** How long before it was seen (or after, as clocks go) a picture may have been shown, in milliseconds. */
const EARLIEST = 2_000;
const LATEST = -80;

/**
 * Finds each picture that a viewer saw among those that the publisher showed.
 * @param {{time: number, pixels: number[]}[]} shown
 * @param {{time: number, pixels: number[]}[]} seen
 * @returns {{delay: number, difference: number, others: number}[]} Milliseconds from shown to seen;
 *   how far the best match is off; how far a random one would be.
 */
export function match(shown, seen) {
  return seen.map(({ time, pixels }) => {
    const candidates = shown
      .map((picture) => ({ delay: time - picture.time, difference: difference(picture.pixels, pixels) }))
      .filter(({ delay }) => delay < EARLIEST && delay > LATEST);
    const best = candidates.reduce((a, b) => (b.difference < a.difference ? b : a));
    return { ...best, others: median(candidates.map((candidate) => candidate.difference)) };
  });
}

/** @param {number[]} values */
export function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/**
 * Publishes sound and picture from a page that does nothing but that. Returns the server's answer.
 * @param {import('playwright-core').Page} page
 * @param {string} url
 * @param {MediaTrackConstraints} video
 */
export function publishes(page, url, video) {
  return page.evaluate(
    async ({ url, video }) => {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video });
      const peer = new RTCPeerConnection();
      Object.assign(window, { peer });
      for (const track of stream.getTracks()) peer.addTransceiver(track, { direction: 'sendonly' });
      await peer.setLocalDescription();
      const headers = { 'content-type': 'application/sdp' };
      const reply = await fetch(url, { method: 'POST', headers, body: peer.localDescription?.sdp });
      const answer = await reply.text();
      await peer.setRemoteDescription({ type: 'answer', sdp: answer });
      return answer;
    },
    { url, video },
  );
}
