/** The words where the studio has no picture to show. */

import { t } from './words.js';

/**
 * @param {object} situation
 * @param {import('./sources.js').Choice['mode']} situation.mode
 * @param {boolean} situation.ready Something can be sent.
 * @param {boolean} situation.hidden The camera is switched off.
 * @param {import('./media-errors.js').CaptureError|null} situation.problem Why nothing could be opened.
 * @returns {{mark: import('./dom.js').Icon, title: string, text: string}}
 */
export function curtainWords({ mode, ready, hidden, problem }) {
  if (hidden) return { mark: 'cameraOff', title: t('curtain-off'), text: t('curtain-off-hint') };
  const isSound = mode === 'audio';
  if (ready)
    return { mark: 'mic', title: t(isSound ? 'curtain-sound-only' : 'curtain-no-picture'), text: t('curtain-heard') };
  if (problem) return { mark: 'alert', title: problem.title, text: problem.advice };
  if (mode === 'both') return { mark: 'both', title: t('curtain-both'), text: t('curtain-both-hint') };
  if (mode === 'screen') return { mark: 'screen', title: t('curtain-screen'), text: t('curtain-screen-hint') };
  const title = t(isSound ? 'curtain-microphone' : 'curtain-camera-microphone');
  return { mark: 'camera', title, text: t('curtain-ask') };
}
