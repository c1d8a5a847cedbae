/** Images in and out. */
import { expect, test } from 'vitest';
import { Registry } from '../js/index.js';
import { entriesOf } from '../js/tar.js';
import { image, layout, push, sha256, tar } from './images.js';

async function imported(archive: Blob) {
  const registry = await Registry.open();
  return { registry, result: await registry.import(archive, { repository: 'app' }) };
}

test('an OCI layout comes in, and out again as it was', async () => {
  const { registry, result } = await imported(layout());
  expect(result.images).toEqual([{ repository: 'app', tag: 'v1', digest: image().digest }]);
  const archive = await new Response(registry.export({ repository: 'app', reference: 'v1' })).blob();
  const entries = await entriesOf(archive);
  expect([...entries.keys()].sort()).toEqual([...(await entriesOf(layout())).keys()].sort());
  const again = await imported(archive);
  expect(again.result.images).toEqual(result.images);
});

test('a zipped archive comes in', async () => {
  const zipped = layout().stream().pipeThrough(new CompressionStream('gzip'));
  const { result } = await imported(await new Response(zipped).blob());
  expect(result.images[0]!.tag).toBe('v1');
});

test('everything goes out under its names', async () => {
  const registry = await Registry.open();
  await push(registry, 'team/app', 'v1');
  await push(registry, 'team/app', 'v2', image('arm64', 'other'));
  const again = await imported(await new Response(registry.export()).blob());
  expect(again.result.images.map(({ repository, tag }) => `${repository}:${tag}`)).toEqual([
    'team/app:v1',
    'team/app:v2',
  ]);
});

test('what docker save wrote of old comes in', async () => {
  const config = JSON.stringify({ os: 'linux', architecture: 'amd64' });
  const archive = tar({
    'manifest.json': JSON.stringify([{ Config: 'c.json', RepoTags: ['debian:13'], Layers: ['l/layer.tar'] }]),
    'c.json': config,
    'l/layer.tar': 'layer',
  });
  const { registry, result } = await imported(archive);
  expect(result.images[0]).toMatchObject({ repository: 'debian', tag: '13' });
  expect((await registry.send({ method: 'GET', target: `/v2/debian/blobs/${sha256('layer')}` })).status).toBe(200);
});

const INDEX = (manifest: string) =>
  tar({
    'index.json': JSON.stringify({
      manifests: [{ mediaType: image().mediaType, digest: sha256(manifest), size: manifest.length }],
    }),
    [`blobs/${sha256(manifest).replace(':', '/')}`]: manifest,
  });

test.each([
  ['this is no tar archive', new Blob(['no archive at all'.repeat(100)])],
  ['this is no tar archive', new Blob([])],
  ['it is no image', tar({ 'hello.txt': 'hello' })],
  ['index.json is not JSON', tar({ 'index.json': '{' })],
  ['names no image', tar({ 'index.json': '{}' })],
  [`lacks the blob ${sha256('layer')}`, layout(image(), 'v1', sha256('layer'))],
  ['ends in the middle of a file', layout().slice(0, 700)],
  ['is not JSON', INDEX('no manifest')],
  ['manifest', INDEX('{"schemaVersion":2}')],
])('an archive is refused because %s, and nothing is kept', async (message, archive) => {
  const registry = await Registry.open();
  await expect(registry.import(archive)).rejects.toThrow(message);
  expect(registry.records('tag/')).toEqual([]);
  expect(registry.records('manifest/')).toEqual([]);
  expect(registry.records('link/')).toEqual([]);
});

test('blobs that were pushed before a manifest was refused are taken back', async () => {
  const broken = image();
  // The registry looks into the document, the archive's reader only at what it needs.
  const manifest = new TextEncoder().encode(
    new TextDecoder().decode(broken.manifest).replace('"schemaVersion":2', '"schemaVersion":3'),
  );
  const archive = layout({ ...broken, manifest, digest: sha256(manifest) });
  const registry = await Registry.open();
  await expect(registry.import(archive, { repository: 'app' })).rejects.toThrow('Nothing of the archive was kept');
  expect(registry.records('link/')).toEqual([]);
});
