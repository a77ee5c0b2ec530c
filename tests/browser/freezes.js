/**
 * Measures what a bad network does to the picture: the frame rate and the freezes that Chromium shows.
 * Run it by hand on an idle machine; it is not a test. See CONTRIBUTING.md.
 *
 *   cargo build --release
 *   AERIAL_BIN=../../target/release/aerial node freezes.js [--option=value ...]
 *
 *   --loss=0,1,3,5,10   losses in per cent, a run each           5
 *   --delay=25          milliseconds one way
 *   --jitter, --burst, --reorder, --duplicate                    as of `Path` in relay.js
 *   --seconds=60        length of a run
 *   --settle=10         seconds from the first picture to the measurement, so that the receiver knows its network
 *   --side=viewer       who is behind the bad network: viewer or publisher
 *   --engine=direct     publisher's engine, with --side=publisher
 *   --seed=1            of the relay's generator
 *   --verbose           prints every freeze, with what arrived around it
 */

import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { AUTOPLAY, Server, onAir, openBrowser, sleep } from './harness.js';
import { plays } from './media.js';
import { Relay, through } from './relay.js';

/** Pauses between two pictures longer than these are counted, in milliseconds. */
const LONG = [150, 250, 500];

/** By itself Chromium's fake camera makes 20 pictures a second. */
const CAMERA = ['--use-fake-device-for-media-stream=fps=30', '--use-fake-ui-for-media-stream', ...AUTOPLAY];

const { values: options } = parseArgs({
  options: {
    loss: { type: 'string', default: '5' },
    delay: { type: 'string', default: '25' },
    jitter: { type: 'string', default: '0' },
    burst: { type: 'string', default: '1' },
    reorder: { type: 'string', default: '0' },
    duplicate: { type: 'string', default: '0' },
    seconds: { type: 'string', default: '60' },
    side: { type: 'string', default: 'viewer' },
    engine: { type: 'string', default: 'direct' },
    settle: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    verbose: { type: 'boolean', default: false },
  },
});

