/** Why a camera, microphone or screen is not available, and what to do about it. */

import { t } from './words.js';

/** @typedef {'camera'|'microphone'|'screen'|'both'} Thing */

/** A failed capture, with a title and advice for the user. */
export class CaptureError extends Error {
  name = 'CaptureError';

  /**
   * @param {string} title
   * @param {string} advice
   * @param {unknown} [cause]
   * @param {string} [reason]
   */
  constructor(title, advice, cause, reason = cause instanceof Error ? cause.name : '') {
    super(`${title}: ${advice}`, { cause });
    this.title = title;
    this.advice = advice;
    /** For programs: the DOMException name of the cause, or a word of ours. */
    this.reason = reason;
  }

  /**
   * @param {unknown} cause What getUserMedia or getDisplayMedia threw.
   * @param {Thing} thing
   * @returns {CaptureError}
   */
  static from(cause, thing) {
    if (cause instanceof CaptureError) return cause;
    const name = cause instanceof Error ? cause.name : '';
    const text = cause instanceof Error ? cause.message : String(cause);
    const [title, advice] = explain(name, text, thing);
    return new CaptureError(title, advice, cause);
  }
}

/**
 * @param {string} name
 * @param {string} text
 * @param {Thing} thing
 * @returns {[string, string]}
 */
function explain(name, text, thing) {
  const words = (/** @type {string} */ key) =>
    /** @type {[string, string]} */ ([t(key, { thing: t(`thing-${thing}`) }), t(`${key}-hint`)]);
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      if (/system/i.test(text)) return words('device-system');
      return words(thing === 'screen' ? 'device-no-screen' : 'device-denied');
    case 'NotFoundError':
    case 'DevicesNotFoundError':
      return words('device-none');
    case 'NotReadableError':
    case 'TrackStartError':
    case 'AbortError':
      return words('device-busy');
    case 'OverconstrainedError':
      return words('device-gone');
    case 'TypeError':
    case 'NotSupportedError':
      return words('device-unknown');
    case 'InvalidStateError':
      return words('device-click');
    default: {
      const [title, advice] = words('device-failed');
      return [title, text || advice];
    }
  }
}

/** @returns {CaptureError|null} Why this page can capture nothing at all. */
export function captureProblem() {
  if (!window.isSecureContext) {
    const advice = t('insecure-hint', { origin: location.origin });
    return new CaptureError(t('insecure'), advice, undefined, 'insecure');
  }
  if (!navigator.mediaDevices?.getUserMedia) {
    return new CaptureError(t('incapable'), t('incapable-hint'), undefined, 'unsupported');
  }
  return null;
}
