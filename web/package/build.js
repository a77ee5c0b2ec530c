/**
 * Makes the package of the player in a folder, for `npm pack`: `node web/package/build.js FOLDER`. The version is that of
 * the server. Needs the tools of the tests (`make setup-test`).
 */

import { execFileSync } from 'node:child_process';
import { cp, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { imports } from '../../tests/browser/modules.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const HERE = path.join(ROOT, 'web/package');
const MODULES = path.join(ROOT, 'web/js');
const TSC = path.join(ROOT, 'tests/browser/node_modules/.bin/tsc');
const TYPES = [
  ...['--declaration', '--emitDeclarationOnly', '--allowJs', '--checkJs', '--skipLibCheck'],
  ...['--target', 'es2022', '--module', 'esnext', '--moduleResolution', 'bundler', '--types', ''],
  ...['--lib', 'es2023,dom,dom.iterable'],
];

/** @param {string} folder */
async function build(folder) {
  await rm(folder, { recursive: true, force: true });
  await mkdir(path.join(folder, 'js/words'), { recursive: true });
  for (const name of ['README.md', 'index.js', 'index.d.ts']) await cp(path.join(HERE, name), path.join(folder, name));
  await cp(path.join(ROOT, 'LICENSE'), path.join(folder, 'LICENSE'));

  const words = (await readdir(path.join(MODULES, 'words'))).filter((name) => name.endsWith('.js'));
  const entries = ['player.js', 'whep.js', 'whip.js'];
  const needed = new Set([...entries, ...words.map((name) => `words/${name}`)]);
  for (const entry of entries) await imports(entry, needed);
  needed.delete('words/languages.js'); // a server makes it
  for (const name of needed) await cp(path.join(MODULES, name), path.join(folder, 'js', name));
  const languages = JSON.stringify(words.map((name) => name.replace('.js', '')));
  await writeFile(path.join(folder, 'js/words/languages.js'), `export default ${languages};\n`);

  // Types refer to modules that the package does not need otherwise.
  const sources = entries.map((name) => path.join(MODULES, name));
  const types = [...TYPES, '--rootDir', MODULES, '--outDir', path.join(folder, 'types')];
  execFileSync(TSC, [...types, ...sources], { cwd: folder, stdio: 'inherit' });

  const [, version] = /^version = "([^"]+)"/m.exec(await readFile(path.join(ROOT, 'Cargo.toml'), 'utf8')) ?? [];
  const description = JSON.parse(await readFile(path.join(HERE, 'package.json'), 'utf8'));
  await writeFile(path.join(folder, 'package.json'), `${JSON.stringify({ ...description, version }, null, 2)}\n`);
}

await build(path.resolve(process.argv[2]));
