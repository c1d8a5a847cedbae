/** Mirrors: one registry in front of another, or of a function that answers as `fetch` does. */
import { expect, test } from 'vitest';
import { MemoryStorage, Registry } from '../js/index.js';
import type { Call, MirrorOptions, RegistryResponse, UpstreamFetch } from '../js/index.js';
import { image, push, sha256 } from './images.js';

/** Too large to lie among the records: such blobs are sent on while they come. */
const LARGE = 'x'.repeat(100_000);

const get = (target: string, headers: Record<string, string> = {}) => ({ method: 'GET', target, headers });
const MANIFEST = get('/v2/hub/app/manifests/v1');
const cached = (response: RegistryResponse) => [response.status, response.header('X-Cache')];

/** An upstream with an image and a large blob, a mirror in front of it, and what the upstream was asked. */
async function mirrored(options: Partial<MirrorOptions> = {}) {
  const upstream = await Registry.open();
  await push(upstream, 'app', 'v1');
  await upstream.send({ method: 'POST', target: `/v2/app/blobs/uploads/?digest=${sha256(LARGE)}` }, LARGE);
  const clock = { now: 1_000_000_000_000 };
  const state = { upstream, clock, asked: [] as string[], answer: undefined as UpstreamFetch | undefined };
  const ask: UpstreamFetch = async (target, init) => {
    state.asked.push(`${init.method} ${target}`);
    if (state.answer) return state.answer(target, init);
    const response = await upstream.send({ ...init, target });
    return new Response(init.method === 'HEAD' ? null : response.stream(), response);
  };
  const mirror = await Registry.open({
    mirrors: [{ prefix: 'hub/', upstream: ask, ...options }],
    now: () => clock.now,
  });
  return { ...state, state, mirror };
}

test('what is not here is fetched once, and answered from here from then on', async () => {
  const { mirror, asked } = await mirrored();
  const miss = await mirror.send(MANIFEST);
  expect(cached(miss)).toEqual([200, 'MISS']);
  expect(sha256(await miss.bytes())).toBe(image().digest);
  const layer = get(`/v2/hub/app/blobs/${sha256('layer')}`);
  expect(await (await mirror.send(layer)).text()).toBe('layer');
  expect(asked).toEqual(['GET /v2/app/manifests/v1', `GET /v2/app/blobs/${sha256('layer')}`]);
  expect(cached(await mirror.send(MANIFEST))).toEqual([200, 'HIT']);
  expect(await (await mirror.send(layer)).text()).toBe('layer');
  expect(asked.length).toBe(2);
});

test('another registry is an upstream as it is', async () => {
  const upstream = await Registry.open();
  await push(upstream, 'library/app', 'v1');
  const mirror = await Registry.open({ mirrors: [{ prefix: 'hub/', upstream, official: 'library/' }] });
  expect(cached(await mirror.send(MANIFEST))).toEqual([200, 'MISS']);
  const layer = await mirror.send(get(`/v2/hub/app/blobs/${sha256('layer')}`));
  expect([layer.status, await layer.text()]).toEqual([200, 'layer']);
  expect((await mirror.send(get('/v2/hub/none/manifests/v1'))).status).toBe(404);
  expect((await mirror.send(get('/v2/app/manifests/v1'))).status).toBe(404);
  expect((await mirror.send({ method: 'POST', target: '/v2/hub/app/blobs/uploads/' })).status).toBe(405);
  expect((await push(mirror, 'own', 'v1')).status).toBe(201);
});

test('a tag that is not fresh any more is asked for by HEAD, and moves with the upstream', async () => {
  const { mirror, upstream, clock, asked } = await mirrored({ freshMs: 1000 });
  await mirror.send(MANIFEST);
  clock.now += 1000;
  expect(cached(await mirror.send(MANIFEST))).toEqual([200, 'HIT']);
  expect(asked.at(-1)).toBe('HEAD /v2/app/manifests/v1');
  await push(upstream, 'app', 'v1', image('arm64', 'moved'));
  clock.now += 1000;
  const moved = await mirror.send(MANIFEST);
  expect(cached(moved)).toEqual([200, 'MISS']);
  expect(moved.header('Docker-Content-Digest')).toBe(image('arm64', 'moved').digest);
});

