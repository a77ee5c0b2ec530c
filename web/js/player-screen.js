/** Where else a picture can be: in a window of its own, on the whole screen, in a file. */

import { h } from './dom.js';

/** @param {HTMLVideoElement} video */
export async function togglePip(video) {
  try {
    if (document.pictureInPictureElement) await document.exitPictureInPicture();
    else await video.requestPictureInPicture();
  } catch (error) {
    console.warn('picture in picture refused', error); // needs a picture and a gesture
  }
}

/**
 * @param {HTMLElement} player
 * @param {HTMLVideoElement} video
 */
export async function toggleFullscreen(player, video) {
  try {
    if (document.fullscreenElement) await document.exitFullscreen();
    else if (player.requestFullscreen) await player.requestFullscreen();
    // iPhones have full screen for the video element only.
    else /** @type {any} */ (video).webkitEnterFullscreen?.();
  } catch (error) {
    console.warn('full screen refused', error);
  }
}

/**
 * Saves a picture as a file.
 * @param {HTMLVideoElement} video
 * @param {string} name
 */
export async function screenshot(video, name) {
  const { videoWidth: width, videoHeight: height } = video;
  if (!width) return;
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext('2d')?.drawImage(video, 0, 0);
  const address = URL.createObjectURL(await canvas.convertToBlob());
  const time = new Date().toISOString().slice(0, 19).replace(/:/g, '-');
  h('a', { href: address, download: `${name} ${time}.png` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1_000);
}
