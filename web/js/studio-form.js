/** What the studio's form says: what to send, how large, and with which devices. Remembered by the browser. */

import { CORNERS } from './composer.js';
import { byId, h, setText } from './dom.js';
import { PRESETS, Sources } from './sources.js';
import { bitrateText } from './stats.js';
import { read, store } from './storage.js';
import { t } from './words.js';

const KEY = 'aerial-publish';
const MODES = /** @type {const} */ (['camera', 'screen', 'both', 'audio']);
/** Sent without asking for another: every viewer decodes H264, and VP8 is for browsers that cannot encode it. */
const CODECS = ['h264', 'vp8'];
/** What else may be chosen, where the browser can encode it. */
const OTHER_CODECS = ['h264', 'vp8', 'vp9', 'av1', 'h265'];
/** Limits of a bitrate that is typed in, in bits per second. */
const BITRATE_MIN = 50_000;
const BITRATE_MAX = 50_000_000;
/** Fields that are kept; what to send is asked each time. */
const KEPT = [
  ...['camera', 'microphone', 'sound', 'quality', 'shape', 'mirror', 'gain', 'screen-gain'],
  ...['codec', 'bitrate', 'rate', 'layers', 'hint'],
];

export class StudioForm {
  element = byId('settings', HTMLFormElement);
  /** @type {import('./composer.js').Corner} */ corner = 'bottom-right';

