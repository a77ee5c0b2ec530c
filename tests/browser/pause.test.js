/** A picture that pauses while the sound goes on, as that of a camera which is off. */

import assert from 'node:assert/strict';
import { Server, openBrowser, sleep, test, until } from './harness.js';
import { played, plays, publishes } from './media.js';

/** Longer than a player waits for media. */
const PAUSE_SECONDS = 4;

/** @param {import('playwright-core').Page} page */
const switchOff = (page) =>
  page.evaluate(async () => {
    /** @type {RTCPeerConnection} */
    const peer = Reflect.get(window, 'peer');
    await peer
      .getSenders()
      .find(({ track }) => track?.kind === 'video')
      ?.replaceTrack(null);
  });

for (const engine of ['webrtcbin', 'direct']) {
  test(`${engine}: the last picture stays, and who comes meanwhile gets it`, async (t) => {
    const server = await Server.start(['--demo', 'false', '--webrtc.publisher_engine', engine]);
    t.after(() => server.stop());
    const browser = await openBrowser(t);
    const studio = await browser.page();
    await studio.goto(`${server.origin}/publish`); // only this one may use the camera
    await publishes(studio, `${server.origin}/whip/pause`, { width: 320, height: 180 });
    await server.live('pause');
    const early = await browser.page();
    await early.goto(`${server.origin}/watch/pause`);
    await plays(early);
    await switchOff(studio);
    await until(async () => {
      const { frames } = await played(early);
      await sleep(500);
      return (await played(early)).frames === frames;
    }, 'the picture to pause');
    const late = await browser.page();
    await late.goto(`${server.origin}/watch/pause`);
    await plays(late, 'who comes late to see the picture');
    for (let second = 0; second < PAUSE_SECONDS; second += 1) {
      await sleep(1_000);
      for (const page of [early, late]) assert.equal((await played(page)).state, 'live');
    }
  });
}