test('for ever fresh is never asked again', async () => {
  const { mirror, clock, asked } = await mirrored({ freshMs: Infinity });
  await mirror.send(MANIFEST);
  clock.now += 365 * 24 * 3600_000;
  expect(cached(await mirror.send(MANIFEST))).toEqual([200, 'HIT']);
  expect(asked.length).toBe(1);
});

test.each([
  ['cannot be reached', 502, () => Promise.reject(new TypeError('no route'))],
  ['fails', 502, async () => new Response(null, { status: 503 })],
  ['wants a login', 404, async () => new Response(null, { status: 401 })],
  ['was asked too often', 429, async () => new Response(null, { status: 429, headers: { 'Retry-After': '60' } })],
] as [string, number, UpstreamFetch][])('an upstream that %s leaves stale what is here', async (_, refusal, answer) => {
  const { mirror, state, clock } = await mirrored({ freshMs: 0 });
  await mirror.send(MANIFEST);
  state.answer = answer;
  clock.now += 3600_000 - 1;
  expect(cached(await mirror.send(MANIFEST))).toEqual([200, 'STALE']);
  const unseen = await mirror.send(get('/v2/hub/app/manifests/v2'));
  expect(cached(unseen)).toEqual([refusal, undefined]);
});

test('an upstream that was asked too often is left alone for as long as it says', async () => {
  const { mirror, state, clock, asked } = await mirrored();
  state.answer = async () => new Response(null, { status: 429, headers: { 'Retry-After': '60' } });
  for (let i = 0; i < 3; i++) {
    const refused = await mirror.send(MANIFEST);
    expect([refused.status, refused.header('Retry-After')]).toEqual([429, '60']);
  }
  expect(asked.length).toBe(1);
  state.answer = undefined;
  clock.now += 60_000;
  expect(cached(await mirror.send(MANIFEST))).toEqual([200, 'MISS']);
});

test('bytes that are not those of the digest are neither kept nor sent to their end', async () => {
  const { mirror, state } = await mirrored();
  const wrong = LARGE.replace(/x$/, 'y');
  state.answer = async () => new Response(wrong);
  const blob = get(`/v2/hub/app/blobs/${sha256(LARGE)}`);
  const small = await mirror.send(get(`/v2/hub/app/blobs/${sha256('layer')}`));
  expect(small.status).toBe(502);
  state.answer = async () => new Response(wrong, { headers: { 'Content-Length': String(wrong.length) } });
  const response = await mirror.send(blob);
  expect(response.status).toBe(200);
  let got = 0;
  const reading = (async () => {
    for await (const piece of response.stream()) got += piece.length;
  })();
  await expect(reading).rejects.toThrow();
  expect(got).toBeLessThan(wrong.length);
  await mirror.idle();
  expect([mirror.records('blob/'), mirror.objects()]).toEqual([[], []]);
  expect((await mirror.send(MANIFEST)).status).toBe(502);
  expect(mirror.records('tag/')).toEqual([]);
});

test('a blob is sent on while it comes, to all who want it, and the upstream sends it once', async () => {
  const { mirror, state, asked } = await mirrored();
  const bytes = new TextEncoder().encode(LARGE);
  let go = () => {};
  const rest = new Promise<void>((resolve) => (go = resolve));
  state.answer = async () => {
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(bytes.subarray(0, 60_000));
        await rest;
        controller.enqueue(bytes.subarray(60_000));
        controller.close();
      },
    });
    return new Response(body, { headers: { 'Content-Length': String(bytes.length) } });
  };
  const blob = get(`/v2/hub/app/blobs/${sha256(LARGE)}`);
  const responses = await Promise.all([mirror.send(blob), mirror.send(blob)]);
  const readers = responses.map((response) => response.stream().getReader());
  for (const reader of readers) expect((await reader.read()).value!.length).toBe(59_999);
  // Whoever leaves does not end the fetch.
  await readers[0]!.cancel();
  go();
  let count = 59_999;
  for (let read = await readers[1]!.read(); !read.done; read = await readers[1]!.read()) count += read.value.length;
  expect(count).toBe(LARGE.length);
  await mirror.idle();
  expect(asked.length).toBe(1);
  expect(await (await mirror.send(blob)).text()).toBe(LARGE);
  expect(asked.length).toBe(1);
});

