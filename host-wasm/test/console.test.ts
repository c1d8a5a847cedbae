/** What the console reads and writes, without a browser. */
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { filesOf, unzipped } from '../console/src/archive.js';
import { clientsFor, command } from '../console/src/commands.js';
import { asCommand, asStep, readChart, readConfig } from '../console/src/config.js';
import { layers, pairs } from '../console/src/difference.js';
import { read, to, within } from '../console/src/route.js';
import { readBill } from '../console/src/sbom.js';
import { meaning } from '../console/src/marks.js';
import { ago, short, some, until } from '../console/src/words.js';
import { END, headOf, paddingOf } from '../js/tar.js';

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;
const at = (path: string) => read(new URL(path, 'https://registry.example.com'));

describe('URLs', () => {
  test('each page has one, and is read from it', () => {
    const tags = { page: 'tags', repository: 'team/app', q: 'v1', sort: 'pushed', order: 'desc', after: '', at: 0 };
    expect(at(to.tags('team/app', { q: 'v1', sort: 'pushed', order: 'desc' }))).toEqual(tags);
    const list = { page: 'repositories', under: 'team', q: 'a b&c', sort: 'bytes', order: 'asc', flat: true };
    expect(at(to.repositories({ under: 'team', q: 'a b&c', sort: 'bytes', flat: true }))).toEqual(list);
    const image = { page: 'image', repository: 'a/b', reference: DIGEST, platform: 'linux/arm64', view: 'layers' };
    expect(at(to.image('a/b', DIGEST, { platform: 'linux/arm64', view: 'layers' }))).toEqual(image);
    const compare = { page: 'compare', repository: 'a', a: 'v1', b: DIGEST, platform: '' };
    expect(at(to.compare('a', { a: 'v1', b: DIGEST }))).toEqual(compare);
    expect(at(to.search('app:v1'))).toEqual({ page: 'search', q: 'app:v1' });
    expect(at(to.tokens)).toEqual({ page: 'tokens' });
    expect(at(to.admin('usage', { sort: 'tags' }))).toEqual({
      page: 'admin',
      of: 'usage',
      repository: '',
      sort: 'tags',
    });
    expect(at(to.deleted('a/b'))).toEqual({ page: 'deleted', repository: 'a/b' });
    const wanted = { repository: 'a/b', user: 'bob', happening: 'push', from: '2027-01-02', until: '' };
    expect(at(to.activity(wanted))).toEqual({ page: 'activity', of: wanted, within: false });
    expect(at(to.activityOf('a/b', wanted))).toEqual({ page: 'activity', of: wanted, within: true });
    const asked = { user: 'corp:bob', groups: 'dev', repository: 'a', action: 'push', tag: 'v1' };
    expect(at(to.access(asked))).toEqual({ page: 'access', of: asked });
    expect(at('/console/admin')).toEqual(at(to.admin('usage')));
    expect(at(to.signIn('/console/r/a?q=b'))).toEqual({ page: 'sign-in', to: '/console/r/a?q=b' });
    expect(to.repositories()).toBe('/console/');
    expect(to.tags('a')).toBe('/console/r/a');
  });

  test.each([
    '/',
    '/console/nothing',
    '/console/r/',
    '/console/r/UPPER',
    '/console/r/../../v2',
    '/console/r/a//b',
    '/console/r/a/-/i/',
    '/console/r/a/-/i/sha256:beef',
    '/console/r/a/-/i/a%20b',
    '/console/r/a/-/x',
    '/console/admin/secrets',
    '/console/r/a/-/deleted/x',
    '/console/r/%E0%A4%A',
    `/console/r/${'a'.repeat(256)}`,
  ])('%s is no page', (path) => expect(at(path)).toEqual({ page: 'missing' }));

  test('what cannot be is as if it were not there', () => {
    const tags = { page: 'tags', repository: 'a', q: '', sort: 'name', order: 'asc', after: '', at: 0 };
    expect(at('/console/r/a?sort=weight&order=up&at=-4')).toEqual(tags);
    expect(at('/console/r/a/-/i/v1?view=%3Cb%3E')).toMatchObject({ page: 'image', view: '' });
  });

  test.each([
    ['/console/r/a?q=b#c', '/console/r/a?q=b#c'],
    ['', '/console/'],
    ['//evil.example/console/', '/console/'],
    ['/\\evil.example', '/console/'],
    ['https://evil.example/console/', '/console/'],
    ['javascript:alert(1)', '/console/'],
    ['/v2/', '/console/'],
    ['/console/../v2/', '/console/'],
    ['/console/sign-in?to=x', '/console/'],
    ['/console/\t/evil.example', '/console//evil.example'],
  ])('after a sign-in, %s leads to %s', (given, expected) => expect(within(given)).toBe(expected));
});

