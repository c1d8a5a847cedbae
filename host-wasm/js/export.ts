import type { Progress, Send } from './import.js';
import { MANIFEST_TYPES, isIndex, typeOf } from './media.js';
import type { Descriptor, Document } from './media.js';
import type { RegistryResponse } from './request.js';
import { END, headOf, paddingOf } from './tar.js';

/** Which images. */
export interface ExportOptions {
  /** Only this repository. */
  repository?: string;
  /** Only this tag or digest of it. */
  reference?: string;
  progress?: Progress;
}

/** A content on its way into an archive. */
interface Item {
  descriptor: Descriptor;
  target: string;
  /** What is in memory already. */
  bytes?: Uint8Array;
}

/** Images as an OCI layout in a tar archive: what `skopeo copy oci-archive:…` and `podman load` take. */
export function exportImages(send: Send, options: ExportOptions = {}): ReadableStream<Uint8Array> {
  const pieces = archive(send, options);
  return new ReadableStream({
    async pull(controller) {
      const { value, done } = await pieces.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await pieces.return(undefined);
    },
  });
}

async function* archive(send: Send, options: ExportOptions): AsyncGenerator<Uint8Array, void> {
  const items = new Map<string, Item>();
  const roots: Descriptor[] = [];
  for (const [repository, reference] of await meant(send, options)) {
    const root = await collect(send, items, repository, reference);
    const name = reference.includes(':') ? undefined : options.repository ? reference : `${repository}:${reference}`;
    roots.push(name ? { ...root, annotations: { 'org.opencontainers.image.ref.name': name } } : root);
  }
  const total = [...items.values()].reduce((sum, item) => sum + item.descriptor.size, 0);
  let written = 0;
  yield* file('oci-layout', json({ imageLayoutVersion: '1.0.0' }));
  yield* file(
    'index.json',
    json({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: roots }),
  );
  for (const { descriptor, target, bytes } of items.values()) {
    const { digest, size } = descriptor;
    options.progress?.(digest, written, total);
    yield headOf(`blobs/${digest.replace(':', '/')}`, size);
    if (bytes) {
      yield bytes;
    } else {
      const reader = (await must(send, target)).stream().getReader();
      for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
    }
    yield paddingOf(size);
    written += size;
    options.progress?.(digest, written, total);
  }
  yield END;
}

/** The images that are meant, as repository and reference. */
async function meant(send: Send, { repository, reference }: ExportOptions): Promise<[string, string][]> {
  if (repository && reference) return [[repository, reference]];
  const repositories = repository ? [repository] : await pages(send, '/v2/_catalog', 'repositories');
  const images: [string, string][] = [];
  for (const name of repositories) {
    for (const tag of await pages(send, `/v2/${name}/tags/list`, 'tags')) images.push([name, tag]);
  }
  return images;
}

/** A list of names, page by page. */
export async function pages(send: Send, first: string, field: string): Promise<string[]> {
  const names: string[] = [];
  for (let target: string | undefined = first; target;) {
    const response: RegistryResponse = await must(send, target);
    names.push(...(((await response.json()) as Record<string, string[]>)[field] ?? []));
    target = /<([^>]+)>;\s*rel="?next"?/.exec(response.header('Link') ?? '')?.[1];
  }
  return names;
}

/** Collects a manifest and everything below it. */
async function collect(
  send: Send,
  items: Map<string, Item>,
  repository: string,
  reference: string,
): Promise<Descriptor> {
  const target = `/v2/${repository}/manifests/${reference}`;
  const response = await must(send, target, { Accept: MANIFEST_TYPES.join(', ') });
  const bytes = await response.bytes();
  const document = JSON.parse(new TextDecoder().decode(bytes)) as Document;
  const mediaType = response.header('Content-Type') ?? typeOf(document);
  const digest = response.header('Docker-Content-Digest')!;
  const descriptor = { mediaType, digest, size: bytes.length };
  if (isIndex(mediaType)) {
    for (const child of document.manifests ?? []) await collect(send, items, repository, child.digest);
  }
  for (const blob of [document.config, ...(document.layers ?? [])]) {
    if (blob) items.set(blob.digest, { descriptor: blob, target: `/v2/${repository}/blobs/${blob.digest}` });
  }
  items.set(digest, { descriptor, target, bytes });
  return descriptor;
}

async function must(send: Send, target: string, headers: Record<string, string> = {}): Promise<RegistryResponse> {
  const response = await send({ method: 'GET', target, headers });
  if (response.status !== 200) throw new Error(`GET ${target} answers ${response.status}: the image is not whole`);
  return response;
}

function* file(name: string, bytes: Uint8Array): Iterable<Uint8Array> {
  yield headOf(name, bytes.length);
  yield bytes;
  yield paddingOf(bytes.length);
}

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}
