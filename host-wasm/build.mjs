// Builds everything that browsers and Node run, into one directory:
//
//   node build.mjs [--out DIRECTORY] [--suite]
//
//   cargo build       the two wasm modules, profile `wasm`
//   bindgen           the JavaScript and types beside them, at the version of Cargo.lock
//   wasm-opt          smaller and faster modules
//   tsc               the npm package, in DIRECTORY/dist
//   vite build        the page, in DIRECTORY/page
//
// The packages must be installed (`npm ci`). `--suite` builds only the module of the tests under Node.
// CARGO_TARGET_DIR says where cargo works; without it, in the workspace's own `target`.

import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const flag = (name) => process.argv.includes(name);
const option = (name, standard) => (flag(name) ? process.argv[process.argv.indexOf(name) + 1] : standard);
const out = resolve(option('--out', here));
const target = resolve(process.env.CARGO_TARGET_DIR ?? join(here, '..', 'target'));
const cargo = process.env.CARGO ?? 'cargo';

/** The largest wasm module of the registry that may be shipped, in bytes after gzip. */
const LIMIT = 400 * 1024;

function run(program, args, options = {}) {
  console.log(`$ ${program} ${args.join(' ')}`);
  execFileSync(program, args, { stdio: 'inherit', cwd: here, ...options });
}

/** Builds one wasm module into `directory`. */
function module(name, features, directory, optimise) {
  const wasm = ['--package', name, '--target', 'wasm32-unknown-unknown', '--profile', 'wasm', '--locked'];
  run(cargo, ['build', '--target-dir', target, ...wasm, ...features]);
  const built = join(target, 'wasm32-unknown-unknown', 'wasm', `${name.replaceAll('-', '_')}.wasm`);
  mkdirSync(directory, { recursive: true });
  run(cargo, ['run', '--quiet', '--locked', '--target-dir', target, '--package', 'orlop-wasm-bindgen', '--', built, directory]);
  const file = join(directory, `${name.replaceAll('-', '_')}_bg.wasm`);
  if (optimise) {
    const features = ['--enable-bulk-memory', '--enable-nontrapping-float-to-int', '--enable-sign-ext'];
    const more = ['--enable-mutable-globals', '--enable-reference-types', '--enable-multivalue'];
    const wasmOpt = join(here, 'node_modules', 'binaryen', 'bin', 'wasm-opt');
    run(process.execPath, [wasmOpt, '-O3', ...features, ...more, file, '-o', `${file}.small`]);
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
  [['registry', registry], ['tester', tester]].map(([name, file]) => {
    const bytes = readFileSync(file);
    return [name, { bytes: statSync(file).size, gzip: gzipSync(bytes, { level: 9 }).length }];
  }),
);
console.log('wasm sizes', sizes);
if (sizes.registry.gzip > LIMIT) {
  console.error(`The registry's wasm module has ${sizes.registry.gzip} bytes after gzip; ${LIMIT} are allowed.`);
  process.exit(1);
}
writeFileSync(join(here, 'page', 'pkg', 'sizes.json'), `${JSON.stringify(sizes)}\n`);

rmSync(join(out, 'dist'), { recursive: true, force: true });
run(process.execPath, [binary('tsc'), '-p', 'tsconfig.package.json', '--outDir', join(out, 'dist')]);
cpSync(join(here, 'js', 'pkg'), join(out, 'dist', 'pkg'), { recursive: true });
run(process.execPath, [binary('vite'), 'build', '--outDir', join(out, 'page-dist'), '--emptyOutDir']);
