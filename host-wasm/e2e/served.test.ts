/** The playground as `orlop serve` serves it, and the server that it drives then. */
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Browser } from 'playwright-core';
import { image, layout } from '../test/images.js';
import { expectAccessible } from './accessible.js';
import { SHOTS, go, launch, open } from './site.js';

const ORLOP = process.env['ORLOP'] ?? fileURLToPath(new URL('../../target/release/orlop', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'orlop-served-'));
const started: ChildProcess[] = [];
let browser: Browser;
let url: string;

/** Starts a server: where it listens. */
async function serve(name: string, ...flags: string[]): Promise<string> {
  const arguments_ = [
    'serve',
    '--addr',
    '127.0.0.1:0',
    '--data',
    join(directory, name),
    '--assemble',
    'multi/**',
    ...flags,
  ];
  const server = spawn(ORLOP, arguments_, { stdio: ['ignore', 'ignore', 'pipe'] });
  started.push(server);
  for await (const line of createInterface(server.stderr!)) {
    const listening = /listening on (http:\/\/\S+)/.exec(line);
    if (listening) {
      server.stderr!.resume();
      return `${listening[1]}/`;
    }
  }
  throw new Error(`${ORLOP} ended before it listened`);
}

beforeAll(async () => {
  url = await serve('data');
  browser = await launch();
});
afterAll(async () => {
  await browser.close();
  for (const server of started) server.kill();
});

test('the page comes with a strict policy, zipped, and its parts are kept', async () => {
  const page = await fetch(url);
  expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
  expect(page.headers.get('content-encoding')).toBe('gzip');
  const script = /src="\.\/(assets\/[^"]+\.js)"/.exec(await page.text())![1]!;
  const part = await fetch(url + script);
  expect([part.status, part.headers.get('cache-control')]).toEqual([200, 'public, max-age=31536000, immutable']);
  expect((await fetch(`${url}nothing`)).status).toBe(404);
});

test('it can be switched off', async () => {
  const bare = await serve('bare', '--no-playground');
  expect((await fetch(bare)).status).toBe(404);
  expect((await fetch(`${bare}v2/`)).status).toBe(200);
});

test('the server is driven: scenarios, requests, images, conformance', async () => {
  const { page, context, complaints, strangers } = await open(browser, url);
  await page.locator('.switches select').first().selectOption('server');
  for (const id of ['push-pull', 'chunks', 'out-of-order', 'mount', 'platforms', 'referrers', 'errors']) {
    await go(page, `#/scenarios/${id}`);
    await page.getByRole('button', { name: 'Do all that follow' }).click();
    await page.locator('.note[role=status]').waitFor();
    expect(await page.locator('.note[role=status]').textContent(), id).toContain(
      'Every answer was as the specification says',
    );
  }
  const catalog = (await (await fetch(`${url}v2/_catalog`)).json()) as { repositories: string[] };
  expect(catalog.repositories).toContain('tour/image');
  await expectAccessible(page, 'driving the server');
  await page.screenshot({ path: `${SHOTS}/served-scenario.png`, fullPage: true });

  await go(page, '#/images');
  const path = join(directory, 'app.tar');
  writeFileSync(path, new Uint8Array(await layout().arrayBuffer()));
  await page.locator('#archive').setInputFiles(path);
  await page.getByText('Pushed app:v1').waitFor();
  const event = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Download app:v1' }).click();
  const out = join(directory, 'out.tar');
  await (await event).saveAs(out);
  const seen = JSON.parse(execFileSync('skopeo', ['inspect', `oci-archive:${out}`]).toString()) as { Digest: string };
  expect(seen.Digest).toBe(image().digest);

  await go(page, '#/conformance');
  await page.locator('#where').selectOption('server');
  await page.getByLabel('Random histories').fill('4');
  await page.getByLabel('Concurrent histories').fill('3');
  await page.getByRole('button', { name: 'Run', exact: true }).click();
  await page.locator('.note[role=status]').waitFor({ timeout: 100_000 });
  console.log(await page.locator('.note[role=status]').textContent());
  console.log(await page.locator('tr.failed td:nth-child(3)').allInnerTexts());
  expect(await page.locator('.note[role=status]').textContent()).toContain('does all that counts');
  await page.screenshot({ path: `${SHOTS}/served-conformance.png` });
  expect(complaints).toEqual([]);
  expect(strangers).toEqual([]);
  await context.close();
});

test('the service worker and the server live side by side', async () => {
  const { page, context } = await open(browser, url);
  await go(page, '#/clients');
  await page.getByRole('button', { name: 'Answer /v2/ here' }).click();
  await page.getByText('the registry in this tab answers').waitFor();
  const here = () =>
    page.evaluate(
      async () => ((await (await fetch('/v2/_catalog')).json()) as { repositories: string[] }).repositories,
    );
  expect(await here()).toEqual([]);
  const there = await page.evaluate(async () =>
    (await fetch('/v2/_catalog', { headers: { 'orlop-target': 'server' } })).json(),
  );
  expect((there as { repositories: string[] }).repositories.length).toBeGreaterThan(0);
  await context.close();
});