test('a fetch whose connection breaks goes on where it was', async () => {
  const { mirror, state, asked } = await mirrored();
  const bytes = new TextEncoder().encode(LARGE);
  const ranges: (string | undefined)[] = [];
  state.answer = async (_, { headers }) => {
    ranges.push(headers['Range']);
    const from = Number(/\d+/.exec(headers['Range'] ?? '0')![0]);
    const until = Math.min(from + 40_000, bytes.length);
    let sent = false;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (!sent) controller.enqueue(bytes.subarray(from, until));
        else if (until < bytes.length) controller.error(new Error('the connection broke'));
        else controller.close();
        sent = true;
      },
    });
    const told = { 'Content-Range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` };
    const length = { 'Content-Length': String(bytes.length - from) };
    return new Response(body, { status: from > 0 ? 206 : 200, headers: { ...length, ...(from > 0 && told) } });
  };
  const response = await mirror.send(get(`/v2/hub/app/blobs/${sha256(LARGE)}`));
  expect(sha256(await response.bytes())).toBe(sha256(LARGE));
  await mirror.idle();
  expect(ranges).toEqual([undefined, 'bytes=40000-', 'bytes=80000-']);
  expect([asked.length, mirror.objects().map(({ size }) => size)]).toEqual([3, [LARGE.length]]);
});

test('one range of a blob that is not here is asked of the upstream alone', async () => {
  const { mirror, asked } = await mirrored();
  const blob = `/v2/hub/app/blobs/${sha256(LARGE)}`;
  const part = await mirror.send(get(blob, { Range: 'bytes=10-19' }));
  expect([part.status, await part.text()]).toEqual([206, 'x'.repeat(10)]);
  await mirror.idle();
  expect(asked.length).toBe(2);
  expect(await (await mirror.send(get(blob))).text()).toBe(LARGE);
  expect(asked.length).toBe(2);
});

test('a storage that is full passes on what it cannot keep', async () => {
  const { upstream } = await mirrored();
  const mirror = await Registry.open({
    mirrors: [{ prefix: 'hub/', upstream }],
    storage: new MemoryStorage(10),
  });
  const response = await mirror.send(get(`/v2/hub/app/blobs/${sha256(LARGE)}`));
  expect([response.status, await response.text()]).toEqual([200, LARGE]);
  await expect(response.text()).rejects.toThrow();
  expect(mirror.objects()).toEqual([]);
});

test('the fetch of a blob is a call that can be stepped for itself', async () => {
  const { mirror } = await mirrored();
  const call = mirror.begin(get(`/v2/hub/app/blobs/${sha256(LARGE)}`));
  let began = (_: Call) => {};
  const fetching = new Promise<Call>((resolve) => (began = resolve));
  call.onFetch = (fetch) => began(fetch);
  while (call.standing !== 'Follow') await call.step();
  const following = call.step();
  const fetch = await fetching;
  const names: string[] = [];
  for (; !fetch.ended; await fetch.step()) names.push(fetch.standing);
  expect(names).toEqual(['Get', 'Fetch', 'Get', 'Commit']);
  await following;
  await call.run(true);
  expect(await call.response().text()).toBe(LARGE);
  expect(fetch.performed[1]).toMatchObject({
    effect: { source: { upstream: 'upstream', repository: 'app', digest: sha256(LARGE) } },
    outcome: { end: 'whole', digest: sha256(LARGE) },
  });
});

test('who waits for a fetch that crashes is told, and the next one begins anew', async () => {
  const { mirror } = await mirrored();
  const blob = get(`/v2/hub/app/blobs/${sha256('layer')}`);
  const call = mirror.begin(blob);
  call.onFetch = (fetch) => fetch.crash();
  await call.run();
  expect(call.response().status).toBe(500);
  expect(await (await mirror.send(blob)).text()).toBe('layer');
});

