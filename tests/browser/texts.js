/** The words of the pages by their keys: tests look at which ones are shown, not at how they read. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';

/**
 * @param {string} language
 * @returns {Promise<Record<string, string|Record<string, string>>>}
 */
async function catalogue(language) {
  const source = await readFile(new URL(`../../web/js/words/${language}.js`, import.meta.url), 'utf8');
  return (await import(`data:text/javascript,${encodeURIComponent(source)}`)).default;
}

const catalogues = { en: await catalogue('en'), ko: await catalogue('ko') };

/**
 * The text of a key, as far as it has no places, or with these filled in. A text with forms is chosen by `count`.
 * @param {string} key
 * @param {Record<string, string|number>} [values]
 * @param {'en'|'ko'} [language]
 */
export function textOf(key, values = {}, language = 'en') {
  const entry = catalogues[language][key];
  assert.ok(entry, `no text ${key}`);
  const form = new Intl.PluralRules(language).select(Number(values.count));
  const text = typeof entry === 'string' ? entry : (entry[form] ?? entry.other);
  return text.replace(/\{(\w+)[^}]*\}/g, (_, name) => String(values[name] ?? ''));
}

/** @param {string} key A text without places. */
export const koreanOf = (key) => textOf(key, {}, 'ko');
