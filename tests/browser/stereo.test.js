/** Sound in stereo from a page that says nothing about it. */

import assert from 'node:assert/strict';
import { Server, openBrowser, test, until } from './harness.js';

/**
 * Publishes a tone on the left, and nothing on the right.
 * @param {import('playwright-core').Page} page
 * @param {string} url
 */
const publish = (page, url) =>
  page.evaluate(async (url) => {
    const context = new AudioContext();
    const tone = new OscillatorNode(context, { frequency: 440 });
    const sides = new ChannelMergerNode(context, { numberOfInputs: 2 });
    const output = new MediaStreamAudioDestinationNode(context, { channelCount: 2 });
    tone.connect(sides, 0, 0);
    sides.connect(output);
    tone.start();
    const peer = new RTCPeerConnection();
    Object.assign(window, { peer, context });
    peer.addTransceiver(output.stream.getTracks()[0], { direction: 'sendonly' });
    await peer.setLocalDescription();
    const headers = { 'content-type': 'application/sdp' };
    const reply = await fetch(url, { method: 'POST', headers, body: peer.localDescription?.sdp });
    await peer.setRemoteDescription({ type: 'answer', sdp: await reply.text() });
  }, url);

/**
 * Listens with the server's own client, and measures both sides.
 * @param {import('playwright-core').Page} page
 * @param {string} name
 */
const listen = (page, name) =>
  page.evaluate(async (name) => {
    const { WhepClient } = await import(`${location.origin}/js/whep.js`);
    const video = document.createElement('video');
    Object.assign(video, { muted: true, autoplay: true });
    document.body.append(video);
    const client = new WhepClient(`${location.origin}/whep/${name}`, { video });
    client.start();
    const context = new AudioContext();
    const splitter = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
    const meters = [0, 1].map((side) => {
      const meter = new AnalyserNode(context);
      splitter.connect(meter, side);
      return meter;
    });
    const timer = setInterval(() => {
      if (!(video.srcObject instanceof MediaStream) || video.srcObject.getAudioTracks().length === 0) return;
      clearInterval(timer);
      new MediaStreamAudioSourceNode(context, { mediaStream: video.srcObject }).connect(splitter);
    }, 50);
    const level = (/** @type {AnalyserNode} */ meter) => {
      const samples = new Float32Array(meter.fftSize);
      meter.getFloatTimeDomainData(samples);
      return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
    };
    Object.assign(window, { levels: () => meters.map(level), client });
  }, name);

for (const engine of ['webrtcbin', 'direct']) {
  test(`${engine}: two channels arrive as two`, async (t) => {
    const server = await Server.start(['--demo', 'false', '--webrtc.publisher_engine', engine]);
    t.after(() => server.stop());
    const browser = await openBrowser(t);
    const publisher = await browser.page();
    await publisher.goto(server.origin);
    await publish(publisher, `${server.origin}/whip/two`);
    await server.live('two');
    const page = await browser.page();
    await page.goto(server.origin);
    await listen(page, 'two');
    /** @returns {Promise<number[]>} */
    const levels = () => page.evaluate(() => Reflect.get(window, 'levels')());
    await until(async () => (await levels())[0] > 0.1, 'the tone');
    const [left, right] = await levels();
    t.diagnostic(`${left} ${right}`);
    assert.ok(right < left / 10, 'the right is silent');
  });
}
