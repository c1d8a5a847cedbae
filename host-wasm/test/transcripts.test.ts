/** The golden transcripts of `tests/transcripts/`, told by this host: the same effects, outcomes and answers. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { Registry } from '../js/index.js';
import type { UpstreamFetch } from '../js/index.js';
import { sha256 } from './images.js';
import { Scribe } from './scribe.js';
import type { Told } from './scribe.js';

const OCI = 'application/vnd.oci.image';
const UPLOADS = '/v2/app/blobs/uploads/';

interface Image {
  mediaType: string;
  text: string;
  digest: string;
  blobs: string[];
}

/** The image of `Manifest::image`, byte for byte. */
function image(architecture: string, layer: string): Image {
  const config = JSON.stringify({ architecture, os: 'linux', rootfs: { diff_ids: [sha256(layer)], type: 'layers' } });
  const describe = (mediaType: string, blob: string) => ({ digest: sha256(blob), mediaType, size: blob.length });
  const mediaType = `${OCI}.manifest.v1+json`;
  const text = JSON.stringify({
    config: describe(`${OCI}.config.v1+json`, config),
    layers: [describe(`${OCI}.layer.v1.tar+gzip`, layer)],
    mediaType,
    schemaVersion: 2,
  });
  return { mediaType, text, digest: sha256(text), blobs: [config, layer] };
}

/** The index of `Manifest::index`, byte for byte. */
function index(child: Image): Image {
  const mediaType = `${OCI}.index.v1+json`;
  const manifests = [{ digest: child.digest, mediaType: child.mediaType, size: child.text.length }];
  const text = JSON.stringify({ manifests, mediaType, schemaVersion: 2 });
  return { mediaType, text, digest: sha256(text), blobs: [] };
}

const post = (body: string, repository = 'app'): Told => ({
  method: 'POST',
  target: `/v2/${repository}/blobs/uploads/?digest=${sha256(body)}`,
  body,
});
const put = (pushed: Image, reference: string, repository = 'app'): Told => ({
  method: 'PUT',
  target: `/v2/${repository}/manifests/${reference}`,
  headers: [['Content-Type', pushed.mediaType]],
  body: pushed.text,
});
const get = (target: string, ...headers: [string, string][]): Told => ({ method: 'GET', target, headers });
const patch = (target: string, body: string, ...headers: [string, string][]): Told => ({
  method: 'PATCH',
  target,
  headers,
  body,
});

async function pushed(scribe: Scribe, one: Image, reference: string, repository = 'app'): Promise<void> {
  for (const blob of one.blobs) await scribe.quietly(post(blob, repository));
  await scribe.quietly(put(one, reference, repository));
}

/** What garbage collection asks for where users sign in, and not here: the registry of a tab is one person's. */
const OF_USERS = /^ +Scan (signin|token)\/…\n +→ \[\]\n/gm;

async function ends(scribe: Scribe, name: string): Promise<void> {
  const golden = await readFile(new URL(`../../tests/transcripts/${name}.txt`, import.meta.url), 'utf8');
  expect(scribe.text()).toBe(golden.replace(OF_USERS, ''));
}

test('push of an image', async () => {
  const scribe = await Scribe.begin('A client pushes an image: blob by blob, then the manifest that names them.');
  const one = image('amd64', 'layer');
  await scribe.call(post(one.blobs[0]!), 'The configuration.');
  await scribe.call(post(one.blobs[1]!), 'The layer: the repository exists by now.');
  await scribe.call(put(one, 'v1'), 'One commit makes the manifest, its tag and its maintained list visible.');
  await ends(scribe, 'push-image');
});

test('push of a blob in chunks', async () => {
  const scribe = await Scribe.begin('A client opens a session, sends two chunks, and ends it with the digest.');
  await scribe.call(
    { method: 'POST', target: UPLOADS },
    'Nothing has been sent yet: the session may be lost in a crash.',
  );
  const session = scribe.session();
  await scribe.call(
    patch(session, 'hello', ['Content-Range', '0-4']),
    "Each chunk is an object of its own, a small one a record. One durable commit makes it the session's.",
  );
  await scribe.call(patch(session, ' world', ['Content-Range', '5-10']));
  await scribe.call(
    patch(session, ' world', ['Content-Range', '5-10']),
    'The same again: refused before a byte is read.',
  );
  await scribe.call(get(session), 'The status tells where to go on.');
  await scribe.call(
    { method: 'PUT', target: `${session}?digest=${sha256('hello world')}` },
    'One commit makes the chunks of the session the blob.',
  );
  await ends(scribe, 'push-chunks');
});

