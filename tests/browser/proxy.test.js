/** The server behind another one, also below a path of it: `https://example.org/live/`. */

import assert from 'node:assert/strict';
import { Server, freeTcpPort, onAir, openBrowser, startNginx, test, until } from './harness.js';
import { keepsDecoding, plays } from './media.js';

test('below a path, behind nginx, pages publish and play', async (t) => {
  const port = await freeTcpPort();
  const site = `http://127.0.0.1:${port}/sub/aerial`;
  const server = await Server.start(['--demo', 'false', '--http.public_url', site]);
  t.after(() => server.stop());
  // The slash at the end of `proxy_pass` removes the path.
  await startNginx(t, port, `location /sub/aerial/ { proxy_pass ${server.origin}/; proxy_buffering off; }`);

  const { page: open, faults } = await openBrowser(t);
  const home = await open();
  await home.goto(`${site}/`);
  await home.locator('#name').fill('show');
  assert.equal(await home.locator('#obs-server').textContent(), `${site}/whip/show`);
  await home.locator('#go-live-form button').click();
  await home.waitForURL(`${site}/publish/show`);
  const created = home.waitForResponse((response) => response.request().method() === 'POST');
  await home.locator('#quality').selectOption('480p');
  await home.locator('#go').click();
  const location = (await (await created).allHeaders()).location;
  assert.ok(location.startsWith(`${site}/whip/`), location);
  await onAir(home);

  const viewer = await open();
  await viewer.goto(`${site}/`);
  await viewer.locator('.card a').click();
  await viewer.waitForURL(`${site}/watch/show`);
  await plays(viewer);
  await keepsDecoding(viewer);
  assert.equal(await viewer.locator('#share-link').textContent(), `${site}/watch/show`);
  await viewer.locator('.brand').click();
  await viewer.waitForURL(`${site}/`);
  await until(async () => (await server.json('/api/server')).viewers === 0, 'the viewer to leave');
  await home.locator('#go.stop').click();
  await until(async () => (await server.json('/api/server')).publishers === 0, 'the publisher to leave');

  // Addresses with a slash too many or too few lead to the page.
  for (const [address, page] of [
    ['publish', 'publish/'],
    ['publish/show/?token=x', 'publish/show?token=x'],
    ['watch/show/', 'watch/show'],
    ['watch', ''],
  ]) {
    const response = await fetch(`${site}/${address}`);
    assert.equal(response.url, `${site}/${page}`);
    assert.equal(response.status, 200);
  }
  assert.deepEqual(faults, []);
});

test('behind a trusted nginx, answers hold the URLs that it says', async (t) => {
  const port = await freeTcpPort();
  const site = `http://127.0.0.1:${port}/sub`;
  const server = await Server.start(['--demo', 'false', '--http.trusted_proxies', '127.0.0.1']);
  t.after(() => server.stop());
  await startNginx(
    t,
    port,
    `location /sub/ {
       proxy_pass ${server.origin}/;
       proxy_set_header X-Forwarded-For $remote_addr;
       proxy_set_header X-Forwarded-Proto $scheme;
       proxy_set_header X-Forwarded-Host $http_host;
       proxy_set_header X-Forwarded-Prefix /sub;
     }`,
  );
  const { page: open, faults } = await openBrowser(t);
  const page = await open();
  await page.goto(`${site}/publish/show`);
  const created = page.waitForResponse((response) => response.request().method() === 'POST');
  await page.locator('#quality').selectOption('480p');
  await page.locator('#go').click();
  const location = (await (await created).allHeaders()).location;
  assert.ok(location.startsWith(`${site}/whip/`), location);
  await onAir(page);
  await page.locator('#go.stop').click();
  await until(async () => (await server.json('/api/server')).publishers === 0, 'the publisher to leave');
  assert.deepEqual(faults, []);
});
