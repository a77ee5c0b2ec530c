/** `make cluster`, in a browser: the service at one address, of which parts die. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { BINARY, openBrowser, test, until } from './harness.js';
import { keepsDecoding, plays } from './media.js';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
/** The first of 21 ports, below those that the system gives to others. */
const PORT = 12_000 + (process.pid % 300) * 21;
/** Debug builds on small machines are slow to start. */
const START_TIMEOUT = 60_000;
/** Longest pause of a viewer whose node dies, in milliseconds: two seconds on a machine with nothing else to do. */
const PAUSE_MAX = 4_000;

/**
 * Starts the cluster, and ends it after the test.
 * @param {import('node:test').TestContext} t
 */
async function startCluster(t) {
  const folder = await mkdtemp(path.join(tmpdir(), 'aerial-cluster-'));
  const cluster = spawn(path.join(ROOT, '.ci/cluster'), {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      AERIAL_BIN: BINARY,
      NATS_SERVER: path.join(ROOT, 'tests/.venv/bin/nats-server'),
      CLUSTER_FOLDER: folder,
      CLUSTER_PORT: String(PORT),
    },
  });
  t.after(async () => {
    if (cluster.exitCode === null) {
      const ended = once(cluster, 'exit');
      cluster.kill('SIGTERM');
      await ended;
    }
    await rm(folder, { recursive: true, force: true });
  });
  let said = '';
  cluster.stdout.on('data', (data) => {
    said += data;
  });
  await until(() => said.includes('Ctrl+C') || cluster.exitCode !== null, 'the cluster to run', START_TIMEOUT);
  const nodes = said.matchAll(/http:\/\/localhost:(\d+) +(node-\d), process (\d+); operator: (\S+)/g);
  return [...nodes].map(([, port, name, pid, operator]) => ({ port, name, pid: Number(pid), operator }));
}

/**
 * Whether a node runs the demo.
 * @param {{operator: string}} node
 */
async function isOrigin({ operator }) {
  const { origin, searchParams } = new URL(operator);
  const headers = { Authorization: `Bearer ${searchParams.get('token')}` };
  const metrics = await (await fetch(`${origin}/metrics`, { headers })).text();
  return !metrics.includes('aerial_pipeline_starts_total{kind="source"} 0');
}

test('a viewer whose node dies plays again through another one', async (t) => {
  const nodes = await startCluster(t);
  assert.equal(nodes.length, 3);
  const origins = await Promise.all(nodes.map(isOrigin));
  assert.deepEqual(origins.filter(Boolean), [true], 'one node runs the demo');
  const edge = nodes[origins.indexOf(false)];

  const site = `http://localhost:${PORT}`;
  const { context, page: open, faults } = await openBrowser(t);
  await context.addCookies([{ name: 'NODE', value: edge.name, url: site }]);
  const page = await open();
  await page.goto(`${site}/watch/demo`);
  await plays(page);
  const place = async () => (await context.cookies()).find(({ name }) => name === 'NODE')?.value;
  assert.equal(await place(), edge.name);
  await keepsDecoding(page, { fps: 10 });

  await page.evaluate(() => {
    const { video } = /** @type {any} */ (document.querySelector('aerial-player'));
    const watched = Object.assign(window, { longest: 0 });
    let last = performance.now();
    const note = () => {
      const now = performance.now();
      watched.longest = Math.max(watched.longest, now - last);
      last = now;
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  });
  process.kill(edge.pid, 'SIGKILL');
  const longest = () => page.evaluate(() => /** @type {any} */ (window).longest);
  await until(async () => (await longest()) > 500, 'the picture to come back');
  t.diagnostic(`${Math.round(await longest())} ms without a picture`);
  assert.ok((await longest()) < PAUSE_MAX, `${await longest()} ms without a picture`);
  await plays(page);
  await keepsDecoding(page, { fps: 10 });
  assert.notEqual(await place(), edge.name);
  assert.deepEqual(faults, []);
});
