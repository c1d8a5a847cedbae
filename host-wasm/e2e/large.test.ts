/** A blob of a gibibyte, in and out: it streams, and is never in memory as a whole. */
import { createHash } from 'node:crypto';
import { createReadStream, mkdtempSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { go, openProfile, serveFiles } from './site.js';

test('a gibibyte streams in and out', async () => {
  const { url, server } = await serveFiles();
  const directory = mkdtempSync(join(tmpdir(), 'orlop-large-'));
  const layer = join(directory, 'layer');
  writeFileSync(layer, 'something at its beginning');
  truncateSync(layer, 1 << 30);
  const hash = createHash('sha256');
  for await (const piece of createReadStream(layer)) hash.update(piece as Buffer);
  const digest = `sha256:${hash.digest('hex')}`;
  // A profile keeps on disk what a private window keeps in memory.
  const { page, context, complaints } = await openProfile(join(directory, 'profile'), url);
  await go(page, '#/clients');
  await page.getByRole('button', { name: 'Answer /v2/ here' }).click();
  await page.getByText('the registry in this tab answers').waitFor();
  await page.evaluate(() => {
    const input = Object.assign(document.createElement('input'), { type: 'file', id: 'layer' });
    document.body.append(input);
  });
  await page.setInputFiles('#layer', layer);
  const seen = await page.evaluate(async (digest) => {
    const blob = document.querySelector<HTMLInputElement>('#layer')!.files![0]!;
    const began = performance.now();
    const opened = await fetch('/v2/large/blobs/uploads/', { method: 'POST' });
    const url = opened.headers.get('Location')!;
    const chunk = await fetch(url, { method: 'PATCH', body: blob });
    if (chunk.status !== 202) throw new Error(`${chunk.status}: ${await chunk.text()}`);
    const pushed = performance.now();
    const finished = await fetch(`${url}?digest=${digest}`, { method: 'PUT' });
    const got = await fetch(`/v2/large/blobs/${digest}`);
    const reader = got.body!.getReader();
    let size = 0;
    const from = performance.now();
    for (let read = await reader.read(); !read.done; read = await reader.read()) size += read.value.length;
    return {
      statuses: [chunk.status, finished.status, got.status],
      size,
      range: chunk.headers.get('Range'),
      inMs: pushed - began,
      outMs: performance.now() - from,
    };
  }, digest);
  console.log(`1 GiB in: ${(seen.inMs / 1000).toFixed(1)} s, out: ${(seen.outMs / 1000).toFixed(1)} s`);
  expect(seen).toMatchObject({ statuses: [202, 201, 200], size: 1 << 30, range: `0-${(1 << 30) - 1}` });
  expect(complaints).toEqual([]);
  await context.close();
  server.close();
}, 600_000);
