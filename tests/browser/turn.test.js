/** Clients that reach nothing but a TURN server (coturn), with passwords that Aerial makes for each session. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before } from 'node:test';
import { Server, freeTcpPort, onAir, openBrowser, test, until } from './harness.js';
import { plays, seenAndHeard } from './media.js';

const TURNSERVER = process.env.TURNSERVER ?? '/usr/bin/turnserver';
const SECRET = 'shared-with-coturn';

/** A coturn of the test's own on loopback. */
class Turn {
  /** @type {number} */ port;
  /** @type {string} */ folder;
  /** @type {import('node:child_process').ChildProcessByStdio<null, import('node:stream').Readable, null>} */ process;
  log = '';

  static async start() {
    const turn = new Turn();
    turn.folder = await mkdtemp(path.join(tmpdir(), 'aerial-turn-'));
    turn.port = await freeTcpPort();
    turn.process = spawn(
      TURNSERVER,
      [
        ...['-n', '--no-cli', '--no-tls', '--no-dtls', '--allow-loopback-peers', '--verbose'],
        ...['--listening-ip=127.0.0.1', `--listening-port=${turn.port}`, '--relay-ip=127.0.0.1'],
        ...['--use-auth-secret', `--static-auth-secret=${SECRET}`, '--realm=aerial.test'],
        ...['--log-file=stdout', `--pidfile=${turn.folder}/pid`, `--userdb=${turn.folder}/users`],
      ],
      { stdio: ['ignore', 'pipe', 'ignore'], cwd: turn.folder },
    );
    turn.process.stdout.on('data', (data) => {
      turn.log += data;
    });
    await until(() => turn.log.includes(`IPv4. UDP listener opened on: 127.0.0.1:${turn.port}`), 'coturn to listen');
    return turn;
  }

  async stop() {
    if (this.process.exitCode === null) {
      const ended = once(this.process, 'exit');
      this.process.kill('SIGKILL');
      await ended;
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** @type {Server} */
let server;
/** @type {Turn} */
let turn;
before(async () => {
  turn = await Turn.start();
  const servers = `turn:127.0.0.1:${turn.port}?transport=udp`;
  server = await Server.start(['--demo', 'false', '--webrtc.ice_servers', servers, '--webrtc.turn_secret', SECRET]);
});
after(async () => {
  await server?.stop();
  await turn?.stop();
});

/** A page whose connections use nothing but TURN. @param {Awaited<ReturnType<typeof openBrowser>>} browser */
async function relayed(browser) {
  const page = await browser.page();
  await page.addInitScript(() => {
    const Original = RTCPeerConnection;
    window.RTCPeerConnection = class extends Original {
      /** @param {RTCConfiguration} configuration */
      constructor(configuration) {
        super({ ...configuration, iceTransportPolicy: 'relay' });
      }
    };
  });
  return page;
}

test('Chromium that may only use TURN publishes and watches', async (t) => {
  const browser = await openBrowser(t);
  const studio = await relayed(browser);
  await studio.goto(`${server.origin}/publish/turn`);
  await studio.locator('#quality').selectOption('480p');
  await studio.locator('#go').click();
  await onAir(studio);
  const viewer = await relayed(browser);
  await viewer.goto(`${server.origin}/watch/turn`);
  await plays(viewer);
  await seenAndHeard(viewer);
  // Each with a name of its own: when it ends, and the session's number.
  const users = new Set([...turn.log.matchAll(/user <(\d+:[1-9]\d*)>/g)].map(([, user]) => user));
  assert.equal(users.size, 2, [...users].join());
});
