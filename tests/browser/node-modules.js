/** The modules of the pages without a browser, as far as they need none. */

import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

// Pages tell browsers that these files are modules. Node.js 18, which Debian 12 has, needs a package.json beside them.
const folder = await mkdtemp(path.join(tmpdir(), 'aerial-modules-'));
after(() => rm(folder, { recursive: true }));
await cp(fileURLToPath(new URL('../../web/js', import.meta.url)), folder, { recursive: true });
await writeFile(path.join(folder, 'package.json'), '{ "type": "module" }');
// The server makes this list.
await writeFile(path.join(folder, 'words/languages.js'), "export default ['en', 'ko'];\n");

/** A page in English, as far as the words look at it. */
const page = { document: { documentElement: { dataset: {}, lang: 'en' } }, location: { search: '' } };
for (const [name, value] of Object.entries({ ...page, navigator: { languages: ['en'] } }))
  Object.defineProperty(globalThis, name, { value, configurable: true });

/** @param {string} name A module of the pages. */
export const importPages = (name) => import(path.join(folder, name));
