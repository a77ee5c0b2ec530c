/** Starts Firefox for the tests, over WebDriver BiDi. */

import puppeteer from 'puppeteer-core';
import { WAIT } from './harness.js';

const FIREFOX = process.env.FIREFOX ?? '/usr/bin/firefox-esr';

/** Media as in Chromium: fake devices, no questions, the loopback address, sound without a tap. */
const MEDIA = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  // Pages without microphone permission get only the address of the default route, never loopback.
  'permissions.default.camera': 1,
  'permissions.default.microphone': 1,
  'media.peerconnection.ice.loopback': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
};

/**
 * H264 without Mozilla's OpenH264 plugin, which Firefox would download: the decoder of the system's libavcodec. Firefox
 * offers H264 in WebRTC if it has the plugin or believes that there is hardware support.
 */
export const SYSTEM_H264 = {
  'gfx.blacklist.webrtc.hw.acceleration.h264': 1, // "works", whatever the driver
  'media.webrtc.hw.h264.enabled': true,
  'media.navigator.mediadatadecoder_h264_enabled': true,
};

/** Puppeteer's profile keeps most of Firefox's own traffic down; this is the rest. */
const SILENCE = {
  'app.normandy.enabled': false,
  'app.update.auto': false,
  'browser.region.network.url': '',
  'browser.safebrowsing.downloads.remote.enabled': false,
  'browser.search.update': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'dom.push.connection.enabled': false,
  'extensions.getAddons.cache.enabled': false,
  'extensions.systemAddon.update.enabled': false,
  'media.gmp-manager.updateEnabled': false,
  'media.gmp-manager.url': '',
  'media.gmp-provider.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'network.dns.disablePrefetch': true,
  'network.prefetch-next': false,
  'services.settings.server': 'data:,',
  'toolkit.telemetry.enabled': false,
};

/**
 * A Firefox with an empty profile, closed at the end of the test.
 * @param {import('./harness.js').Context} t
 * @param {Record<string, unknown>} [preferences] On top of those that all tests need.
 */
export async function openFirefox(t, preferences = {}) {
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: FIREFOX,
    headless: true,
    extraPrefsFirefox: { ...SILENCE, ...MEDIA, ...preferences },
  });
  t.after(() => browser.close());
  t.diagnostic(await browser.version());
  return {
    browser,
    async page() {
      const page = await browser.newPage();
      page.setDefaultTimeout(WAIT);
      if (process.env.AERIAL_VERBOSE) page.on('console', (message) => t.diagnostic(`${page.url()}: ${message.text()}`));
      // Puppeteer's own type of `evaluate` allows more than the one argument that all browsers here take.
      return /** @type {import('puppeteer-core').Page & import('./page.d.ts').AnyPage} */ (page);
    },
  };
}