test('a chunk that is cut off', async () => {
  const scribe = await Scribe.begin('The connection breaks in the middle of a chunk: what came is kept.');
  await scribe.quietly({ method: 'POST', target: UPLOADS });
  const session = scribe.session();
  await scribe.call({ ...patch(session, 'hello'), chunked: true, cutAfter: 3 });
  await scribe.call(get(session));
  await ends(scribe, 'push-cut');
});

test('a chunk that loses a race', async () => {
  const scribe = await Scribe.begin(
    'Two chunks are sent for one place. The one that commits second has changed nothing.',
  );
  await scribe.quietly({ method: 'POST', target: UPLOADS });
  const session = scribe.session();
  await scribe.call(patch(session, 'loser'), '', async (standing) => {
    if (standing !== 'Commit' || (await scribe.registry.send(get(session))).header('Range') !== '0-0') return undefined;
    await scribe.quietly(patch(session, 'winner'));
    return 'the other chunk is received and committed in between';
  });
  await ends(scribe, 'race-chunks');
});

test('a digest of another algorithm', async () => {
  const scribe = await Scribe.begin(
    'A session was hashed with SHA-256 while it came in, and is ended with a SHA-512 digest.',
  );
  await scribe.quietly({ method: 'POST', target: UPLOADS });
  const session = scribe.session();
  await scribe.quietly(patch(session, 'content'));
  const digest = `sha512:${createHash('sha512').update('content').digest('hex')}`;
  await scribe.call({ method: 'PUT', target: `${session}?digest=${digest}` }, 'The bytes are read once more.');
  await ends(scribe, 'push-late-sha512');
});

test('a wrong digest', async () => {
  const scribe = await Scribe.begin('A client says that its bytes are others than they are.');
  await scribe.quietly({ method: 'POST', target: UPLOADS });
  const session = scribe.session();
  await scribe.quietly(patch(session, 'content'));
  await scribe.call(
    { method: 'PUT', target: `${session}?digest=${sha256('something else')}` },
    'The session is over; its record goes before its bytes.',
  );
  await ends(scribe, 'push-wrong-digest');
});

test('mounts', async () => {
  const scribe = await Scribe.begin('A blob that another repository holds is linked. No byte moves.');
  await scribe.quietly(post('content', 'base'));
  await scribe.call({ method: 'POST', target: `${UPLOADS}?mount=${sha256('content')}&from=base` });
  await scribe.call(
    { method: 'POST', target: `${UPLOADS}?mount=${sha256('x')}&from=base` },
    'What cannot be mounted is an ordinary upload.',
  );
  await ends(scribe, 'mount');
});

test('pull of an image', async () => {
  const scribe = await Scribe.begin('A client pulls: the tag, then the blobs that the manifest names.');
  const one = image('amd64', 'layer');
  await pushed(scribe, one, 'v1');
  await scribe.call(get('/v2/app/manifests/v1'));
  const layer = `/v2/app/blobs/${sha256('layer')}`;
  await scribe.call(
    get(layer),
    'So small a blob is a record; the bytes of others the host streams, and the core sees none of them.',
  );
  await scribe.call(get(layer, ['Range', 'bytes=1-2']));
  await scribe.call(
    get('/v2/app/manifests/v1', ['If-None-Match', `"${one.digest}"`]),
    'The client asks whether the tag has moved.',
  );
  await ends(scribe, 'pull');
});

test('two platforms under one tag', async () => {
  const scribe = await Scribe.begin(
    'Two jobs push one platform each to a tag that is assembled: it becomes a list of both.',
  );
  const arm = image('arm64', 'arm');
  await pushed(scribe, image('amd64', 'amd'), 'v1', 'multi/app');
  for (const blob of arm.blobs) await scribe.quietly(post(blob, 'multi/app'));
  await scribe.call(
    put(arm, 'v1', 'multi/app'),
    'The list is part of the commit. The pusher is told of its own manifest.',
  );
  await scribe.call(get('/v2/multi/app/manifests/v1'));
  await scribe.call(
    get('/v2/multi/app/manifests/v1', ['Accept', `${OCI}.manifest.v1+json`]),
    'A client that accepts no list gets a plain image.',
  );
  await ends(scribe, 'assemble');
});

