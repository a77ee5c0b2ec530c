/** The modules of a page: all of them are preloaded. Run as a program, it writes them into the pages. */

import { readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const WEB = fileURLToPath(new URL('../../web/', import.meta.url));

/**
 * A page with links to the modules that it needs.
 * @param {string} page Its text.
 */
export async function withModules(page) {
  const [, root, entry] = /src="([^"]*)js\/([^"]+)"/.exec(page) ?? [];
  const all = await imports(entry, new Set([entry]));
  all.delete(entry);
  const links = [...all].sort().map((name) => `    <link rel="modulepreload" href="${root}js/${name}" />\n`);
  return page.replace(/( *<!-- modules -->\n)( *<link rel="modulepreload".*\n)*/, `$1${links.join('')}`);
}

/**
 * @param {string} name
 * @param {Set<string>} seen
 * @returns {Promise<Set<string>>}
 */
export async function imports(name, seen) {
  const text = await readFile(path.join(WEB, 'js', name), 'utf8').catch(() => '');
  for (const [, target] of text.matchAll(/^(?:import|export)[^'"]*?['"](\.[^'"]+)['"];$/gm)) {
    const found = path.posix.join(path.posix.dirname(name), target);
    if (seen.has(found)) continue;
    seen.add(found);
    await imports(found, seen);
  }
  return seen;
}

/** Every page, by its name. */
export const pages = () => read('');

/** What several pages have in common: the server puts it in. */
export const parts = () => read('parts');

/** @param {string} folder */
async function read(folder) {
  const names = (await readdir(path.join(WEB, folder))).filter((name) => name.endsWith('.html'));
  return Promise.all(names.map(async (name) => ({ name, text: await readFile(path.join(WEB, folder, name), 'utf8') })));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { name, text } of await pages()) await writeFile(path.join(WEB, name), await withModules(text));
}
