/** Starts the server and the browsers for the tests, and ends exactly what it has started. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { after, test as nodeTest } from 'node:test';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import axe from 'axe-core';
import { chromium } from 'playwright-core';

const HERE = path.dirname(fileURLToPath(import.meta.url));
export const BINARY = path.resolve(process.env.AERIAL_BIN ?? path.join(HERE, '../../target/debug/aerial'));
const NGINX = '/usr/sbin/nginx';
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
/** Debug builds on small machines are slow to start. */
const START_TIMEOUT = 20_000;
const STOP_TIMEOUT = 10_000;
/** No single wait of a test is longer than this, in milliseconds. */
export const WAIT = 20_000;
/** No test is longer than this, in milliseconds. */
const TEST_TIMEOUT = 120_000;
/** Pictures of the pages, kept for a person to look at. */
export const SCREENSHOTS = process.env.AERIAL_SCREENSHOTS ?? path.join(tmpdir(), 'aerial-screenshots');

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--allow-loopback-in-peer-connection',
  '--disable-background-timer-throttling',
  '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
];
/** The demo in a quarter of its size: in most tests it only has to be there. */
const SMALL_DEMO =
  '[broadcasts.demo]\nsource = "demo.launch"\nvars = { width = "640", height = "360", bitrate = "800" }\n';
export const FAKE_DEVICES = ['--use-fake-device-for-media-stream'];
export const AUTOPLAY = ['--autoplay-policy=no-user-gesture-required'];

export async function freeTcpPort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  server.close();
  await once(server, 'close');
  return port;
}

async function freeUdpPort() {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  await once(socket, 'close');
  return port;
}

/**
 * If the runner ends a test file that takes too long, everything it has started ends as well.
 * @type {Set<import('node:child_process').ChildProcess>}
 */
const running = new Set();
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) {
  process.once(signal, () => {
    for (const child of running) child.kill('SIGKILL');
    process.exit(1);
  });
}

/** The environment without options for the server, which would change its behaviour. */
function environment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('AERIAL_')));
}

/** A running `aerial serve` in an empty folder of its own. */
export class Server {
  /** @type {string} */ folder;
  /** @type {string} */ origin;
  /** The end of its log. */ log = '';
  /** @type {number} */ udpPort;
  /** @type {import('node:child_process').ChildProcessByStdio<null, import('node:stream').Readable, import('node:stream').Readable>} */
  process;

  /**
   * @param {string[]} [options] Flags of `aerial serve`. Without a configuration the demo is there, small.
   * @param {'http'|'https'} [scheme]
   */
  static async start(options = [], scheme = 'http') {
    const isAdmin = options.includes('--admin.listen');
    const server = new Server();
    server.folder = await mkdtemp(path.join(tmpdir(), 'aerial-browser-'));
    const file = path.join(server.folder, 'demo.toml');
    const isPlain = !options.includes('--config') && !options.includes('--demo');
    if (isPlain) await writeFile(file, SMALL_DEMO);
    const listen = `127.0.0.1:${await freeTcpPort()}`;
    server.origin = `${scheme}://${listen}`;
    const pages = process.env.AERIAL_WEB ? ['--web', path.resolve(process.env.AERIAL_WEB)] : []; // otherwise those in the binary
    server.udpPort = await freeUdpPort();
    server.process = spawn(
      BINARY,
      [
        'serve',
        ...['--listen', listen, '--udp', `127.0.0.1:${server.udpPort}`],
        ...(isAdmin ? [] : ['--admin.listen', 'off']), // servers run side by side
        ...pages,
        ...(isPlain ? ['--config', file] : []),
        ...options,
      ],
      {
        cwd: server.folder,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: environment(),
      },
    );
    running.add(server.process);
    server.process.once('exit', () => running.delete(server.process));
    for (const stream of [server.process.stdout, server.process.stderr]) {
      stream.on('data', (data) => {
        server.log = (server.log + data).slice(-20_000);
      });
    }
    server.process.on('error', (error) => {
      server.log += error;
    });
    try {
      await until(() => server.#ready(), `${BINARY} to answer`, START_TIMEOUT);
    } catch (error) {
      await server.stop();
      throw new Error(`the server did not start:\n${server.log}`, { cause: error });
    }
    return server;
  }

  async #ready() {
    if (this.process.exitCode !== null) throw new Error(`it ended with code ${this.process.exitCode}`);
    try {
      return (await fetch(`${this.origin}/healthz`)).ok;
    } catch {
      return false; // not listening yet
    }
  }

  async stop() {
    if (this.process.exitCode === null && this.process.pid) {
      const ended = once(this.process, 'exit');
      this.process.kill('SIGTERM');
      const timer = setTimeout(() => this.process.kill('SIGKILL'), STOP_TIMEOUT);
      await ended;
      clearTimeout(timer);
    }
    await rm(this.folder, { recursive: true, force: true });
  }

  /** @param {string} route */
  async json(route) {
    return (await fetch(this.origin + route)).json();
  }

  /** Waits until the server says that a broadcast is live. @param {string} name */
  async live(name) {
    await until(async () => {
      const { broadcasts } = await this.json('/api/broadcasts');
      return broadcasts.some(
        (/** @type {{name: string, state: string}} */ broadcast) =>
          broadcast.name === name && broadcast.state === 'live',
      );
    }, `${name} to be live`);
  }
}

/**
 * Starts an nginx of the test's own, and waits until it answers.
 * @param {Context} t
 * @param {number} port
 * @param {string} locations Its `location` blocks.
 */
