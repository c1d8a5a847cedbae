/** A blob of a gibibyte, in and out: it streams, and is never in memory as a whole. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { go, openProfile, serveFiles } from './site.js';

test('a gibibyte streams in and out', async () => {
  const { url, server } = await serveFiles();
  // A profile keeps on disk what a private window keeps in memory.
  const { page, context, complaints } = await openProfile(mkdtempSync(join(tmpdir(), 'orlop-large-')), url);
  await go(page, '#/clients');
  await page.getByRole('button', { name: 'Answer /v2/ here' }).click();
  await page.getByText('the registry in this tab answers').waitFor();
  const seen = await page.evaluate(async () => {
    const piece = new Uint8Array(1 << 20).map((_, i) => i * 7);
    const blob = new Blob(Array.from({ length: 1024 }, () => piece));
    const began = performance.now();
    const opened = await fetch('/v2/large/blobs/uploads/', { method: 'POST' });
    const url = opened.headers.get('Location')!;
    const chunk = await fetch(url, { method: 'PATCH', body: blob });
    const pushed = performance.now();
    const digest = `sha256:${'0'.repeat(64)}`;
    const refused = await fetch(`${url}?digest=${digest}`, { method: 'PUT' });
    const detail = ((await refused.json()) as { errors: { detail: { actual: string } }[] }).errors[0]!.detail.actual;
    const again = await fetch(`/v2/large/blobs/uploads/?digest=${detail}`, { method: 'POST', body: blob });
    const got = await fetch(`/v2/large/blobs/${detail}`);
    const reader = got.body!.getReader();
    let size = 0;
    const from = performance.now();
    for (let read = await reader.read(); !read.done; read = await reader.read()) size += read.value.length;
    return {
      statuses: [chunk.status, refused.status, again.status, got.status],
      size,
      range: chunk.headers.get('Range'),
      inMs: pushed - began,
      outMs: performance.now() - from,
    };
  });
  console.log(`1 GiB in: ${(seen.inMs / 1000).toFixed(1)} s, out: ${(seen.outMs / 1000).toFixed(1)} s`);
  expect(seen).toMatchObject({ statuses: [202, 400, 201, 200], size: 1 << 30, range: `0-${(1 << 30) - 1}` });
  expect(complaints).toEqual([]);
  await context.close();
  server.close();
}, 600_000);
