/** Images in and out, and what goes wrong. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Browser } from 'playwright-core';
import { image, layout, sha256, tar } from '../test/images.js';
import { expectAccessible } from './accessible.js';
import { SHOTS, go, launch, open, openProfile, serveFiles } from './site.js';
import type { Tab } from './site.js';

let browser: Browser;
let site: { url: string; server: Server };
const directory = mkdtempSync(join(tmpdir(), 'orlop-images-'));

beforeAll(async () => {
  site = await serveFiles();
  browser = await launch();
});
afterAll(async () => {
  await browser.close();
  site.server.close();
});

async function fileOf(name: string, archive: Blob): Promise<string> {
  const path = join(directory, name);
  writeFileSync(path, new Uint8Array(await archive.arrayBuffer()));
  return path;
}

async function drop(tab: Tab, path: string): Promise<void> {
  await go(tab.page, '#/images');
  await tab.page.locator('#archive').setInputFiles(path);
  await tab.page.locator('.pane .note').first().waitFor();
}

const inspect = (path: string) =>
  JSON.parse(execFileSync('skopeo', ['inspect', `oci-archive:${path}`]).toString()) as Record<string, unknown>;

async function download(tab: Tab, name: string): Promise<string> {
  const event = tab.page.waitForEvent('download');
  await tab.page.getByRole('button', { name: `Download ${name}` }).click();
  const path = join(directory, `${name.replaceAll(/[/:]/g, '-')}.tar`);
  await (await event).saveAs(path);
  return path;
}

test('an image goes in, comes out, and skopeo knows it', async () => {
  const tab = await open(browser, site.url);
  await drop(tab, await fileOf('app.tar', layout()));
  expect(await tab.page.locator('.note.good').textContent()).toContain('Pushed app:v1');
  await expectAccessible(tab.page, 'images');
  await tab.page.screenshot({ path: `${SHOTS}/images-in.png` });
  const path = await download(tab, 'app:v1');
  expect(inspect(path)).toMatchObject({ Digest: image().digest, Architecture: 'amd64', Layers: [sha256('layer')] });
  expect(tab.complaints).toEqual([]);
  await tab.context.close();
});

test('what skopeo writes goes in, as an OCI layout and as docker-archive', async () => {
  const tab = await open(browser, site.url);
  const source = await fileOf('source.tar', layout());
  for (const kind of ['oci-archive', 'docker-archive']) {
    const path = join(directory, `${kind}.tar`);
    execFileSync('skopeo', ['copy', '--insecure-policy', `oci-archive:${source}`, `${kind}:${path}:debian:13`]);
    await drop(tab, path);
    expect(await tab.page.locator('.note.good').textContent(), kind).toContain('debian:13');
    expect(inspect(await download(tab, 'debian:13'))).toMatchObject({ Architecture: 'amd64', Os: 'linux' });
  }
  expect(tab.complaints).toEqual([]);
  await tab.context.close();
});

test('the folder of a layout goes in', async () => {
  const tab = await open(browser, site.url);
  const source = await fileOf('source.tar', layout());
  const folder = join(directory, 'unpacked');
  execFileSync('skopeo', ['copy', '--insecure-policy', `oci-archive:${source}`, `oci:${folder}:v7`]);
  await go(tab.page, '#/images');
  await tab.page.locator('#folder').setInputFiles(folder);
  await tab.page.getByText('Pushed unpacked:v7').waitFor();
  expect(tab.complaints).toEqual([]);
  await tab.context.close();
});

test('what is no image is refused with a reason, and nothing is kept', async () => {
  const tab = await open(browser, site.url);
  const broken = new TextEncoder().encode('{"schemaVersion": 2, "layers": "none"');
  const cases: [string, Blob, string][] = [
    ['text.tar', new Blob(['no archive at all, '.repeat(100)]), 'This is no tar archive'],
    ['files.tar', tar({ 'hello.txt': 'hello' }), 'it is no image'],
    ['lacking.tar', layout(image(), 'v1', sha256('layer')), 'The archive lacks the blob'],
    ['broken.tar', layout({ ...image(), manifest: broken, digest: sha256(broken) }), 'is not JSON'],
    ['cut.tar', layout().slice(0, 2000), 'ends in the middle of a file'],
  ];
  for (const [name, archive, reason] of cases) {
    await drop(tab, await fileOf(name, archive));
    await tab.page.locator('.note.bad', { hasText: reason }).waitFor();
  }
  await expectAccessible(tab.page, 'images refused');
  await tab.page.screenshot({ path: `${SHOTS}/images-refused.png` });
  await go(tab.page, '#/store');
  await tab.page.getByText('The registry is empty.').waitFor();
  expect(tab.complaints).toEqual([]);
  await tab.context.close();
});

test('a full storage says so, and keeps nothing half-way', async () => {
  // Quotas of private windows are not to be had; this one has a profile.
  const tab = await openProfile(join(directory, 'profile'), site.url, 2 << 20);
  const large = image('amd64', Array.from({ length: 1 << 20 }, () => Math.random().toString(36).slice(2, 8)).join(''));
  await drop(tab, await fileOf('large.tar', layout(large)));
  const told = await tab.page.locator('.pane .note').first().textContent();
  expect(told).toContain('the storage of the registry is full');
  expect(told).toContain('Nothing of the archive was kept');
  await tab.page.screenshot({ path: `${SHOTS}/images-full.png` });
  await go(tab.page, '#/store');
  await tab.page.getByRole('button', { name: 'Refresh' }).click();
  expect(await tab.page.locator('.tree .kind', { hasText: 'tag' }).count()).toBe(0);
  await tab.context.close();
});

test('without WebAssembly the page says what to do', async () => {
  const without = await launch('--js-flags=--jitless');
  const page = await without.newPage();
  await page.goto(site.url);
  await page.getByText('The registry in this tab could not be opened').waitFor();
  await page.getByText('Use a browser that has WebAssembly').waitFor();
  await expectAccessible(page, 'without WebAssembly');
  await page.screenshot({ path: `${SHOTS}/without-wasm.png` });
  await without.close();
});