test('what an upstream lists as referrers on several pages is listed here', async () => {
  const { mirror, state } = await mirrored();
  const digests = ['one', 'two'].map(sha256);
  const page = (digest: string) => {
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    return JSON.stringify({ schemaVersion: 2, manifests: [{ mediaType, digest, size: 3 }] });
  };
  const target = `/v2/app/referrers/${image().digest}`;
  state.answer = async (asked) =>
    asked === target
      ? new Response(page(digests[0]!), {
          headers: { Link: `<https://registry.example.com${target}?last=1>; rel="next"` },
        })
      : new Response(page(digests[1]!));
  const listed = await mirror.send(get(`/v2/hub/app/referrers/${image().digest}`));
  const { manifests } = (await listed.json()) as { manifests: { digest: string }[] };
  expect(manifests.map(({ digest }) => digest)).toEqual(digests.toSorted());
  expect(state.asked.at(-1)).toBe(`GET ${target}?last=1`);
});

test('registries that mirror each other notice it', async () => {
  const other: { mirror?: Registry } = {};
  const one = await Registry.open({
    mirrors: [{ upstream: { send: (request) => other.mirror!.send(request) } }],
  });
  other.mirror = await Registry.open({ mirrors: [{ upstream: one }] });
  expect((await one.send(get('/v2/app/manifests/v1'))).status).toBe(404);
});

test('a mirror that has more than it may loses what was not pulled for longest', async () => {
  const { mirror, upstream, clock, asked } = await mirrored({ max: 250_000 });
  const layers = ['a', 'b', 'c'].map((letter) => LARGE.replaceAll('x', letter));
  const blobs = layers.map((layer) => get(`/v2/hub/app/blobs/${sha256(layer)}`));
  for (const layer of layers)
    await upstream.send({ method: 'POST', target: `/v2/app/blobs/uploads/?digest=${sha256(layer)}` }, layer);
  const pulled = async (number: number) => {
    const response = await mirror.send(blobs[number]!);
    expect(await response.text()).toBe(layers[number]);
    await mirror.idle();
    return response.header('X-Cache');
  };
  for (const number of [0, 1]) expect(await pulled(number)).toBe('MISS');
  expect(await mirror.evict()).toEqual({ blobs: 0, bytes: 0 });
  clock.now += 2 * 3600_000;
  expect(await pulled(0)).toBe('HIT');
  clock.now += 2 * 3600_000;
  expect(await pulled(2)).toBe('MISS');
  expect(await mirror.evict()).toEqual({ blobs: 1, bytes: LARGE.length });
  expect(mirror.objects().length).toBe(2);
  asked.length = 0;
  expect([await pulled(0), await pulled(2), await pulled(1)]).toEqual(['HIT', 'HIT', 'MISS']);
  expect(asked).toEqual([`GET /v2/app/blobs/${sha256(layers[1]!)}`]);
  // Without a bound nothing goes.
  const boundless = await mirrored();
  await boundless.mirror.send(MANIFEST);
  expect(await boundless.mirror.evict()).toEqual({ blobs: 0, bytes: 0 });
});

test('an eviction says that the storage fails', async () => {
  const { mirror } = await mirrored({ max: 1 });
  await (await mirror.send(get(`/v2/hub/app/blobs/${sha256(LARGE)}`))).bytes();
  await mirror.idle();
  mirror.inside.storage.commit = () => Promise.reject(new Error('the disk is gone'));
  await expect(mirror.evict()).rejects.toThrow('the disk is gone');
});

test('the upstream says who may see what it has', async () => {
  const upstream = await Registry.open();
  await push(upstream, 'app', 'v1');
  const asked: (string | undefined)[] = [];
  const ask: UpstreamFetch = async (target, { method, headers }) => {
    asked.push(headers['Authorization']);
    if (headers['Authorization'] === 'Basic busy') {
      return new Response(null, { status: 429, headers: { 'Retry-After': '60' } });
    }
    if (headers['Authorization'] !== 'Basic right') return new Response(null, { status: 401 });
    const response = await upstream.send({ method, target, headers });
    return new Response(method === 'HEAD' ? null : response.stream(), response);
  };
  const mirror = await Registry.open({ mirrors: [{ prefix: 'hub/', upstream: ask, verify: 'caller' }] });
  const layer = get(`/v2/hub/app/blobs/${sha256('layer')}`);
  const as = (login: string | undefined, wanted = MANIFEST) =>
    mirror.send({ ...wanted, headers: { ...(login && { Authorization: login }) } });
  for (const wanted of [MANIFEST, layer]) {
    const unknown = await as('Basic wrong', wanted);
    expect(cached(await as('Basic right', wanted))).toEqual([200, 'MISS']);
    expect(cached(await as('Basic right', wanted))).toEqual([200, 'HIT']);
    // What is here is answered as what is not.
    const refused = await as('Basic wrong', wanted);
    expect([unknown.status, refused.status]).toEqual([404, 404]);
    expect(await refused.text()).toBe(await unknown.text());
    const nobody = await as(undefined, wanted);
    expect([nobody.status, nobody.header('WWW-Authenticate')?.split(' ')[0]]).toEqual([401, 'Basic']);
  }
  // One caller that asks too often does not keep others from what they may see.
  expect((await as('Basic busy')).status).toBe(429);
  asked.length = 0;
  expect((await as('Basic busy')).status).toBe(429);
  expect((await as('Basic right')).status).toBe(200);
  expect(asked).toEqual(['Basic right']);
});

