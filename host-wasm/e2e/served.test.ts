/** The playground as `orlop serve` serves it, and the server that it drives then. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Browser } from 'playwright-core';
import { image, layout } from '../test/images.js';
import { expectAccessible } from './accessible.js';
import { directory, serve, stopServers } from './orlop.js';
import { SHOTS, go, launch, open } from './site.js';

let browser: Browser;
let url: string;

beforeAll(async () => {
  url = await serve('data', '--assemble', 'multi/**');
  browser = await launch();
});
afterAll(async () => {
  await browser.close();
  stopServers();
});

test('the page comes with a strict policy, zipped, and its parts are kept', async () => {
  const page = await fetch(`${url}playground/`);
  expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
  expect(page.headers.get('content-encoding')).toBe('gzip');
  const script = /src="\.\/(assets\/[^"]+\.js)"/.exec(await page.text())![1]!;
  const part = await fetch(`${url}playground/${script}`);
  expect([part.status, part.headers.get('cache-control')]).toEqual([200, 'public, max-age=31536000, immutable']);
  expect((await fetch(`${url}playground/nothing`)).status).toBe(404);
});

test('it can be switched off', async () => {
  const bare = await serve('bare', '--no-playground', '--no-console');
  for (const path of ['', 'console/', 'playground/']) expect((await fetch(bare + path)).status).toBe(404);
  expect((await fetch(`${bare}v2/`)).status).toBe(200);
});

test('the server is driven: scenarios, requests, images, conformance', async () => {
  const { page, context, complaints, strangers } = await open(browser, `${url}playground/`);
  await page.locator('.switches select').first().selectOption('server');
  for (const id of ['push-pull', 'chunks', 'out-of-order', 'mount', 'platforms', 'referrers', 'errors']) {
    await go(page, `#/scenarios/${id}`);
    await page.getByRole('button', { name: 'Do all steps' }).click();
    if (id !== 'errors') await page.getByRole('button', { name: 'Push to the server' }).click();
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
  await page.getByRole('button', { name: 'Push it' }).click();
  await page.getByText('Pushed app:v1').waitFor();
  await page.locator('summary', { hasText: /^app$/ }).click();
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
  await page.getByRole('button', { name: 'Push test data to the server' }).click();
  await page.locator('.note[role=status]').waitFor({ timeout: 300_000 });
  console.log(await page.locator('.note[role=status]').textContent());
  console.log(await page.locator('tr.failed td:nth-child(3)').allInnerTexts());
  expect(await page.locator('.note[role=status]').textContent()).toContain('All checks that count passed');
  await page.screenshot({ path: `${SHOTS}/served-conformance.png` });
  expect(complaints).toEqual([]);
  expect(strangers).toEqual([]);
  await context.close();
});
