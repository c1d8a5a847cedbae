/** Images in and out. */
import { expect, test } from 'vitest';
import { Registry, importArchive } from '../js/index.js';
import type { Send } from '../js/index.js';
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
  const registry = await Registry.open();
  await expect(registry.import(layout(refused()), { repository: 'app' })).rejects.toThrow(
    'Nothing of the archive was kept',
  );
  expect(registry.records('link/')).toEqual([]);
});

/** A layout of these images, tagged v1, v2 and so on. */
function layoutOf(...images: Pick<ReturnType<typeof image>, 'manifest' | 'mediaType' | 'digest' | 'blobs'>[]): Blob {
  const manifests = images.map(({ mediaType, digest, manifest }, i) => ({
    mediaType,
    digest,
    size: manifest.length,
    annotations: { 'org.opencontainers.image.ref.name': `v${i + 1}` },
  }));
  const blobs = images.flatMap(({ manifest, blobs }) => [manifest, ...blobs]);
  return tar({
    'index.json': JSON.stringify({ schemaVersion: 2, manifests }),
    ...Object.fromEntries(blobs.map((bytes) => [`blobs/${sha256(bytes).replace(':', '/')}`, bytes])),
  });
}

/** An image whose manifest the registry refuses: it looks into the document, the archive's reader only at what it needs. */
function refused() {
  const whole = image('arm64', 'refused');
  const text = new TextDecoder().decode(whole.manifest).replace('"schemaVersion":2', '"schemaVersion":3');
  return { ...whole, manifest: new TextEncoder().encode(text), digest: sha256(text) };
}

/** The manifests that were pushed: not those that the registry made itself. */
const manifests = (registry: Registry) =>
  registry.records('manifest/').flatMap(([key, value]) => {
    const { maintained } = JSON.parse(new TextDecoder().decode(value)) as { maintained?: boolean };
    return maintained ? [] : [key];
  });

const tagged = async (registry: Registry, tag: string) =>
  (await registry.send({ method: 'HEAD', target: `/v2/app/manifests/${tag}` })).header('Docker-Content-Digest');

test('an archive that is refused leaves the tags that were there as they were', async () => {
  const registry = await Registry.open();
  await push(registry, 'app', 'v1', image('amd64', 'old'));
  const before = registry.records('tag/').map(([key]) => key);
  await expect(registry.import(layoutOf(image('amd64', 'new'), refused()), { repository: 'app' })).rejects.toThrow(
    'Nothing of the archive was kept',
  );
  expect(await tagged(registry, 'v1')).toBe(image('amd64', 'old').digest);
  expect(registry.records('tag/').map(([key]) => key)).toEqual(before);
  expect(manifests(registry)).toEqual([`manifest/app@${image('amd64', 'old').digest}`]);
});

test('tags that were moved before another failed are moved back', async () => {
  const registry = await Registry.open();
  await push(registry, 'app', 'v1', image('amd64', 'old'));
  /** Moves the tag v2, and tells that it failed. */
  const send: Send = async (request) => {
    const response = await registry.send(request);
    const moved = request.method === 'PUT' && request.target.endsWith('/manifests/v2');
    return moved ? registry.send({ method: 'GET', target: '/v2/none/manifests/none' }) : response;
  };
  const archive = layoutOf(image('amd64', 'new'), image('arm64', 'new'));
  await expect(importArchive(send, archive, { repository: 'app' })).rejects.toThrow('Nothing of the archive was kept');
  expect(await tagged(registry, 'v1')).toBe(image('amd64', 'old').digest);
  expect(await tagged(registry, 'v2')).toBeUndefined();
  expect(manifests(registry)).toEqual([`manifest/app@${image('amd64', 'old').digest}`]);
});

test('what cannot be taken back is named, and nothing else', async () => {
  const registry = await Registry.open({ allowDelete: false });
  const [whole, broken] = [image('amd64', 'new'), refused()];
  const importing = registry.import(layoutOf(whole, broken), { repository: 'app' });
  const error = await importing.then(
    () => '',
    (error: unknown) => String(error),
  );
  const left = [...broken.blobs.toReversed().map(sha256), whole.digest, ...whole.blobs.toReversed().map(sha256)];
  expect(error.split('taken back: ')[1]?.match(/sha256:[0-9a-f]{64}/g)).toEqual(left);
});