test('a push that meets another', async () => {
  const scribe = await Scribe.begin(
    'Two clients push to one tag. Who commits second finds a conflict and looks again: no update is lost.',
  );
  const [amd, arm] = [image('amd64', 'amd'), image('arm64', 'arm')];
  for (const one of [amd, arm]) await pushed(scribe, one, one.digest);
  let met = false;
  await scribe.call(put(amd, 'v1'), '', async (standing) => {
    if (standing !== 'Commit' || met) return undefined;
    met = true;
    await scribe.quietly(put(arm, 'v1'));
    return 'the other push runs from beginning to end in between';
  });
  await scribe.call(get('/v2/app/manifests/v1', ['Accept', `${OCI}.index.v1+json`]), 'The list has both.');
  await ends(scribe, 'race-tag');
});

test('a manifest without its blobs', async () => {
  const scribe = await Scribe.begin('A manifest is pushed before its blobs: refused, naming each that is missing.');
  await scribe.call(put(image('amd64', 'layer'), 'v1'));
  await ends(scribe, 'push-incomplete');
});

test('pulls through a mirror', async () => {
  const upstream = await Registry.open();
  const state = { down: false };
  const ask: UpstreamFetch = async (target, init) => {
    if (state.down) throw new Error('it is down');
    const response = await upstream.send({ ...init, target });
    return new Response(init.method === 'HEAD' ? null : response.stream(), response);
  };
  const there = async (one: Image) => {
    for (const blob of one.blobs) await upstream.send(post(blob));
    expect((await upstream.send(put(one, 'v1'))).status).toBe(201);
  };
  const scribe = await Scribe.begin('Names below `hub/` are those of an upstream: its images are fetched once.', {
    mirrors: [{ prefix: 'hub/', upstream: ask }],
    via: 'mirror',
  });
  const tagged = get('/v2/hub/app/manifests/v1');
  await there(image('amd64', 'layer'));
  await scribe.call(tagged, 'A miss: the manifest is fetched, and what it names is not yet.');
  const layer = get(`/v2/hub/app/blobs/${sha256('layer')}`);
  await scribe.call(layer, 'The fetch of a blob is a call of its own, which outlives whoever waits for it.');
  await scribe.call(layer, 'A hit asks for records alone.');
  await scribe.call(
    { method: 'HEAD', target: `/v2/hub/app/blobs/${sha256('other')}` },
    'What the upstream does not have.',
  );
  scribe.advance(60_000);
  await scribe.call(tagged, 'A minute later: has the tag moved?');
  await there(image('arm64', 'moved'));
  scribe.advance(60_000);
  await scribe.call(tagged, 'It has: the manifest that it names now is fetched by its digest.');
  state.down = true;
  scribe.advance(60_000);
  await scribe.call(tagged, 'The upstream is down: the tag is answered as it was.');
  await scribe.call(get('/v2/hub/app/manifests/v2'), 'What is not here cannot be had.');
  await scribe.call({ method: 'POST', target: '/v2/hub/app/blobs/uploads/' }, 'Nothing is pushed to a mirror.');
  await scribe.call({ method: 'DELETE', target: tagged.target }, 'To delete is to evict.');
  await ends(scribe, 'mirror');
});

test('deletes', async () => {
  const scribe = await Scribe.begin('A tag, a manifest and a blob are deleted. Bytes stay until garbage collection.');
  const one = image('amd64', 'layer');
  await pushed(scribe, one, 'v1');
  await pushed(scribe, one, 'v2');
  await scribe.call({ method: 'DELETE', target: '/v2/app/manifests/v1' });
  await scribe.call(
    { method: 'DELETE', target: `/v2/app/manifests/${one.digest}` },
    'The manifest takes its tags along.',
  );
  await scribe.call({ method: 'DELETE', target: `/v2/app/blobs/${sha256('layer')}` });
  await pushed(scribe, one, 'v1');
  const all = index(one);
  await scribe.quietly(put(all, 'all'));
  await scribe.call(
    { method: 'DELETE', target: `/v2/app/manifests/${all.digest}` },
    'An index: from now on it has left its child.',
  );
  await ends(scribe, 'delete');
});

test('garbage collections', async () => {
  const scribe = await Scribe.begin(
    'Garbage collection, a month later: an upload that was given up, a blob that nobody used, and what a crash left.',
  );
  await pushed(scribe, image('amd64', 'layer'), 'v1');
  await scribe.quietly(post('unused'));
  await scribe.quietly({ method: 'POST', target: UPLOADS });
  await scribe.quietly(patch(scribe.session(), 'hello'));
  const crashed = scribe.registry.begin(post('x'.repeat(20_000)));
  while (crashed.standing !== 'Commit') await crashed.step();
  crashed.crash();
  scribe.advance(30 * 24 * 3600_000);
  await scribe.gc();
  await ends(scribe, 'gc');
});
