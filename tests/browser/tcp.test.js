/** Networks that let no UDP through: browsers publish and watch over TCP, on the port of the page. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { SYSTEM_H264, openFirefox } from './firefox.js';
import { AUTOPLAY, FAKE_DEVICES, Server, onAir, openBrowser, test } from './harness.js';
import { decodesMore, plays, seenAndHeard } from './media.js';

/** As an administrator's policy: neither UDP nor addresses of the machine's own. */
const NO_UDP = [
  ...FAKE_DEVICES,
  ...AUTOPLAY,
  '--use-fake-ui-for-media-stream',
  '--webrtc-ip-handling-policy=disable_non_proxied_udp',
];

/** @type {Server} */
let server;
before(async () => {
  server = await Server.start();
});
after(() => server?.stop());

/**
 * What carries the connection of a watch page, as the browser says.
 * @param {import('./page.d.ts').AnyPage} page
 */
function carrier(page) {
  return page.evaluate(async () => {
    const reports = new Map();
    (await document.querySelector('aerial-player').client.peer.getStats()).forEach((report) =>
      reports.set(report.id, report),
    );
    const all = [...reports.values()];
    const pair = all.find(
      ({ type, nominated, state }) => type === 'candidate-pair' && nominated && state === 'succeeded',
    );
    return reports.get(pair?.remoteCandidateId)?.protocol;
  });
}

test('Chromium without UDP publishes and watches', async (t) => {
  const browser = await openBrowser(t, NO_UDP);
  const studio = await browser.page();
  await studio.goto(`${server.origin}/publish/tcp`);
  await studio.locator('#quality').selectOption('480p');
  await studio.locator('#go').click();
  await onAir(studio);
  const viewer = await browser.page();
  await viewer.goto(`${server.origin}/watch/tcp`);
  await plays(viewer);
  await seenAndHeard(viewer);
  assert.equal(await carrier(viewer), 'tcp');
});

test('Firefox without candidates for UDP watches', async (t) => {
  const firefox = await openFirefox(t, SYSTEM_H264);
  await server.live('demo');
  const viewer = await firefox.page();
  await viewer.evaluateOnNewDocument(() => {
    /** @type {(description: RTCSessionDescriptionInit) => Promise<void>} */
    const original = RTCPeerConnection.prototype.setRemoteDescription;
    RTCPeerConnection.prototype.setRemoteDescription = async function set(
      /** @type {RTCSessionDescriptionInit} */ description,
    ) {
      const sdp = description.sdp?.replace(/a=candidate:.* udp .*\r\n/gi, '');
      return original.call(this, { type: description.type, sdp });
    };
  });
  await viewer.goto(`${server.origin}/watch/demo`);
  await plays(viewer);
  await decodesMore(viewer);
  assert.equal(await carrier(viewer), 'tcp');
});
