/** Why a camera, microphone or screen is not available, and what to do about it. */

/** @typedef {'camera'|'microphone'|'screen'|'camera and microphone'} Thing */

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
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      if (/system/i.test(text)) {
        return [
          `Your system does not let the browser use the ${thing}`,
          'Allow it in the privacy settings of your system, then try again.',
        ];
      }
      return thing === 'screen'
        ? ['No screen was chosen', 'Pick a screen, window or tab in the dialogue to share it.']
        : [
            `Permission for the ${thing} was denied`,
            'Click the camera or lock icon in the address bar, allow it for this page, then try again.',
          ];
    case 'NotFoundError':
    case 'DevicesNotFoundError':
      return [
        `No ${thing} was found`,
        'Connect one, or choose something else to send. It is detected as soon as you plug it in.',
      ];
    case 'NotReadableError':
    case 'TrackStartError':
    case 'AbortError':
      return [`The ${thing} cannot be used`, 'Another program may be using it. Close that program, then try again.'];
    case 'OverconstrainedError':
      return [`The selected ${thing} is no longer available`, 'Choose another one from the list.'];
    case 'TypeError':
    case 'NotSupportedError':
      return [`This browser cannot share a ${thing}`, 'Try another browser.'];
    case 'InvalidStateError':
      return [`The ${thing} needs a click`, 'Press the button again.'];
    default:
      return [`The ${thing} did not start`, text || 'Try again.'];
  }
}

/** @returns {CaptureError|null} Why this page can capture nothing at all. */
export function captureProblem() {
  if (!window.isSecureContext) {
    return new CaptureError(
      'This page is not secure',
      `Browsers allow cameras only on https:// pages and on localhost, but this page came from ${location.origin}. Open it over https://, or publish with OBS.`,
      undefined,
      'insecure',
    );
  }
  if (!navigator.mediaDevices?.getUserMedia) {
    return new CaptureError(
      'This browser cannot capture media',
      'It has no access to cameras and microphones. Try another browser, or publish with OBS.',
      undefined,
      'unsupported',
    );
  }
  return null;
}
