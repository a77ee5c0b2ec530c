/** The output `hls.launch`: played in Chromium by hls.js, and decoded by FFmpeg. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { AUTOPLAY, Server, openBrowser, test, until } from './harness.js';

const PLAYER = fileURLToPath(import.meta.resolve('hls.js/dist/hls.min.js'));
const PAGE = `<!doctype html><meta charset="utf-8"><title>HLS</title><link rel="icon" href="data:,">
<video muted autoplay playsinline></video><script src="/hls.js"></script>
<script>
  const hls = new Hls();
  window.faults = [];
  hls.on(Hls.Events.ERROR, (event, data) => { if (data.fatal) window.faults.push(data.details); });
  hls.loadSource('/index.m3u8');
  hls.attachMedia(document.querySelector('video'));
</script>`;
/** @type {Record<string, string>} */
const TYPES = { '.m3u8': 'application/vnd.apple.mpegurl', '.mp4': 'video/mp4', '.m4s': 'video/iso.segment' };

/**
 * Serves the files of a folder, as any web server would, and a page that plays them.
 * @param {import('node:test').TestContext} t
 * @param {string} folder
 */
async function deliver(t, folder) {
  const server = createServer(async (request, response) => {
    const name = path.basename(request.url);
    try {
      if (request.url === '/') response.setHeader('Content-Type', 'text/html').end(PAGE);
      else if (name === 'hls.js') response.setHeader('Content-Type', 'text/javascript').end(await readFile(PLAYER));
      else
        response
          .setHeader('Content-Type', TYPES[path.extname(name)] ?? 'text/plain')
          .end(await readFile(path.join(folder, name)));
    } catch {
      response.writeHead(404).end();
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`;
}

/**
 * Codec and number of frames of each stream in the first seconds, as FFmpeg decodes them.
 * @param {string} playlist
 */
async function decoded(playlist) {
  const options = '-v error -count_frames -read_intervals %+4 -of json -show_entries stream=codec_name,nb_read_frames';
  const probe = spawn('ffprobe', [...options.split(' '), playlist], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [text, complaints] = ['', ''];
  probe.stdout.on('data', (data) => {
    text += data;
  });
  probe.stderr.on('data', (data) => {
    complaints += data;
  });
  const timer = setTimeout(() => probe.kill('SIGKILL'), 60_000);
  const [code] = await once(probe, 'close');
  clearTimeout(timer);
  assert.equal(code, 0, complaints);
  const { streams } = JSON.parse(text);
  return Object.fromEntries(
    streams.map((/** @type {Record<string, string>} */ stream) => [stream.codec_name, Number(stream.nb_read_frames)]),
  );
}

test('HLS plays in Chromium and in FFmpeg', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'aerial-hls-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const config = path.join(folder, 'aerial.toml');
  await writeFile(
    config,
    `[broadcasts.card]\nsource = "demo.launch"\noutputs = ["hls.launch"]\n` +
      `vars = { directory = "${folder}", target = "1", width = "640", height = "360", gop = "30" }\n`,
  );
  const server = await Server.start(['--config', config]);
  t.after(() => server.stop());
  const playlist = (/** @type {string} */ name) => readFile(path.join(folder, name), 'utf8').catch(() => '');
  await until(
    async () => (await playlist('video.m3u8')).includes('.m4s') && (await playlist('audio.m3u8')).includes('.m4s'),
    'segments of video and audio',
    60_000,
  );
  const origin = await deliver(t, folder);

  const browser = await openBrowser(t, AUTOPLAY);
  const page = await browser.page();
  await page.goto(origin);
  const figures = () =>
    page.evaluate(() => {
      const video = document.querySelector('video');
      return {
        frames: video.getVideoPlaybackQuality().totalVideoFrames,
        sound: video.webkitAudioDecodedByteCount,
        width: video.videoWidth,
        faults: window.faults,
      };
    });
  const plays = async (/** @type {number} */ more) => {
    const before = await figures();
    await until(
      async () => {
        const now = await figures();
        assert.deepEqual(now.faults, []);
        return now.frames >= before.frames + more && now.sound > before.sound;
      },
      `${more} more frames, and sound`,
      60_000,
    );
  };
  await plays(30);
  await plays(60); // across segments
  assert.equal((await figures()).width, 640);

  const streams = await decoded(`${origin}/index.m3u8`);
  assert.ok(streams.h264 >= 30 && streams.aac >= 30, JSON.stringify(streams));
});
