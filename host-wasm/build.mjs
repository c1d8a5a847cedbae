// Builds everything that browsers and Node run, beside this file:
//
//   node build.mjs [--page | --suite]
//
//   cargo build       the two wasm modules, profile `wasm`
//   bindgen           the JavaScript and types beside them, at the version of Cargo.lock
//   wasm-opt          smaller and faster modules
//   tsc               the npm package, in dist/
//   vite build        the console and the playground, in page-dist/, each file beside its gzip
//
// The packages must be installed (`npm ci`): `cargo page` does both. `--page` leaves the package out, `--suite` builds
// only the module of the tests under Node. CARGO_TARGET_DIR says where cargo works; without it, in the workspace's own
// `target`.

import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const flag = (name) => process.argv.includes(name);
const workspace = resolve(here, '..');
const target = resolve(process.env.CARGO_TARGET_DIR ?? join(workspace, 'target'));
const cargo = process.env.CARGO ?? 'cargo';

/** The largest wasm module of the registry that may be shipped, in bytes after gzip. */
const LIMIT = 420 * 1024;

/** The most that the first page of the console may load, and the most that all its other pages may, in bytes after gzip. */
const [FIRST_LIMIT, LATER_LIMIT] = [60 * 1024, 30 * 1024];

function run(program, args, options = {}) {
  console.log(`$ ${program} ${args.join(' ')}`);
  try {
    execFileSync(program, args, { stdio: 'inherit', cwd: here, ...options });
  } catch (error) {
    // The program has said what was wrong.
    console.error(`${program} ${args[0]} failed: ${error.status ?? error.message}`);
    process.exit(1);
  }
}

/** Builds one wasm module into `directory`. */
function module(name, features, directory, optimise) {
  const wasm = ['--package', name, '--target', 'wasm32-unknown-unknown', '--profile', 'wasm', '--locked'];
  run(cargo, ['build', '--target-dir', target, ...wasm, ...features], { cwd: workspace });
  const built = join(target, 'wasm32-unknown-unknown', 'wasm', `${name.replaceAll('-', '_')}.wasm`);
  mkdirSync(directory, { recursive: true });
  // With the features that the whole workspace has together, as `cargo test --workspace` has built its dependencies.
  const bindgen = ['--workspace', '--bin', 'orlop-wasm-bindgen', '--locked'];
  run(cargo, ['build', '--quiet', '--target-dir', target, ...bindgen], { cwd: workspace });
  run(join(target, 'debug', 'orlop-wasm-bindgen'), [built, directory]);
  const file = join(directory, `${name.replaceAll('-', '_')}_bg.wasm`);
  if (optimise) {
    const features = ['--enable-bulk-memory', '--enable-nontrapping-float-to-int', '--enable-sign-ext'];
    const more = ['--enable-mutable-globals', '--enable-reference-types', '--enable-multivalue'];
    const wasmOpt = join(here, 'node_modules', 'binaryen', 'bin', 'wasm-opt');
    run(process.execPath, [wasmOpt, '-Oz', ...features, ...more, file, '-o', `${file}.small`]);
    renameSync(`${file}.small`, file);
  }
  return file;
}

function binary(name) {
  return join(here, 'node_modules', '.bin', name);
}

if (flag('--suite')) {
  module('orlop-wasm', ['--features', 'suite'], join(here, 'js', 'pkg-suite'), false);
  process.exit(0);
}

if (!existsSync(join(here, 'node_modules'))) {
  console.error('The packages are not installed: run `npm ci` in this directory first.');
  process.exit(1);
}

const registry = module('orlop-wasm', [], join(here, 'js', 'pkg'), true);
const tester = module('orlop-tester-wasm', [], join(here, 'page', 'pkg'), true);
const sizes = Object.fromEntries(
  [
    ['registry', registry],
    ['tester', tester],
  ].map(([name, file]) => {
    const bytes = readFileSync(file);
    return [name, { bytes: statSync(file).size, gzip: gzipSync(bytes, { level: 9 }).length }];
  }),
);
console.log('wasm sizes', sizes);
if (sizes.registry.gzip > LIMIT) {
  console.error(`The registry's wasm module has ${sizes.registry.gzip} bytes after gzip; ${LIMIT} are allowed.`);
  process.exit(1);
}
writeFileSync(join(here, 'page', 'pkg', 'sizes.json'), `${JSON.stringify({ ...sizes, limit: LIMIT })}\n`);

if (!flag('--page')) {
  rmSync(join(here, 'dist'), { recursive: true, force: true });
  run(process.execPath, [binary('tsc'), '-p', 'tsconfig.package.json', '--outDir', join(here, 'dist')]);
  cpSync(join(here, 'js', 'pkg'), join(here, 'dist', 'pkg'), { recursive: true });
}

const page = join(here, 'page-dist');
// Not by vite, which would take the .gitignore too.
for (const name of existsSync(page) ? readdirSync(page) : [])
  if (name !== '.gitignore') rmSync(join(page, name), { recursive: true });
run(process.execPath, [binary('vite'), 'build', '--outDir', join(page, 'playground'), '--emptyOutDir']);
run(process.execPath, [binary('vite'), 'build', '-c', 'vite.console.config.ts', '--outDir', join(page, 'console')]);
for (const entry of readdirSync(page, { recursive: true, withFileTypes: true })) {
  const file = join(entry.parentPath, entry.name);
  if (entry.isFile() && entry.name !== '.gitignore' && statSync(file).size > 1024)
    writeFileSync(`${file}.gz`, gzipSync(readFileSync(file), { level: 9 }));
}

/** What a browser loads for the first page of the console is what its index names; the rest comes when it is needed. */
const index = readFileSync(join(page, 'console', 'index.html'), 'utf8');
const bytes = { first: 0, later: 0 };
for (const entry of readdirSync(join(page, 'console'), { recursive: true, withFileTypes: true })) {
  if (!/\.(html|js|css)\.gz$/.test(entry.name)) continue;
  const name = entry.name.replace(/\.gz$/, '');
  const isFirst = name === 'index.html' || index.includes(name);
  bytes[isFirst ? 'first' : 'later'] += statSync(join(entry.parentPath, entry.name)).size;
}
console.log(`the console has ${bytes.first} bytes after gzip, and ${bytes.later} that are loaded later`);
if (bytes.first > FIRST_LIMIT || bytes.later > LATER_LIMIT) {
  console.error(
    `The console has too much: ${FIRST_LIMIT} bytes are allowed, and ${LATER_LIMIT} that are loaded later.`,
  );
  process.exit(1);
}