export async function startNginx(t, port, locations) {
  const folder = await mkdtemp(path.join(tmpdir(), 'aerial-nginx-'));
  const configuration = path.join(folder, 'nginx.conf');
  await writeFile(
    configuration,
    `daemon off; master_process off; error_log ${folder}/error.log; pid ${folder}/pid;
     events { worker_connections 64; }
     http {
       access_log off; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
       fastcgi_temp_path ${folder}/fastcgi; uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
       server { listen 127.0.0.1:${port}; ${locations} }
     }`,
  );
  const nginx = spawn(NGINX, ['-c', configuration], { stdio: 'ignore' });
  running.add(nginx);
  t.after(async () => {
    if (nginx.exitCode === null) {
      const ended = once(nginx, 'exit');
      nginx.kill('SIGKILL');
      await ended;
    }
    running.delete(nginx);
    await rm(folder, { recursive: true, force: true });
  });
  await until(
    () =>
      fetch(`http://127.0.0.1:${port}/`).then(
        () => true,
        () => false,
      ),
    'nginx to answer',
    START_TIMEOUT,
  );
}

/**
 * The part of a test's context that the helpers need.
 * @typedef {{after: (end: () => unknown) => void, diagnostic: (text: string) => void}} Context
 */

/**
 * The browsers of this file by their flags: a start costs more than many a test.
 * @type {Map<string, Promise<import('playwright-core').Browser>>}
 */
const browsers = new Map();

/** @param {string[]} flags */
const launch = (flags) => chromium.launch({ executablePath: CHROMIUM, headless: true, args: [...FLAGS, ...flags] });

/** @param {string[]} flags */
function sharedBrowser(flags) {
  const key = flags.join(' ');
  const known = browsers.get(key);
  const browser = (async () => {
    const open = await known?.catch(() => launch(flags));
    return open?.isConnected() ? open : launch(flags);
  })();
  browsers.set(key, browser);
  return browser;
}

/** Closes what the tests have shared. */
export async function closeBrowsers() {
  await Promise.all([...browsers.values()].map(async (browser) => (await browser).close()));
}

/** What a page needs to publish and to play without being asked. */
const UNATTENDED = [...FAKE_DEVICES, '--use-fake-ui-for-media-stream', ...AUTOPLAY];

/**
 * A browser of the test's own, which it may kill; closed at the end of the test. See {@link openBrowser}.
 * @param {Context} t
 * @param {string[]} [flags]
 */
export async function ownBrowser(t, flags = UNATTENDED) {
  const browser = await launch(flags);
  t.after(() => browser.close());
  return { ...(await openContext(t, browser, {})), browser };
}

/**
 * An empty profile in a browser with these flags, closed at the end of the test. Errors of its pages are printed when
 * the test fails.
 * @param {Context} t
 * @param {string[]} [flags]
 * @param {import('playwright-core').BrowserContextOptions} [options]
 */
export const openBrowser = async (t, flags = UNATTENDED, options = {}) =>
  openContext(t, await sharedBrowser(flags), options);

/**
 * @param {Context} t
 * @param {import('playwright-core').Browser} browser
 * @param {import('playwright-core').BrowserContextOptions} options
 */
async function openContext(t, browser, options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  t.after(() => context.close());
  context.setDefaultTimeout(WAIT);
  /**
   * Uncaught errors and forbidden resources; there must be none.
   * @type {string[]}
   */
  const faults = [];
  context.on('weberror', (error) => faults.push(String(error.error())));
  context.on('console', (message) => {
    if (/Content Security Policy|Refused to/.test(message.text())) faults.push(message.text());
    if (process.env.AERIAL_VERBOSE) t.diagnostic(`${message.page()?.url()}: ${message.text()}`);
  });
  return { context, faults, page: () => context.newPage() };
}

/**
 * @param {import('playwright-core').Page} page
 * @param {string} name
 */
export async function screenshot(page, name) {
  await mkdir(SCREENSHOTS, { recursive: true });
  return page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`) });
}

/**
 * Checks that axe finds nothing on a page, once its transitions are over: halfway, colours are neither of the two.
 * @param {import('playwright-core').Page} page
 * @param {string} [what] The state that the page is in.
 */
export async function assertAccessible(page, what) {
  await page.evaluate(() => {
    const passing = document.getAnimations().filter(({ effect }) => effect?.getComputedTiming().endTime !== Infinity);
    return Promise.allSettled(passing.map(({ finished }) => finished));
  });
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => /** @type {any} */ (window).axe.run());
  const found = violations.map(
    (/** @type {{id: string, nodes: {target: string[]}[]}} */ { id, nodes }) =>
      `${id}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`,
  );
  assert.deepEqual(found, [], what);
}

/** What shows that a publishing page is live. */
export const ON_AIR = '#screen[data-state=live]';

/** Waits until a publishing page is live. @param {import('playwright-core').Page} page */
export const onAir = (page) => page.locator(ON_AIR).waitFor();

/**
 * @template T
 * @param {() => Promise<T>|T} probe
 * @param {string} what
 * @param {number} [timeout] Milliseconds.
 * @returns {Promise<T>} The first true value.
 */
export async function until(probe, what, timeout = WAIT) {
  const end = Date.now() + timeout;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${timeout} ms for ${what}`);
    await sleep(100);
  }
}

let endsBrowsers = false;

/**
 * node:test's `test` with a time limit. The browsers that the tests of a file share end with the last one.
 * @param {string} name
 * @param {(t: import('node:test').TestContext) => Promise<void>} run
 */
export function test(name, run) {
  if (!endsBrowsers) after(closeBrowsers);
  endsBrowsers = true;
  return nodeTest(name, { timeout: TEST_TIMEOUT }, run);
}

/** @param {number} ms */
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
