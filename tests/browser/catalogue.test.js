/** The words of the pages: complete in every language, and nowhere else. Without a browser. */

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { pages, parts, withModules } from './modules.js';
import { importPages } from './node-modules.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const FOLDER = path.join(ROOT, 'web/js/words');

/** @typedef {string|Record<string, string>} Entry */

/** Every language's words. @type {Map<string, Record<string, Entry>>} */
const catalogues = new Map();
for (const file of (await readdir(FOLDER)).filter((name) => name.endsWith('.js'))) {
  catalogues.set(file.replace('.js', ''), (await importPages(`words/${file}`)).default);
}
const english = catalogues.get('en');

/** All texts of an entry. @param {Entry} entry */
const texts = (entry) => (typeof entry === 'string' ? [entry] : Object.values(entry));

/** What a text has replaced. @param {Entry} entry */
function places(entry) {
  return [...new Set(texts(entry).flatMap((text) => [...text.matchAll(/\{(\w+)/g)].map(([, name]) => name)))].sort();
}

/**
 * What the templates of keys in the modules stand for. A template that is not listed here uses nothing.
 * @type {Record<string, string[]>}
 */
const FILLED = {
  '${kind}-stopped': ['video', 'audio'],
  'problem-${this.reason}': await refusals(),
  'problem-${reason}': await refusals(),
  'error-${this.kind}': [
    ...['aborted', 'network', 'timeout', 'blocked', 'lost', 'stalled', 'not-live', 'name-taken', 'unauthorized'],
    ...['forbidden', 'not-found', 'bad-offer', 'unsupported', 'too-large', 'busy', 'server', 'protocol', 'browser'],
  ],
  'state-${state}': ['live', 'stale', 'slate', 'waiting', 'demand', 'lost'],
  'thing-${thing}': ['camera', 'microphone', 'screen', 'both'],
  'misfit-${kind}': ['codec', 'profile', 'level', 'b_frames', 'sparse_keyframes', 'slate', 'failed'],
  'obs-${what}': ['size', 'rate', 'bitrate', 'keyframes', 'codec', 'audio', 'bframes'],
  'player-${state}${again}': [
    ...['idle', 'connecting', 'waiting', 'offline', 'failed', 'closed', 'waiting-again', 'offline-again'],
  ],
  'player-waiting${again}-hint': ['', '-again'],
  'stats-${term}': [
    ...['connection', 'resolution', 'rate', 'video', 'video-buffer', 'video-lost', 'dropped', 'freezes', 'audio'],
    ...['audio-buffer', 'audio-lost', 'trip'],
  ],
  'admin-${role}': ['viewer', 'publisher'],
  'admin-${kind}': ['source', 'renditions', 'output'],
  'admin-pipeline-${state}': ['idle', 'starting', 'running', 'stalled', 'failed'],
  'admin-failure-${failure}': [
    ...['not-installed', 'misconfigured', 'unfit', 'timeout', 'stalled', 'crashed', 'hung', 'ended', 'failed'],
  ],
  'publish-nth-${id}': ['camera', 'microphone'],
  'chat-refused-${reason}': ['too-often', 'busy', 'too-long', 'offline'],
  'corner-${corner}': ['top-left', 'top-right', 'bottom-right', 'bottom-left'],
  'watch-${state}': ['paused', 'live', 'on-air', 'off-air'],
};

/** The keys that a template stands for. @param {string} template */
const filled = (template) => (FILLED[template] ?? []).map((value) => template.replace(/\$\{.*\}/, value));

/** The server's words for its refusals. */
async function refusals() {
  const source = await readFile(path.join(ROOT, 'src/http/problem.rs'), 'utf8');
  return [...source.matchAll(/StatusCode::[A-Z_]+,\s*"([a-z-]+)"/g)].map(([, kind]) => kind);
}

/** The modules except the catalogues. */
async function modules() {
  const names = await readdir(path.join(ROOT, 'web/js'));
  const files = names.filter((name) => name.endsWith('.js'));
  return Promise.all(
    files.map(async (name) => ({ name, text: await readFile(path.join(ROOT, 'web/js', name), 'utf8') })),
  );
}

test('every language has all words, with the same places in them', () => {
  assert.ok(catalogues.size >= 2);
  for (const [language, words] of catalogues) {
    assert.deepEqual(Object.keys(words).sort(), Object.keys(english).sort(), language);
    const plurals = new Intl.PluralRules(language).resolvedOptions().pluralCategories;
    for (const [key, entry] of Object.entries(words)) {
      for (const text of texts(entry)) assert.notEqual(text.trim(), '', `${language}: ${key}`);
      assert.deepEqual(places(entry), places(english[key]), `${language}: ${key}`);
      if (typeof entry !== 'string')
        for (const form of plurals) assert.ok(form in entry || 'other' in entry, `${language}: ${key} ${form}`);
    }
  }
});

test('Korean words are Korean, with particles that follow the word', () => {
  for (const [key, entry] of Object.entries(catalogues.get('ko'))) {
    for (const text of texts(entry)) {
      // A particle that is written out after a place fits only half of the words.
      assert.doesNotMatch(text, /\}(은|는|이|가|을|를|과|와|으로|로)(?=\s|$|[.,])/, key);
      assert.doesNotMatch(text, /\([은는이가을를]\)/, key);
    }
  }
});