/** Notes when each picture is shown. @param {import('playwright-core').Page} page */
function watchPictures(page) {
  return page.evaluate(() => {
    const { video } = document.querySelector('aerial-player');
    window.pictures = [];
    /** @type {VideoFrameRequestCallback} */
    const note = (now, { presentedFrames, receiveTime, rtpTimestamp }) => {
      window.pictures.push({ now, presentedFrames, receiveTime, rtpTimestamp });
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  });
}

/** The receiver's figures of the picture. @param {import('playwright-core').Page} page */
function received(page) {
  return page.evaluate(async () => {
    /** @type {Record<string, number>} */
    let video = {};
    const reports = await document.querySelector('aerial-player').client.peer.getStats();
    reports.forEach((report) => {
      if (report.type === 'inbound-rtp' && report.kind === 'video') video = { ...report };
    });
    return video;
  });
}

/**
 * Share of the machine's time that was used by anything.
 * @param {import('node:os').CpuInfo[]} from
 * @param {import('node:os').CpuInfo[]} to
 */
function busy(from, to) {
  /** @typedef {keyof import('node:os').CpuInfo['times']} Time */
  const sum = (/** @type {import('node:os').CpuInfo[]} */ all, /** @type {Time[]} */ kinds) =>
    all.reduce((total, { times }) => total + kinds.reduce((part, kind) => part + times[kind], 0), 0);
  const all = /** @type {Time[]} */ (Object.keys(to[0].times));
  return 1 - (sum(to, ['idle']) - sum(from, ['idle'])) / (sum(to, all) - sum(from, all));
}

/**
 * @param {import('./harness.js').Context} t
 * @param {import('./relay.js').Path} path
 */
async function open(t, path) {
  const relay = await Relay.start(path, Number(options.seed));
  t.after(() => relay.stop());
  const far = options.side === 'publisher';
  const server = await Server.start(far ? ['--demo', 'false', '--webrtc.publisher_engine', options.engine] : []);
  t.after(() => server.stop());
  if (far) {
    const studio = await (await openBrowser(t, CAMERA)).page();
    await through(studio, relay);
    await studio.goto(`${server.origin}/publish/demo`);
    await studio.locator('#quality').selectOption('480p');
    await studio.locator('#go').click();
    await onAir(studio);
  }
  await server.live('demo');
  const page = await (await openBrowser(t, AUTOPLAY)).page();
  if (!far) await through(page, relay);
  await page.goto(`${server.origin}/watch/demo`);
  await plays(page);
  return { relay, page, server };
}

/** @param {import('./relay.js').Path} path */
async function run(path) {
  /** @type {(() => unknown)[]} */
  const ends = [];
  /** @type {import('./harness.js').Context} */
  const t = { after: (end) => void ends.unshift(end), diagnostic: console.error };
  try {
    const { relay, page, server } = await open(t, path);
    await sleep(Number(options.settle) * 1000);
    await watchPictures(page);
    const [from, passed, lost, used] = [await received(page), relay.counts.passed, relay.counts.lost, cpus()];
    await sleep(Number(options.seconds) * 1000);
    const [to, usedAfter] = [await received(page), cpus()];
    const pictures = await page.evaluate(() => window.pictures);
    const since = (/** @type {string} */ name) => (to[name] ?? 0) - (from[name] ?? 0);
    const pauses = pictures.slice(1).map((picture, index) => picture.now - pictures[index].now);
    // The timestamps (90 kHz) show what the source itself left out, as an encoder short of CPU
    // does.
    const media = pictures.slice(1).map((picture, index) => (picture.rtpTimestamp - pictures[index].rtpTimestamp) / 90);
    if (options.verbose) {
      pauses.forEach((pause, index) => {
        if (pause > LONG[0])
          console.error(
            `${Math.round(pictures[index].now)}: ${Math.round(pause)} ms`,
            JSON.stringify(pictures.slice(index - 1, index + 4)),
          );
      });
    }
    const total = relay.counts.lost - lost;
    const figures = {
      'loss %': ((100 * total) / (total + relay.counts.passed - passed)).toFixed(1),
      'fps decoded': (since('framesDecoded') / ((to.timestamp - from.timestamp) / 1000)).toFixed(2),
      'fps shown': (pauses.length / ((pictures.at(-1).now - pictures[0].now) / 1000)).toFixed(2),
      'longest ms': Math.round(Math.max(...pauses)),
      'of media': Math.round(media[pauses.indexOf(Math.max(...pauses))]),
      ...Object.fromEntries(LONG.map((long) => [`> ${long}`, pauses.filter((pause) => pause > long).length])),
      'freezes (getStats)': since('freezeCount'),
      'frozen s': since('totalFreezesDuration').toFixed(2),
      'buffer ms': Math.round((1000 * since('jitterBufferDelay')) / since('jitterBufferEmittedCount')),
      'nacks': since('nackCount'),
      'plis': since('pliCount'),
      'again': since('retransmittedPacketsReceived'),
      'dropped': since('framesDropped'),
      'busy %': Math.round(100 * busy(used, usedAfter)),
      'load': loadavg()[0].toFixed(1),
    };
    // What the server never received from its publisher.
    await server.stop();
    const [, unrecovered] = server.log.match(/role=publisher.* lost=(\d+)/) ?? [];
    return unrecovered ? { ...figures, unrecovered: Number(unrecovered) } : figures;
  } finally {
    for (const end of ends) await end();
  }
}

/** @type {Record<string, Awaited<ReturnType<typeof run>>>} */
const results = {};
for (const loss of options.loss.split(',').map(Number)) {
  const { delay, jitter, burst, reorder, duplicate } = Object.fromEntries(
    Object.entries(options).map(([name, value]) => [name, Number(value)]),
  );
  results[`${loss} %`] = await run({ loss: loss / 100, delay, jitter, burst, reorder, duplicate });
  console.log(`${loss} % loss, ${delay} ms one way:`, JSON.stringify(results[`${loss} %`]));
}
console.table(results);
process.exit(0);
