/**
 * The words of the pages, in the language of the browser or the one that was chosen. Each language is one file in
 * `words/`; the server lists them.
 *
 * `{name}` in a text is replaced, and `{site}` by the name of the server. `{name|은/는}` is followed by the particle that fits it. A text with forms (`one`,
 * `other`) is chosen by `count`.
 */

import { read, store } from './storage.js';
import languages from './words/languages.js';

/** @typedef {string|Partial<Record<Intl.LDMLPluralRule, string>>} Entry */
/** @typedef {Record<string, string|number>} Values */

/** What the pages fall back to. */
const FIRST = 'en';
const KEY = 'aerial-language';
/** Pages of this server say so; elsewhere the player follows the page that it is part of. */
const OWN = 'aerial' in document.documentElement.dataset;
/** What the operator calls this server: `{site}` in any text. */
export const SITE = document.documentElement.dataset.aerial || 'Aerial';

/** The language in use. */
export const language = choose();

/** @type {Record<string, Entry>} */
const words = (await import(`./words/${language}.js`)).default;
const forms = new Intl.PluralRules(language);

/** @returns {string} */
function choose() {
  const asked = new URLSearchParams(location.search).get('lang') ?? '';
  const wanted = OWN ? [asked, read(KEY) ?? ''] : [document.documentElement.lang];
  for (const tag of [...wanted, ...navigator.languages]) {
    const found = languages.find((known) => known === tag) ?? languages.find((known) => known === tag.split('-')[0]);
    if (found) return found;
  }
  return FIRST;
}

/**
 * @param {string} key
 * @param {Values} [values]
 * @returns {string} The text; the key if there is none.
 */
export function t(key, values = {}) {
  const entry = words[key];
  if (entry === undefined) return key;
  const text = typeof entry === 'string' ? entry : (entry[forms.select(Number(values.count))] ?? entry.other ?? key);
  return text.replace(/\{(\w+)(?:\|([^}]*))?\}/g, (_, name, particles) => {
    const value = values[name] ?? (name === 'site' ? SITE : '');
    const shown = typeof value === 'number' ? value.toLocaleString(language) : value;
    return particles ? shown + particle(shown, particles) : shown;
  });
}

/** @param {string} key True if there are words for it. */
export const has = (key) => key in words;

/**
 * Fills a page: `data-t="key"` has its text replaced, `data-t-title`, `data-t-aria-label` and
 * `data-t-placeholder` those attributes.
 * @param {ParentNode} [root]
 */
export function fillWords(root = document) {
  for (const element of root.querySelectorAll('[data-t]'))
    element.textContent = t(/** @type {HTMLElement} */ (element).dataset.t ?? '');
  for (const name of ['title', 'aria-label', 'placeholder']) {
    for (const element of root.querySelectorAll(`[data-t-${name}]`))
      element.setAttribute(name, t(element.getAttribute(`data-t-${name}`) ?? ''));
  }
}

/** Fills the page, and its menu of languages. */
export function translatePage() {
  document.documentElement.lang = language;
  fillWords();
  for (const menu of document.querySelectorAll('select[data-languages]')) {
    for (const tag of languages) {
      const option = new Option(new Intl.DisplayNames([tag], { type: 'language' }).of(tag) ?? tag, tag);
      option.lang = tag;
      option.selected = tag === language;
      menu.append(option);
    }
    menu.addEventListener('change', () => {
      store(KEY, /** @type {HTMLSelectElement} */ (menu).value);
      const address = new URL(location.href);
      address.searchParams.delete('lang');
      location.replace(address);
    });
  }
  document.documentElement.classList.add('ready');
}

/** Last consonants of the names of digits, as Korean reads them: 영 일 이 삼 사 오 육 칠 팔 구. */
const DIGITS = ['ㅇ', 'ㄹ', '', 'ㅁ', '', '', 'ㄱ', 'ㄹ', 'ㄹ', ''];
/** Letters that end a syllable when Korean reads a Latin word, and those that may. */
const CLOSED = /[lmn]$|ng$/i;
const UNSURE = /[bckpt]$|(?<!n)g$/i;

/**
 * The particle that fits a word.
 * @param {string} word
 * @param {string} pair After a consonant and after a vowel: `은/는`.
 */
export function particle(word, pair) {
  const [closed, open] = pair.split('/');
  const bare = word.replace(/[^\p{L}\p{N}]+$/u, '');
  const last = bare.at(-1) ?? '';
  const code = last.charCodeAt(0) - 0xac00;
  const isSyllable = code >= 0 && code < 11_172;
  if (!isSyllable && !/\d/.test(last) && UNSURE.test(bare)) return `${closed}(${open})`;
  const final = isSyllable
    ? ['', ...'ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ'][code % 28]
    : finalOf(last, bare);
  // 로 follows ㄹ as it follows a vowel.
  return final === '' || (final === 'ㄹ' && closed === '으로') ? open : closed;
}

/**
 * @param {string} last
 * @param {string} word
 */
function finalOf(last, word) {
  if (/\d/.test(last)) return DIGITS[Number(last)];
  if (!CLOSED.test(word)) return '';
  return /l$/i.test(word) ? 'ㄹ' : 'ㄴ';
}