test('no upstream sees the login of a caller that it is not asked to judge', async () => {
  const { mirror, state } = await mirrored();
  const seen: string[] = [];
  state.answer = async (_, { headers }) => {
    seen.push(...Object.keys(headers));
    return new Response(null, { status: 404 });
  };
  await mirror.send({ ...MANIFEST, headers: { Authorization: 'Basic secret' } });
  await mirror.send(get(`/v2/hub/app/blobs/${sha256(LARGE)}`, { Authorization: 'Basic secret' }));
  expect([...new Set(seen)].toSorted()).toEqual(['Accept', 'Via']);
});

test('a login of a caller is not shown with the effects', async () => {
  const upstream = await Registry.open();
  await push(upstream, 'app', 'v1');
  const mirror = await Registry.open({ mirrors: [{ prefix: 'hub/', upstream, verify: 'caller' }] });
  const call = mirror.begin({ ...MANIFEST, headers: { Authorization: 'Basic secret' } });
  await call.run(true);
  expect(call.response().status).toBe(200);
  expect(JSON.stringify(call.performed)).toContain('"Inquire"');
  expect(JSON.stringify(call.performed)).not.toContain('secret');
});

test('images of an index that are for other platforms are not fetched', async () => {
  const upstream = await Registry.open();
  const images = ['amd64', 'arm64'].map((architecture) => ({ architecture, image: image(architecture, architecture) }));
  for (const { image } of images) await push(upstream, 'app', image.digest, image);
  const mediaType = 'application/vnd.oci.image.index.v1+json';
  const manifests = images.map(({ architecture, image: { mediaType, manifest, digest } }) => {
    return { mediaType, digest, size: manifest.length, platform: { os: 'linux', architecture } };
  });
  const body = JSON.stringify({ schemaVersion: 2, mediaType, manifests });
  const put = { method: 'PUT', target: '/v2/app/manifests/v1', headers: { 'Content-Type': mediaType } };
  expect((await upstream.send(put, body)).status).toBe(201);
  const mirror = await Registry.open({ mirrors: [{ prefix: 'hub/', upstream, platforms: ['linux/arm64'] }] });
  const index = await mirror.send({ ...MANIFEST, headers: { Accept: mediaType } });
  expect(await index.text()).toBe(body);
  const statuses = images.map(async ({ image }) => {
    return (await mirror.send(get(`/v2/hub/app/manifests/${image.digest}`))).status;
  });
  expect(await Promise.all(statuses)).toEqual([404, 200]);
  await expect(Registry.open({ mirrors: [{ upstream, platforms: ['arm 64'] }] })).rejects.toThrow();
});

test('a mirror that is offline is an ordinary part of the registry', async () => {
  const { mirror, asked } = await mirrored({ offline: true });
  expect((await mirror.send(MANIFEST)).status).toBe(404);
  expect((await push(mirror, 'hub/app', 'v1')).status).toBe(201);
  expect(cached(await mirror.send(MANIFEST))).toEqual([200, undefined]);
  expect(asked).toEqual([]);
});

/** Without the upstream, what was private would be open. */
test('a mirror is not both offline and for its upstream to say who may see it', async () => {
  const upstream: UpstreamFetch = async () => new Response();
  const mirrors: MirrorOptions[] = [{ prefix: 'hub/', upstream, offline: true, verify: 'caller' }];
  await expect(Registry.open({ mirrors })).rejects.toThrow('take `verify` away');
});