describe('commands', () => {
  const local = { host: '127.0.0.1:5000', plain: true, repository: 'team/app', tag: 'v1' };
  const far = { host: 'registry.example.com', plain: false, repository: 'team/app', tag: 'v1' };
  test('each client has its own', () => {
    expect(command('docker', far)).toBe('docker pull registry.example.com/team/app:v1');
    expect(command('docker', { ...far, digest: DIGEST })).toBe(`docker pull registry.example.com/team/app@${DIGEST}`);
    expect(command('docker', { ...far, platform: 'linux/arm/v7' })).toContain('--platform linux/arm/v7 ');
    expect(command('podman', local)).toBe('podman pull --tls-verify=false 127.0.0.1:5000/team/app:v1');
    expect(command('crane', far)).toBe('crane pull registry.example.com/team/app:v1 app.tar');
    expect(command('skopeo', { ...far, platform: 'linux/arm/v7' })).toBe(
      'skopeo --override-os linux --override-arch arm --override-variant v7 copy docker://registry.example.com/team/app:v1 oci:app:v1',
    );
    expect(command('helm', { ...far, tag: '1.2.3_build.4' })).toBe(
      'helm pull oci://registry.example.com/team/app --version 1.2.3+build.4',
    );
    expect(command('helm', { ...far, digest: DIGEST })).toBe(`helm pull oci://registry.example.com/team/app@${DIGEST}`);
    expect(command('oras', { ...local, host: 'registry:5000' })).toBe(
      'oras pull registry:5000/team/app:v1 --plain-http',
    );
  });
  test('a platform that a shell would read is left out', () => {
    for (const platform of ['linux/$(id)', 'linux/amd64; id', 'linux', "linux/'", 'linux/a b', '-o/x\n'])
      expect(command('docker', { ...far, platform }), platform).toBe('docker pull registry.example.com/team/app:v1');
  });
  test('a chart is pulled by helm, an image by docker', () => {
    expect(clientsFor('chart')[0]).toBe('helm');
    expect(clientsFor('index')[0]).toBe('docker');
    expect(clientsFor('sbom')).not.toContain('docker');
  });
});

describe('configs', () => {
  test('a whole one is read', () => {
    const config = readConfig({
      os: 'linux',
      architecture: 'arm',
      variant: 'v7',
      config: {
        Env: ['A=1=2', 'B'],
        Entrypoint: ['/a', 'b c'],
        Labels: { z: '1', a: '2' },
        ExposedPorts: { '80/tcp': {} },
      },
    });
    expect(config).toMatchObject({ os: 'linux', variant: 'v7', ports: ['80/tcp'], cmd: [] });
    expect(config.env).toEqual([
      ['A', '1=2'],
      ['B', ''],
    ]);
    expect(config.labels.map(([name]) => name)).toEqual(['a', 'z']);
    expect(asCommand(config.entrypoint)).toBe("/a 'b c'");
  });
  test.each([
    undefined,
    null,
    1,
    'x',
    [],
    {},
    { config: null },
    { config: [] },
    { config: { Env: 'A=1', Labels: 7, Cmd: {} } },
  ])('one of any form harms nothing: %j', (given) => {
    expect(readConfig(given).cmd).toEqual([]);
    expect(readChart(given).maintainers).toEqual([]);
  });
  test.each([
    ['/bin/sh -c #(nop)  CMD ["bash"]', 'CMD ["bash"]'],
    ['/bin/sh -c apt-get update', 'RUN apt-get update'],
    ['RUN /bin/sh -c make # buildkit', 'RUN make'],
    ['RUN |2 A=1 B= /bin/sh -c make # buildkit', 'RUN make'],
    ['COPY a b # buildkit', 'COPY a b'],
  ])('%s is the step %s', (given, expected) => expect(asStep(given)).toBe(expected));
});

