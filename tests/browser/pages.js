/** Every page, and when it has become what it is to be. */

export const PAGES = {
  index: '/',
  watch: '/watch/demo',
  waiting: '/watch/nobody',
  embed: '/watch/demo?embed=1',
  several: '/watch/demo+nobody',
  publish: '/publish/look',
  naming: '/publish',
  obs: '/publish/demo/obs',
  missing: '/nothing/here',
  admin: '/admin',
};

const LIVE = 'aerial-player .cover[data-state=live]';
const WAITING = 'aerial-player .cover[data-state=waiting]';

/** @type {Partial<Record<keyof typeof PAGES, string[]>>} */
const SETTLED = {
  index: ['.card[data-name=demo] .badge.live'],
  watch: [LIVE, '#badge.live'],
  waiting: [WAITING],
  embed: [LIVE],
  several: [LIVE, WAITING],
  publish: ['#curtain[hidden]'],
  obs: ['#state.good'],
  admin: ['#token:visible, #status:not(:empty)'],
};

/**
 * Opens one of {@link PAGES}, and waits until nothing of it is still to come. The demo must be live.
 * @param {import('playwright-core').Page} page
 * @param {string} origin
 * @param {string} name
 */
export async function openPage(page, origin, name) {
  const key = /** @type {keyof typeof PAGES} */ (name);
  await page.goto(origin + PAGES[key]);
  for (const shown of ['html.ready', ...(SETTLED[key] ?? [])]) {
    await page.locator(shown).first().waitFor({ state: 'attached' });
  }
}