test('particles fit the sound that a word ends with', async () => {
  const { particle } = await importPages('words.js');
  for (const [word, pair, expected] of [
    ['방송', '은/는', '은'],
    ['데모', '은/는', '는'],
    ['카메라', '을/를', '를'],
    ['화면', '을/를', '을'],
    ['마이크', '이/가', '가'],
    ['서울', '으로/로', '로'],
    ['부산', '으로/로', '으로'],
    ['demo', '은/는', '는'],
    ['channel', '이/가', '이'],
    ['studio-2', '을/를', '를'],
    ['cam1', '을/를', '을'],
    ['room 10', '이/가', '이'],
    ['cam7', '으로/로', '로'],
    ['test', '은/는', '은(는)'],
    ['“방송”', '은/는', '은'],
    ['“channel”', '으로/로', '로'],
    ['streaming', '은/는', '은'],
    ['blog', '은/는', '은(는)'],
    ['', '은/는', '는'],
  ]) {
    assert.equal(particle(word, pair), expected, word);
  }
});

test('texts are filled in', async () => {
  const { t } = await importPages('words.js');
  assert.equal(t('viewers', { count: 1 }), '1 viewer');
  assert.equal(t('viewers', { count: 1_234 }), '1,234 viewers');
  assert.equal(t('player-waiting', { name: 'demo' }), String(english?.['player-waiting']).replace('{name}', 'demo'));
  assert.equal(t('no such key'), 'no such key');
});

test('keys in use are in the catalogue, and all of it is in use', async () => {
  const used = new Set();
  const sources = [...(await pages()), ...(await parts()), ...(await modules())];
  for (const { text: whole } of sources) {
    const text = whole.replace(/\/\*[\s\S]*?\*\//g, '');
    for (const [, key] of text.matchAll(/data-t(?:-[a-z-]+)?="([^"]+)"/g)) used.add(key);
    for (const [, key] of text.matchAll(/['"]([a-z][a-z-]+)['"]/g)) if (key in english) used.add(key);
    for (const [, key] of text.matchAll(/\bt\('([^']+)'/g)) used.add(key);
    for (const [, template] of text.matchAll(/`([^`\s]*\$\{[^`\s]*)`/g))
      for (const key of filled(template)) used.add(key);
    // The hint of each obstacle.
    if (text.includes('`${key}-hint`'))
      for (const [, key] of text.matchAll(/'([a-z-]+)'/g)) if (`${key}-hint` in english) used.add(`${key}-hint`);
  }
  const missing = [...used].filter((key) => !(key in english));
  assert.deepEqual(missing, []);
  const idle = Object.keys(english).filter((key) => !used.has(key));
  assert.deepEqual(idle, []);
});

test('ids are unique on each page', async () => {
  const shared = (await parts()).map(({ text }) => text).join('');
  for (const { name, text } of await pages()) {
    const ids = [...(text + shared).matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id);
    const twice = ids.filter((id, at) => ids.indexOf(id) !== at);
    assert.deepEqual(twice, [], name);
  }
});

test('every refusal of the server has words', async () => {
  const kinds = await refusals();
  assert.ok(kinds.length > 20);
  for (const kind of kinds) assert.ok(`problem-${kind}` in english, kind);
});

/** Texts that are not words: names, and what programs read. */
const NAMES = /^(Aerial|Opus|Enter|Escape|Authorization|Content-Type|Accept|Location|Link|ETag|Retry-After|Bearer .*)$/;

/**
 * The texts in a module: literals outside comments, and outside what is for the console or for programs.
 * @param {string} source
 */
function literals(source) {
  const found = [];
  const token = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`/g;
  for (const match of source.matchAll(token)) {
    const text = match[1] ?? match[2] ?? match[3];
    if (text === undefined) continue;
    const before = source.slice(Math.max(0, match.index - 60), match.index);
    if (/class'?: $|console\.warn\($|(?:Error|Exception)\((?:'[a-z-]+', )?$/.test(before)) continue;
    found.push(text.replace(/\$\{[^}]*\}/g, ''));
  }
  return found;
}

/** Whether people would read this as words. @param {string} text */
function isWords(text) {
  if (NAMES.test(text)) return false;
  if (/[\u1100-\u11ff\uac00-\ud7a3]/.test(text) && text.length > 2 && !/^[ㄱ-ㅎ가-힣]$/.test(text)) return true;
  const isCommand = /^(ffmpeg|gst-launch-1\.0) |^[a-z]+:|[<>={};]|^\.|^\w+\(/.test(text);
  return (
    !isCommand &&
    (/^[A-Z][a-z]+$/.test(text) || /[A-Za-z]{2,}[,.]? [a-z]{2,} [a-z]{2,}|^[A-Z][a-z]+ [a-z]{2,}/.test(text))
  );
}

test('no words outside the catalogue', async () => {
  const outside = [];
  for (const { name, text } of await modules()) {
    for (const literal of literals(text)) if (isWords(literal)) outside.push(`${name}: ${literal}`);
  }
  for (const { name, text } of [...(await pages()), ...(await parts())]) {
    // Without JavaScript there is no catalogue.
    const shown = text.replace(/<!--[\s\S]*?-->|<noscript[\s\S]*?<\/noscript|<(script|code)\b[\s\S]*?<\/\1>/g, '');
    for (const [, words] of shown.matchAll(/>([^<]*[\p{L}][^<]*)</gu)) {
      if (words.trim() !== '{site.name}') outside.push(`${name}: ${words.trim()}`);
    }
    for (const [, attribute, words] of shown.matchAll(/\s(title|aria-label|placeholder|alt)="([^"]*)"/g))
      outside.push(`${name}: ${attribute}="${words}"`);
  }
  assert.deepEqual(outside, []);
  // The search itself finds what it is for.
  for (const words of ['Try again', 'Stopped', 'This name is taken', '다시 시도']) assert.ok(isWords(words), words);
});

test('pages preload exactly the modules that they need', async () => {
  for (const { name, text } of await pages()) {
    assert.equal(text, await withModules(text), `${name}: run node tests/browser/modules.js`);
  }
});