test('two images are told apart', () => {
  expect(
    pairs(
      [
        ['a', '1'],
        ['b', '2'],
        ['c', '3'],
      ],
      [
        ['b', '4'],
        ['c', '3'],
        ['d', '5'],
      ],
    ),
  ).toEqual([
    { name: 'a', a: '1' },
    { name: 'b', a: '2', b: '4' },
    { name: 'd', b: '5' },
  ]);
  const layer = (digest: string, size: number) => ({ digest, size });
  const [base, one, other, moved] = [layer('b', 10), layer('1', 5), layer('2', 7), layer('m', 3)];
  const found = layers([base, { command: 'ENV' }, one, moved], [base, moved, other]);
  expect(found).toMatchObject({ shared: 1, sharedBytes: 10, onlyA: 5, onlyB: 7 });
  expect([found.a, found.b]).toEqual([
    [one, moved],
    [moved, other],
  ]);
});

test('bills of materials are read', () => {
  const spdx = {
    spdxVersion: 'SPDX-2.3',
    packages: [{ name: 'z' }, { name: 'a', versionInfo: '1', licenseDeclared: 'MIT' }, {}],
  };
  expect(readBill(spdx)?.software).toEqual([
    { name: 'a', version: '1', licence: 'MIT' },
    { name: 'z', version: '', licence: '' },
  ]);
  expect(readBill({ predicate: spdx })?.format).toBe('SPDX 2.3');
  const cyclone = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    components: [{ name: 'a', licenses: [{ license: { id: 'MIT' } }] }],
  };
  expect(readBill(cyclone)).toEqual({
    format: 'CycloneDX 1.6',
    software: [{ name: 'a', version: '', licence: 'MIT' }],
  });
  for (const other of [null, 1, [], {}, { packages: 1 }, { predicate: null }]) expect(readBill(other)).toBeUndefined();
});

describe('archives', () => {
  const packed = (files: Record<string, string>) => {
    const parts = Object.entries(files).flatMap(([name, text]) => {
      const bytes = Buffer.from(text);
      return [headOf(name, bytes.length), bytes, paddingOf(bytes.length)];
    });
    return new Blob([gzipSync(Buffer.concat([...parts, END]))]);
  };
  test('the README comes first', async () => {
    const files = await filesOf(packed({ 'app/Chart.yaml': 'a', 'app/charts/b/README.md': 'b', 'app/README.md': 'c' }));
    expect(files.map(({ name }) => name)).toEqual(['app/README.md', 'app/charts/b/README.md', 'app/Chart.yaml']);
    expect(await files[0]!.read()).toBe('c');
  });
  test('what is no archive, or unpacks to too much, is refused', async () => {
    await expect(filesOf(new Blob(['no gzip']))).rejects.toThrow();
    await expect(filesOf(new Blob([gzipSync('no tar archive '.repeat(100))]))).rejects.toThrow('no tar archive');
    await expect(unzipped(new Blob([gzipSync(Buffer.alloc(4_000_000))]), 1_000_000)).rejects.toThrow(
      'more than is shown',
    );
  });
});

test('words', () => {
  const now = Date.parse('2027-01-10T12:00:00Z');
  expect(ago('2027-01-10T11:59:30Z', now)).toBe('just now');
  expect(ago('2027-01-10T10:00:00Z', now)).toBe('2 hours ago');
  expect(ago('2025-01-10T10:00:00Z', now)).toBe('1 year ago');
  expect(ago('1970-01-01T00:00:00Z', now)).toBe('not told');
  expect(ago('<b>', now)).toBe('<b>');
  expect(until('2027-01-12T12:00:00Z', now)).toBe('in 2 days');
  expect(until('2027-01-16T11:00:00Z', now)).toBe('in 6 days');
  expect(until('2027-01-09T12:00:00Z', now)).toBe('over');
  expect(some(1, 'tag')).toBe('1 tag');
  expect(some(100_000, 'tag')).toBe('100,000 tags');
  expect(short(DIGEST)).toBe('0123456789ab');
});

test.each([
  ['team/app:v1', 'the tag v1 of the repository team/app'],
  ['team/*:release-*', 'the tags release-* of the repositories team/*'],
  ['team/app', 'all tags of the repository team/app'],
  [' team/app:* ', 'all tags of the repository team/app'],
  [`team/**@${DIGEST}`, 'the image 0123456789ab in the repositories team/**'],
])('the mark %s keeps %s', (mark, keeps) => expect(meaning(mark)).toBe(keeps));
