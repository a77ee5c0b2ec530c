/** A camera for browsers. */

import { open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AUTOPLAY, FAKE_DEVICES } from './harness.js';

/** Pictures until it begins again. */
const FRAMES = 10;
/**
 * The pattern repeats after so many squares of 8 pixels, which is as far as it moves in all pictures. It moves slowly and
 * has little contrast: where an encoder sees another scene, it makes a keyframe, which no line with a short queue carries.
 */
const PERIOD = 5;

/**
 * A picture that moves and is noisy, so that an encoder takes every bit it may have. Returns the flags that make
 * Chromium's camera of it.
 * @param {import('./harness.js').Context} t
 * @param {number} width
 * @param {number} height
 */
export async function demandingCamera(t, width, height) {
  const file = path.join(tmpdir(), `aerial-picture-${process.pid}.y4m`);
  t.after(() => rm(file, { force: true }));
  const output = await open(file, 'w');
  await output.write(`YUV4MPEG2 W${width} H${height} F30:1 Ip A1:1 C420jpeg\n`);
  const frame = Buffer.alloc((width * height * 3) / 2, 128);
  let noise = 1;
  for (let number = 0; number < FRAMES; number += 1) {
    for (let at = 0; at < width * height; at += 1) {
      noise = (Math.imul(noise, 1664525) + 1013904223) | 0;
      const column = (((at % width) + number * 4) >> 3) % PERIOD;
      const row = ((Math.floor(at / width) + number * 4) >> 3) % PERIOD;
      frame[at] = ((column * 37 + row * 91) % 60) + 80 + ((noise >>> 16) % 24);
    }
    await output.write('FRAME\n');
    await output.write(frame);
  }
  await output.close();
  return [...FAKE_DEVICES, '--use-fake-ui-for-media-stream', ...AUTOPLAY, `--use-file-for-fake-video-capture=${file}`];
}
