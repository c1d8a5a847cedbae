/** What the console is shown: images, indexes with attestations, charts, bills of materials, and names that would do harm. */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { END, headOf, paddingOf } from '../js/tar.js';

export const HARM = `<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>`;

const INDEX = 'application/vnd.oci.image.index.v1+json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const EMPTY = 'application/vnd.oci.empty.v1+json';

/** Text files in a `.tar.gz`. */
function archive(files: Record<string, string>): Buffer {
  const parts = Object.entries(files).flatMap(([name, text]) => {
    const bytes = Buffer.from(text);
    return [headOf(name, bytes.length), bytes, paddingOf(bytes.length)];
  });
  return gzipSync(Buffer.concat([...parts, END]));
}

export const digest = (bytes: string | Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  annotations?: Record<string, string>;
  artifactType?: string;
  platform?: { os: string; architecture: string; variant?: string };
}

/** Pushes to a server, with a login if there is one. */
export class Pusher {
  constructor(
    readonly url: string,
    private readonly login?: string,
  ) {}

  async send(method: string, path: string, body?: string | Buffer, type?: string): Promise<Response> {
    const headers = {
      ...(type && { 'Content-Type': type }),
      ...(this.login && { Authorization: `Basic ${Buffer.from(this.login).toString('base64')}` }),
    };
    const response = await fetch(new URL(path, this.url), {
      method,
      headers,
      ...(body !== undefined && { body: body as BodyInit }),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response;
  }

  async blob(
    repository: string,
    bytes: string | Buffer,
    mediaType: string,
    more: Partial<Descriptor> = {},
  ): Promise<Descriptor> {
    const made = { mediaType, digest: digest(bytes), size: Buffer.byteLength(bytes), ...more };
    await this.send(
      'POST',
      `/v2/${repository}/blobs/uploads/?digest=${made.digest}`,
      bytes,
      'application/octet-stream',
    );
    return made;
  }

  async manifest(
    repository: string,
    reference: string | undefined,
    manifest: object,
    type = MANIFEST,
  ): Promise<Descriptor> {
    const bytes = JSON.stringify({ schemaVersion: 2, mediaType: type, ...manifest });
    await this.send('PUT', `/v2/${repository}/manifests/${reference ?? digest(bytes)}`, bytes, type);
    return { mediaType: type, digest: digest(bytes), size: Buffer.byteLength(bytes) };
  }

  /** An image with a history; `differs` is in its upper layer and its environment. */
  async image(
    repository: string,
    tag: string | undefined,
    differs: string,
    architecture = 'amd64',
    more: object = {},
  ): Promise<Descriptor> {
    const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
    const layers = [
      await this.blob(repository, `base ${'x'.repeat(30_000)}`, LAYER),
      await this.blob(repository, `tools ${architecture} ${'y'.repeat(9_000)}`, LAYER),
      await this.blob(repository, `app ${differs} ${architecture} ${'z'.repeat(1_200)}`, LAYER),
    ];
    const config = JSON.stringify({
      created: '2026-10-01T08:30:00Z',
      os: 'linux',
      architecture,
      config: {
        Env: ['PATH=/usr/local/bin:/usr/bin:/bin', `APP_VERSION=${differs}`, 'LANG=C.UTF-8'],
        Entrypoint: ['/usr/bin/app'],
        Cmd: ['serve', '--port', '8080', 'hello world'],
        User: '1000:1000',
        WorkingDir: '/srv',
        ExposedPorts: { '8080/tcp': {} },
        Volumes: { '/data': {} },
        Labels: {
          maintainer: HARM,
          'org.opencontainers.image.source': 'https://git.example.com/team/app',
          version: differs,
        },
        Healthcheck: { Test: ['CMD', '/usr/bin/app', 'check'] },
      },
      history: [
        { created: '2026-09-01T00:00:00Z', created_by: '/bin/sh -c #(nop) ADD file:5fe1 in / ' },
        { created_by: '/bin/sh -c #(nop)  CMD ["bash"]', empty_layer: true },
        {
          created_by: `RUN |1 VERSION=${differs} /bin/sh -c apt-get update && apt-get install -y --no-install-recommends ca-certificates curl git && rm -rf /var/lib/apt/lists/* && echo "a long line that goes on" # buildkit`,
          comment: 'buildkit.dockerfile.v0',
        },
        { created_by: `ENV APP_VERSION=${differs}`, empty_layer: true },
        { created_by: `COPY ${HARM} /usr/bin/app # buildkit` },
      ],
    });
    return this.manifest(repository, tag, {
      config: await this.blob(repository, config, 'application/vnd.oci.image.config.v1+json'),
      layers,
      ...more,
    });
  }

  /** An index of two platforms, with the attestations that BuildKit lists beside them. */
  async index(repository: string, tag: string, differs: string, annotations: Record<string, string> = {}) {
    const manifests: Descriptor[] = [];
    for (const architecture of ['amd64', 'arm64']) {
      const image = await this.image(repository, undefined, differs, architecture);
      manifests.push({ ...image, platform: { os: 'linux', architecture } });
    }
    const statement = JSON.stringify({ _type: 'https://in-toto.io/Statement/v0.1', predicate: SPDX });
    const about = manifests[0]!.digest;
    const attestation = await this.manifest(repository, undefined, {
      config: await this.blob(
        repository,
        '{"architecture":"unknown","os":"unknown"}',
        'application/vnd.oci.image.config.v1+json',
      ),
      layers: [await this.blob(repository, statement, 'application/vnd.in-toto+json')],
    });
    manifests.push({
      ...attestation,
      platform: { os: 'unknown', architecture: 'unknown' },
      annotations: { 'vnd.docker.reference.type': 'attestation-manifest', 'vnd.docker.reference.digest': about },
    });
    return this.manifest(repository, tag, { manifests, annotations }, INDEX);
  }

  /** An artifact of some files, perhaps about another manifest. */
  async artifact(
    repository: string,
    tag: string | undefined,
    artifactType: string,
    files: [text: string, type: string, title?: string][],
    more: object = {},
  ): Promise<Descriptor> {
    const layers: Descriptor[] = [];
    for (const [text, type, title] of files)
      layers.push(
        await this.blob(
          repository,
          text,
          type,
          title ? { annotations: { 'org.opencontainers.image.title': title } } : {},
        ),
      );
    const config = await this.blob(repository, '{}', EMPTY);
    return this.manifest(repository, tag, { artifactType, config, layers, ...more });
  }
}

export const SPDX = {
  spdxVersion: 'SPDX-2.3',
  packages: [
    { name: 'openssl', versionInfo: '3.5.1', licenseConcluded: 'Apache-2.0' },
    { name: HARM, versionInfo: '1.0', licenseDeclared: 'MIT' },
    { name: 'zlib', versionInfo: '1.3.1', licenseConcluded: 'NOASSERTION', licenseDeclared: 'Zlib' },
  ],
};

/** All of it. */
export async function fill(pusher: Pusher): Promise<{ index: Descriptor }> {
  const index = await pusher.index('team/app', 'v1.10.0', '1.10.0', {
    'org.opencontainers.image.description': `The app of the team ${HARM}`,
    'org.opencontainers.image.url': 'https://app.example.com/docs',
    'org.opencontainers.image.source': 'javascript:window.harmed=1',
    'com.example.data': 'data:text/html,<script>window.harmed=1</script>',
  });
  for (const version of ['1.8.0', '1.9.0', '1.9.1', '1.2.0-rc1'])
    await pusher.index('team/app', `v${version}`, version);
  await pusher.index('team/app', 'latest', '1.10.0', {
    'org.opencontainers.image.description': `The app of the team ${HARM}`,
    'org.opencontainers.image.url': 'https://app.example.com/docs',
    'org.opencontainers.image.source': 'javascript:window.harmed=1',
    'com.example.data': 'data:text/html,<script>window.harmed=1</script>',
  });
  const subject = { mediaType: index.mediaType, digest: index.digest, size: index.size };
  const sbom = await pusher.artifact(
    'team/app',
    undefined,
    'application/spdx+json',
    [[JSON.stringify(SPDX), 'application/spdx+json', 'sbom.spdx.json']],
    { subject, annotations: { 'org.opencontainers.image.created': '2026-10-02T00:00:00Z' } },
  );
  await pusher.artifact(
    'team/app',
    undefined,
    'application/vnd.dev.cosign.artifact.sig.v1+json',
    [['{"critical":{}}', 'application/vnd.dev.cosign.simplesigning.v1+json']],
    { subject },
  );
  await pusher.artifact(
    'team/app',
    undefined,
    'application/vnd.cncf.notary.signature',
    [['sig', 'application/jose+json']],
    {
      subject: sbom,
    },
  );
  await pusher.image('team/app-worker', 'v2', 'worker');
  await pusher.image('team/tools/lint', 'v1', 'lint');
  await pusher.image('team/tools/format', 'v1', 'format');
  await pusher.image('base', 'bookworm', 'base');
  const chart = {
    apiVersion: 'v2',
    name: 'app',
    version: '1.2.3',
    appVersion: '1.10.0',
    description: `Runs the app ${HARM}`,
    home: 'https://app.example.com/',
    sources: ['https://git.example.com/team/app', 'javascript:window.harmed=1'],
    maintainers: [{ name: 'Alice', email: 'alice@example.com' }],
    dependencies: [{ name: 'postgresql', version: '16.x' }],
    keywords: ['web', 'app'],
  };
  const packed = archive({
    'app/Chart.yaml': 'name: app\nversion: 1.2.3\n',
    'app/README.md': `# The chart\n\nIt runs the app. ${HARM}\n`,
    'app/values.yaml': 'replicas: 2\n',
    'app/templates/deployment.yaml': 'kind: Deployment\n',
  });
  await pusher.manifest('charts/app', '1.2.3', {
    config: await pusher.blob('charts/app', JSON.stringify(chart), 'application/vnd.cncf.helm.config.v1+json'),
    layers: [await pusher.blob('charts/app', packed, 'application/vnd.cncf.helm.chart.content.v1.tar+gzip')],
  });
  await pusher.artifact('models/small', 'q4', 'application/vnd.cncf.model.manifest.v1+json', [
    ['weights '.repeat(4000), 'application/vnd.cncf.model.weight.v1.raw', 'model.safetensors'],
    [`# Small model\n\nIt answers.\n\n${HARM}\n`, 'text/markdown', 'README.md'],
    ['{"layers": 2}', 'application/json', '../../config.json'],
  ]);
  return { index };
}