  constructor() {
    this.#select('quality').append(
      ...PRESETS.map(({ id, height, fps, bitrate }) =>
        h('option', { value: id }, t('publish-preset', { height: String(height), fps, rate: bitrateText(bitrate) })),
      ),
    );
    this.#select('quality').value = '720p';
    const known = RTCRtpSender.getCapabilities?.('video')?.codecs ?? [];
    const names = new Set(known.map(({ mimeType }) => mimeType.split('/')[1].toLowerCase()));
    const codecs = OTHER_CODECS.filter((codec) => names.has(codec));
    this.#select('codec').append(...codecs.map((codec) => h('option', { value: codec }, codec.toUpperCase())));
    for (const id of ['screen-choice', 'both-choice']) byId(id, HTMLElement).hidden = !Sources.canShareScreen;
    this.#restore();
    this.show(false);
  }

  /** @returns {import('./sources.js').Choice} */
  get choice() {
    const chosen = new FormData(this.element).get('source');
    const preset = PRESETS.find(({ id }) => id === this.#select('quality').value) ?? PRESETS[2];
    const bitrate = this.#input('bitrate').valueAsNumber * 1000;
    return {
      mode: MODES.find((mode) => mode === chosen) ?? 'camera',
      camera: this.#select('camera').value,
      microphone: this.#select('microphone').value,
      sound: this.#select('sound').value === 'music' ? 'music' : 'voice',
      preset: {
        ...preset,
        fps: Number(this.#select('rate').value) || preset.fps,
        bitrate: bitrate > 0 ? Math.min(BITRATE_MAX, Math.max(BITRATE_MIN, bitrate)) : preset.bitrate,
      },
      portrait: this.#select('shape').value === 'portrait',
      mirror: this.#input('mirror').checked,
      corner: this.corner,
      gain: this.#input('gain').valueAsNumber / 100,
      screenGain: this.#input('screen-gain').valueAsNumber / 100,
    };
  }

  /**
   * The settings of the sender.
   * @param {MediaStreamTrack|null} video
   */
  limits(video) {
    const { mode, preset } = this.choice;
    const { width = 0, height = 0 } = video?.getSettings() ?? {};
    const codec = this.#select('codec').value;
    const automatic = mode === 'screen' || mode === 'both' ? 'detail' : 'motion';
    return {
      codecs: codec ? [codec, ...CODECS.filter((other) => other !== codec)] : CODECS,
      maxVideoBitrate: preset.bitrate,
      maxFramerate: preset.fps,
      maxHeight: height > width ? preset.width : preset.height,
      maxAudioBitrate: 128_000,
      contentHint: /** @type {'detail'|'motion'|'text'} */ (this.#select('hint').value || automatic),
      layers: /** @type {1|2|3} */ (Number(this.#select('layers').value)),
    };
  }

  /**
   * Shows the fields that matter.
   * @param {boolean} hasScreenSound
   */
  show(hasScreenSound) {
    const { mode, preset } = this.choice;
    const withCamera = mode === 'camera' || mode === 'both';
    byId('camera-field', HTMLElement).hidden = !withCamera;
    byId('shape-field', HTMLElement).hidden = !withCamera;
    byId('mirror-field', HTMLElement).hidden = !withCamera;
    byId('screen-gain-field', HTMLElement).hidden = !hasScreenSound;
    byId('picture-fields', HTMLElement).hidden = mode === 'audio';
    this.#input('bitrate').placeholder = String((PRESETS.find(({ id }) => id === preset.id) ?? preset).bitrate / 1000);
    for (const id of ['gain', 'screen-gain']) {
      const { value } = this.#input(id);
      setText(byId(`${id}-value`, HTMLElement), `${value} %`);
      this.#input(id).setAttribute('aria-valuetext', `${value} %`);
    }
  }

  /** @param {MediaDeviceInfo[]} devices */
  showDevices(devices) {
    this.#fill(devices, 'camera', 'videoinput', [['', t('publish-default-camera')]]);
    this.#fill(devices, 'microphone', 'audioinput', [
      ['', t('publish-default-microphone')],
      ['none', t('publish-no-microphone')],
    ]);
  }

  /**
   * @param {MediaDeviceInfo[]} devices
   * @param {'camera'|'microphone'} id
   * @param {MediaDeviceKind} kind
   * @param {[string, string][]} fixed
   */
  #fill(devices, id, kind, fixed) {
    const select = this.#select(id);
    const wanted = select.value || select.dataset.wanted || '';
    const found = devices
      .filter((device) => device.kind === kind && device.deviceId !== 'default')
      .map(({ deviceId, label }, index) => {
        const text = label || t(`publish-nth-${id}`, { number: index + 1 });
        return /** @type {[string, string]} */ ([deviceId, text]);
      });
    select.replaceChildren(...[...fixed, ...found].map(([value, text]) => h('option', { value }, text)));
    select.value = [...fixed, ...found].some(([value]) => value === wanted) ? wanted : '';
  }

  store() {
    /** @type {Record<string, string|boolean>} */
    const kept = { corner: this.corner };
    for (const id of KEPT) {
      const field = this.#field(id);
      kept[id] = field instanceof HTMLInputElement && field.type === 'checkbox' ? field.checked : field.value;
    }
    store(KEY, JSON.stringify(kept));
  }

  #restore() {
    /** @type {Record<string, unknown>} */
    let kept = {};
    try {
      kept = JSON.parse(read(KEY) ?? '{}') ?? {};
    } catch {
      // not ours
    }
    this.corner = CORNERS.find((corner) => corner === kept.corner) ?? this.corner;
    for (const id of KEPT) {
      const field = this.#field(id);
      const value = kept[id];
      if (typeof value === 'boolean') /** @type {HTMLInputElement} */ (field).checked = value;
      if (typeof value !== 'string') continue;
      if (field instanceof HTMLInputElement) field.value = value;
      else if ([...field.options].some((option) => option.value === value)) field.value = value;
      else field.dataset.wanted = value; // a device that is not listed yet
    }
  }

  /** @param {string} id */
  #field(id) {
    const field = byId(id, HTMLElement);
    return field instanceof HTMLInputElement ? field : this.#select(id);
  }

  /** @param {string} id */
  #select(id) {
    return byId(id, HTMLSelectElement);
  }

  /** @param {string} id */
  #input(id) {
    return byId(id, HTMLInputElement);
  }
}
