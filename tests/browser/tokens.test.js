/** Publishing and watching through the pages of a server that requires tokens, over HTTPS. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before } from 'node:test';
import { Server, onAir, openBrowser, screenshot, test, until } from './harness.js';
import { keepsDecoding, plays } from './media.js';

const CONFIG = `
[[auth.tokens]]
token = "for+publishing/1="
publish = ["show"]

[[auth.tokens]]
token = "for-watching"
watch = ["*"]
`;

/** Nobody vouches for the certificate of this test. */
const TRUST = { ignoreHTTPSErrors: true };
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';

/** @type {Server} */
let server;
/** @type {string} */
let folder;
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'aerial-tokens-'));
  const file = path.join(folder, 'aerial.toml');
  await writeFile(file, CONFIG);
  const [certificate, key] = ['certificate.pem', 'key.pem'].map((name) => path.join(folder, name));
  const request = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=aerial';
  const names = ['-addext', 'subjectAltName=IP:127.0.0.1'];
  execFileSync('openssl', [...request.split(' '), ...names, '-keyout', key, '-out', certificate], { stdio: 'ignore' });
  server = await Server.start(
    ['--config', file, '--http.tls_certificate', certificate, '--http.tls_key', key],
    'https',
  );
});
after(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

/**
 * Types a token into the field that a page shows.
 * @param {import('playwright-core').Page} page
 * @param {string} token
 */
async function give(page, token) {
  await page.locator('form.token input').fill(token);
  await page.locator('form.token button').click();
}

test('pages ask for a token, take one from their address, and say what is wrong with it', async (t) => {
  const publishing = await openBrowser(t, undefined, TRUST);
  const studio = await publishing.page();
  await studio.goto(`${server.origin}/publish/show`);
  await studio.locator('#quality').selectOption('480p');
  await studio.locator('#go').click();
  await studio.locator('#notice[data-reason=unauthorized]').waitFor();
  await screenshot(studio, 'publish-token');
  await give(studio, 'wrong');
  await studio.locator('#notice[data-reason=unauthorized]').waitFor();
  await give(studio, 'for-watching');
  await studio.locator('#notice[data-reason=forbidden]').waitFor();
  await give(studio, 'for+publishing/1=');
  await onAir(studio);
  assert.equal(await studio.locator('form.token').isVisible(), false);
  // The list shows the broadcast to those who may publish it.
  await studio.locator('#viewers').waitFor();

  const watching = await openBrowser(t, undefined, TRUST);
  const viewer = await watching.page();
  await viewer.goto(`${server.origin}/watch/show`);
  await viewer.locator('form.token[data-reason=unauthorized]').waitFor();
  assert.equal(await viewer.evaluate(() => document.activeElement?.localName), 'body', 'the focus is not stolen');
  await screenshot(viewer, 'watch-token');
  await give(viewer, 'for+publishing/1=');
  await until(
    async () =>
      (await viewer
        .locator('aerial-player')
        .evaluate(
          (/** @type {import('../../web/js/player.js').AerialPlayer} */ player) => player.client?.error?.kind,
        )) === 'forbidden',
    'the refusal',
  );
  await viewer.locator('form.token[data-reason=forbidden]').waitFor();
  await screenshot(viewer, 'watch-forbidden');
  await give(viewer, 'for-watching');
  await plays(viewer);
  await keepsDecoding(viewer);
  await viewer.locator('#viewers', { hasText: '1' }).waitFor();
  // Kept while the tab is open.
  await viewer.reload();
  await plays(viewer, 'the player after a reload');

  const invited = await (await openBrowser(t, undefined, TRUST)).page();
  await invited.goto(`${server.origin}/watch/show?token=for-watching&embed=1`);
  await plays(invited, 'the player of an address with a token');
  assert.equal(new URL(invited.url()).search, '?embed=1', 'the token stays in the address');
  assert.deepEqual([...publishing.faults, ...watching.faults], []);
});

test('the list shows what may be watched', async (t) => {
  const browser = await openBrowser(t, undefined, TRUST);
  const page = await browser.page();
  await page.goto(server.origin);
  await page.locator('form.token[data-reason=listed]').waitFor();
  assert.equal(await page.locator('.card[data-name=demo]').count(), 0);
  assert.match(await page.locator('#obs-server').innerText(), /\/whip\/live-\d+$/);
  await give(page, 'wrong');
  await page.locator('form.token[data-reason=unauthorized]').waitFor();
  await give(page, 'for-watching');
  await page.locator('.card[data-name=demo] .badge.live').waitFor();
  await screenshot(page, 'index-token');
  assert.deepEqual(browser.faults, []);
});
