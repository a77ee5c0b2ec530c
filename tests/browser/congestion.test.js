/** A browser that publishes learns how much the way to the server takes. */

import assert from 'node:assert/strict';
import { Server, openBrowser, test, until } from './harness.js';

/** What a browser without feedback has not reached after 15 s, in bit/s. */
const ESTIMATE = 1_500_000;
/** It is there after a second or two; this is for machines with a lot else to do, in milliseconds. */
const PATIENCE = 15_000;
const TRANSPORT_CC = 'draft-holmer-rmcat-transport-wide-cc-extensions-01';

/**
 * Publishes from a page that does nothing but that. Returns the server's answer.
 * @param {import('playwright-core').Page} page
 * @param {string} url
 */
const publish = (page, url) =>
  page.evaluate(async (url) => {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: true,
      video: { width: 1280, height: 720, frameRate: 30 },
    });
    const peer = new RTCPeerConnection();
    Object.assign(window, { peer });
    for (const track of stream.getTracks()) peer.addTransceiver(track, { direction: 'sendonly' });
    await peer.setLocalDescription();
    const headers = { 'content-type': 'application/sdp' };
    const reply = await fetch(url, { method: 'POST', headers, body: peer.localDescription?.sdp });
    const answer = await reply.text();
    await peer.setRemoteDescription({ type: 'answer', sdp: answer });
    return answer;
  }, url);

/** @param {import('playwright-core').Page} page */
const estimate = (page) =>
  page.evaluate(async () => {
    const peer = /** @type {RTCPeerConnection} */ (Reflect.get(window, 'peer'));
    let estimate = 0;
    (await peer.getStats()).forEach((report) => {
      if (report.type === 'candidate-pair') estimate = Math.max(estimate, report.availableOutgoingBitrate ?? 0);
    });
    return estimate;
  });

for (const engine of ['webrtcbin', 'direct']) {
  test(`${engine}: feedback lets a publisher's estimate grow`, async (t) => {
    const server = await Server.start(['--webrtc.publisher_engine', engine]);
    t.after(() => server.stop());
    const browser = await openBrowser(t);
    const page = await browser.page();
    await page.goto(server.origin);
    const answer = await publish(page, `${server.origin}/whip/estimate`);
    const sections = answer.split('\r\nm=').slice(1);
    assert.equal(sections.length, 2);
    for (const section of sections) {
      assert.match(section, new RegExp(`\\r\\na=extmap:\\d+ http://www.ietf.org/id/${TRANSPORT_CC}\\r\\n`));
      assert.match(section, /\r\na=rtcp-fb:\d+ transport-cc\r\n/);
    }
    await server.live('estimate');
    await until(async () => (await estimate(page)) > ESTIMATE, 'the estimate to grow', PATIENCE);
  });
}
