/** Which layer of a simulcast publisher a browser gets. */

import assert from 'node:assert/strict';
import { demandingCamera } from './camera.js';
import { Server, openBrowser, sleep, test, until } from './harness.js';

/** More than the server assumes of a network that it has not measured, in bit/s. */
const BEST = 3_600_000;

/**
 * Publishes two layers.
 * @param {import('playwright-core').Page} page
 * @param {string} url
 */
const publish = (page, url) =>
  page.evaluate(
    async ({ url, best }) => {
      const stream = await navigator.mediaDevices.getUserMedia({ video: true });
      const peer = new RTCPeerConnection();
      Object.assign(window, { peer });
      const low = { rid: 'low', scaleResolutionDownBy: 4, maxBitrate: 150_000 };
      const high = { rid: 'high', maxBitrate: best };
      peer.addTransceiver(stream.getTracks()[0], { direction: 'sendonly', sendEncodings: [low, high] });
      await peer.setLocalDescription();
      const headers = { 'content-type': 'application/sdp' };
      const reply = await fetch(url, { method: 'POST', headers, body: peer.localDescription?.sdp });
      await peer.setRemoteDescription({ type: 'answer', sdp: await reply.text() });
    },
    { url, best: BEST },
  );

/**
 * Watches, and notes when each width came first, in milliseconds since the first picture.
 * @param {import('playwright-core').Page} page
 * @param {string} url
 */
const watch = (page, url) =>
  page.evaluate(async (url) => {
    const video = document.createElement('video');
    Object.assign(video, { muted: true, autoplay: true });
    document.body.append(video);
    /** @type {Record<string, number>} */
    const widths = {};
    let begin = 0;
    const look = () => {
      begin ||= performance.now();
      widths[video.videoWidth] ??= performance.now() - begin;
      video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
    const peer = new RTCPeerConnection();
    Object.assign(window, { peer, widths });
    peer.addTransceiver('video', { direction: 'recvonly' });
    peer.addEventListener('track', ({ track }) => {
      video.srcObject = new MediaStream([track]);
    });
    await peer.setLocalDescription();
    const headers = { 'content-type': 'application/sdp' };
    const reply = await fetch(url, { method: 'POST', headers, body: peer.localDescription?.sdp });
    await peer.setRemoteDescription({ type: 'answer', sdp: await reply.text() });
  }, url);

/** @param {import('playwright-core').Page} page @returns {Promise<Record<string, number>>} */
const widths = (page) => page.evaluate(() => Reflect.get(window, 'widths'));

test('on a good line the best layer comes soon, however large', async (t) => {
  const server = await Server.start(['--demo', 'false']);
  t.after(() => server.stop());
  const browser = await openBrowser(t, await demandingCamera(t, 640, 360));
  const publisher = await browser.page();
  await publisher.goto(`${server.origin}/publish`); // only this one may use the camera
  await publish(publisher, `${server.origin}/whip/layers`);
  await server.live('layers');
  await sleep(6_000); // the publisher's own estimate grows
  const viewer = await browser.page();
  await viewer.goto(server.origin);
  await watch(viewer, `${server.origin}/whep/layers`);
  // It takes a second or two. A busy machine may need longer to encode three layers.
  await until(async () => 640 in (await widths(viewer)), 'the best layer', 30_000);
  const came = await widths(viewer);
  t.diagnostic(JSON.stringify(came));
  assert.equal(came[160], 0, 'what is sure to fit came first');
});
