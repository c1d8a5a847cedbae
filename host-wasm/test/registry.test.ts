/** The registry as a package: what its users rely on. */
import 'fake-indexeddb/auto';
import { expect, test } from 'vitest';
import { IndexedDbStorage, MemoryStorage, Registry } from '../js/index.js';
import { image, push, sha256 } from './images.js';

const OPEN = { method: 'POST', target: '/v2/app/blobs/uploads/' };

async function session(registry: Registry): Promise<string> {
  return (await registry.send(OPEN)).header('Location')!;
}

test('an image is pushed and pulled', async () => {
  const registry = await Registry.open();
  expect((await push(registry, 'app', 'v1')).status).toBe(201);
  const pulled = await registry.send({ method: 'GET', target: '/v2/app/manifests/v1' });
  expect(pulled.status).toBe(200);
  expect(sha256(await pulled.bytes())).toBe(image().digest);
  expect(pulled.header('docker-content-digest')).toBe(image().digest);
  const range = { method: 'GET', target: `/v2/app/blobs/${sha256('layer')}`, headers: { Range: 'bytes=1-2' } };
  const part = await registry.send(range);
  expect([part.status, await part.text()]).toEqual([206, 'ay']);
});

test('what is pushed is there after a reload', async () => {
  const before = await Registry.open({ storage: new IndexedDbStorage('reload') });
  await push(before, 'app', 'v1');
  const url = await session(before);
  await before.send({ method: 'PATCH', target: url }, 'half');
  before.close();
  const after = await Registry.open({ storage: new IndexedDbStorage('reload') });
  expect((await after.send({ method: 'GET', target: '/v2/app/manifests/v1' })).status).toBe(200);
  expect(await (await after.send({ method: 'GET', target: `/v2/app/blobs/${sha256('layer')}` })).text()).toBe('layer');
  expect((await after.send({ method: 'GET', target: url })).header('Range')).toBe('0-3');
  await after.reset();
  expect([after.records().length, after.objects().length]).toEqual([0, 0]);
});

test('large bodies stream in and out in pieces', async () => {
  const registry = await Registry.open({ storage: new IndexedDbStorage('large') });
  const piece = new Uint8Array(300_000).map((_, i) => i);
  const pieces = 20;
  let sent = 0;
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => (sent++ < pieces ? controller.enqueue(piece) : controller.close()),
  });
  const whole = new Uint8Array(piece.length * pieces);
  for (let i = 0; i < pieces; i++) whole.set(piece, i * piece.length);
  const digest = sha256(whole);
  const target = `/v2/app/blobs/uploads/?digest=${digest}`;
  expect((await registry.send({ method: 'POST', target }, body)).status).toBe(201);
  const got = await registry.send({ method: 'GET', target: `/v2/app/blobs/${digest}` });
  expect(sha256(await got.bytes())).toBe(digest);
});

test('a chunk that is cut off keeps what came', async () => {
  const registry = await Registry.open();
  const url = await session(registry);
  const cut = await registry.send({ method: 'PATCH', target: url, cutAfter: 3, chunked: true }, 'hello');
  expect(cut.status).toBe(400);
  expect((await registry.send({ method: 'GET', target: url })).header('Range')).toBe('0-2');
});

test('a call is stepped effect by effect', async () => {
  const registry = await Registry.open();
  const digest = sha256('hello');
  const call = registry.begin({ method: 'POST', target: `/v2/app/blobs/uploads/?digest=${digest}` }, 'hello');
  const names: string[] = [];
  for (; !call.ended; await call.step()) names.push(call.standing);
  expect(names).toEqual(['Receive', 'Get', 'Assemble', 'Commit', 'Erase']);
  expect(call.response().status).toBe(201);
  expect(call.performed[3]).toMatchObject({ effect: { effect: 'Commit', durable: true }, outcome: 'Done' });
});

test('of two chunks for one place one meets a conflict', async () => {
  const registry = await Registry.open();
  const url = await session(registry);
  const calls = ['one', 'two'].map((body) => registry.begin({ method: 'PATCH', target: url }, body));
  for (const call of calls) while (call.standing !== 'Commit') await call.step();
  for (const call of calls) await call.run(true);
  expect(calls[1]!.performed.some(({ outcome }) => outcome === 'Conflict')).toBe(true);
  expect(calls.map((call) => call.response().status)).toEqual([202, 416]);
});

test('a crash leaves bytes that a sweep finds', async () => {
  let now = 1_000_000_000_000;
  const registry = await Registry.open({ now: () => now });
  const call = registry.begin({ method: 'POST', target: `/v2/app/blobs/uploads/?digest=${sha256('x')}` }, 'x');
  await call.step();
  call.crash();
  expect(call.standing).toBe('Over');
  expect(registry.objects().length).toBe(1);
  now += 30 * 24 * 3600_000;
  const report = await registry.sweep();
  expect([report.strays_removed, registry.objects().length]).toEqual([1, 0]);
});

test('a fault is a 500, and a full storage a 507 that keeps nothing', async () => {
  const registry = await Registry.open({ storage: new MemoryStorage(4) });
  const target = `/v2/app/blobs/uploads/?digest=${sha256('hello')}`;
  const full = await registry.send({ method: 'POST', target }, 'hello');
  expect([full.status, registry.objects().length, registry.records().length]).toEqual([507, 0, 0]);
  const call = registry.begin({ method: 'GET', target: '/v2/app/tags/list' });
  await call.fault();
  await call.run();
  expect(call.response().status).toBe(500);
});

test('a body above the limit is refused and not kept', async () => {
  const registry = await Registry.open({ blobLimit: 4, manifestLimit: 10 });
  const target = `/v2/app/blobs/uploads/?digest=${sha256('hello')}`;
  expect((await registry.send({ method: 'POST', target, chunked: true }, 'hello')).status).toBe(413);
  expect(registry.objects()).toEqual([]);
  const put = { method: 'PUT', target: '/v2/app/manifests/v1', headers: { 'Content-Type': image().mediaType } };
  expect((await registry.send(put, image().manifest)).status).toBe(413);
});

test('a planted bug does what it says', async () => {
  const registry = await Registry.open({ bug: 'tags-backwards' });
  for (const tag of ['a', 'b']) await push(registry, 'app', tag);
  expect(await (await registry.send({ method: 'GET', target: '/v2/app/tags/list' })).json()).toEqual({
    name: 'app',
    tags: ['b', 'a'],
  });
  await expect(Registry.open({ bug: 'none of these' })).rejects.toThrow();
  expect((await Registry.bugs()).length).toBeGreaterThan(5);
});

test('a manifest is answered in under 100 µs', async () => {
  const registry = await Registry.open();
  await push(registry, 'app', 'v1');
  const get = { method: 'GET', target: '/v2/app/manifests/v1', headers: { Accept: image().mediaType } };
  for (let i = 0; i < 2000; i++) await registry.send(get);
  const rounds = 5000;
  const began = performance.now();
  for (let i = 0; i < rounds; i++) await registry.send(get);
  const each = ((performance.now() - began) * 1000) / rounds;
  console.log(`a manifest GET takes ${each.toFixed(1)} µs`);
  expect(each).toBeLessThan(100);
});
