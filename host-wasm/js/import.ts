import { DOCKER_MANIFEST, isIndex, typeOf } from './media.js';
import type { Descriptor, Document } from './media.js';
import { Hasher } from './pkg/orlop_wasm.js';
import type { RegistryRequest, RegistryResponse } from './request.js';
import { entriesOf } from './tar.js';

/** Sends a request to a registry, whichever that is. */
export type Send = (request: RegistryRequest) => Promise<RegistryResponse>;

/** How far a long work is. */
export type Progress = (what: string, done: number, total: number) => void;

/** What an archive is to become. */
export interface ImportOptions {
  /** The repository for images that bring no name of their own. */
  repository?: string;
  /** The tag for images that bring none. */
  tag?: string;
  progress?: Progress;
}

/** What became of an archive. */
export interface Imported {
  images: { repository: string; tag: string; digest: string }[];
  /** What the archive did not bring, in words. */
  notes: string[];
  /** How many bytes of blobs were sent. */
  bytes: number;
}

/** The archive is none of an image. The message says what is wrong with it. */
export class NotAnImage extends Error {
  override name = 'NotAnImage';
}

/** An image of an archive, ready to be pushed. */
interface Plan {
  repository: string;
  tag: string;
  /** What is tagged, and everything that must be there before it. */
  root: string;
}

/** Everything that an archive holds, by digest. */
interface Contents {
  blobs: Map<string, Blob>;
  manifests: Map<string, { bytes: Uint8Array<ArrayBuffer>; mediaType: string; document: Document }>;
  plans: Plan[];
  notes: string[];
}

/** An archive, or the files of a layout that was unpacked, by their paths within it. */
export type Archive = Blob | Map<string, Blob>;

/** Pushes what an archive holds: all of it, or, when anything goes wrong, nothing. */
export async function importArchive(send: Send, archive: Archive, options: ImportOptions = {}): Promise<Imported> {
  const contents = await contentsOf(archive, options);
  const pushed = new Pusher(send, contents, options.progress ?? (() => {}));
  try {
    // The tags last: until everything is there, no tag changes.
    for (const plan of contents.plans) await pushed.image(plan);
    for (const plan of contents.plans) await pushed.tag(plan);
  } catch (error) {
    const left = await pushed.takeBack();
    const kept =
      left.length > 0 ? `This could not be taken back: ${left.join(', ')}` : 'Nothing of the archive was kept';
    throw new Error(`${reason(error)}. ${kept}.`, { cause: error });
  }
  const images = contents.plans.map(({ repository, tag, root }) => ({ repository, tag, digest: root }));
  return { images, notes: contents.notes, bytes: pushed.sent };
}

/** Reads what an archive holds, and checks that it is all there. */
async function contentsOf(archive: Archive, options: ImportOptions): Promise<Contents> {
  let entries: Map<string, Blob>;
  try {
    entries = archive instanceof Map ? archive : await entriesOf(await unzipped(archive));
  } catch (error) {
    throw new NotAnImage(`${reason(error)}: give an OCI layout or the output of docker save, as .tar or .tar.gz`);
  }
  const contents: Contents = { blobs: new Map(), manifests: new Map(), plans: [], notes: [] };
  for (const [name, blob] of entries) {
    const found = /^blobs\/(sha256|sha512)\/([0-9a-f]+)$/.exec(name);
    if (found) contents.blobs.set(`${found[1]}:${found[2]}`, blob);
  }
  if (entries.has('index.json')) await readLayout(entries.get('index.json')!, contents, options);
  else if (entries.has('manifest.json')) await readSaved(entries, contents, options);
  else throw new NotAnImage('the archive has neither index.json nor manifest.json: it is no image');
  if (contents.plans.length === 0) throw new NotAnImage('the archive names no image');
  return contents;
}

async function unzipped(archive: Blob): Promise<Blob> {
  const magic = new Uint8Array(await archive.slice(0, 2).arrayBuffer());
  if (magic[0] !== 0x1f || magic[1] !== 0x8b) return archive;
  return new Response(archive.stream().pipeThrough(new DecompressionStream('gzip'))).blob();
}

/** An OCI layout. */
async function readLayout(index: Blob, contents: Contents, options: ImportOptions): Promise<void> {
  const { manifests = [] } = await documentOf(index, 'index.json');
  for (const [i, descriptor] of manifests.entries()) {
    const root = await readManifest(descriptor, contents);
    if (root) contents.plans.push({ ...nameOf(descriptor, options, i), root });
  }
}

/** Reads a manifest and all below it; what of an index is not there is left out, with a note. */
async function readManifest(descriptor: Descriptor, contents: Contents): Promise<string | undefined> {
  const blob = contents.blobs.get(descriptor.digest);
  if (!blob) throw new NotAnImage(`the archive lacks ${descriptor.digest}, which its index names`);
  if (blob.size > 4 << 20) throw new NotAnImage(`the manifest ${descriptor.digest} has more than 4 MiB`);
  const document = await documentOf(blob, descriptor.digest);
  const mediaType = document.mediaType ?? descriptor.mediaType ?? typeOf(document);
  if (isIndex(mediaType)) {
    const children = document.manifests ?? [];
    const present = children.filter((child) => contents.blobs.has(child.digest));
    const roots: string[] = [];
    for (const child of present) {
      const root = await readManifest(child, contents);
      if (root) roots.push(root);
    }
    if (present.length < children.length) {
      // `docker save` keeps the index of an image but only the platforms that were pulled.
      contents.notes.push(
        `${children.length - present.length} of ${children.length} platforms are not in the archive; ` +
          'the first that is was pushed in place of the index',
      );
      return roots[0];
    }
  }
  for (const needed of [document.config, ...(document.layers ?? [])]) {
    if (!needed) continue;
    const found = contents.blobs.get(needed.digest);
    if (!found) throw new NotAnImage(`the archive lacks the blob ${needed.digest}, which ${descriptor.digest} names`);
    if (found.size !== needed.size) {
      throw new NotAnImage(`${needed.digest} has ${found.size} bytes; its manifest says ${needed.size}`);
    }
  }
  const bytes = new Uint8Array(await blob.arrayBuffer());
  contents.manifests.set(descriptor.digest, { bytes, mediaType, document });
  return descriptor.digest;
}

/** What `docker save` wrote before it wrote OCI layouts. */
async function readSaved(entries: Map<string, Blob>, contents: Contents, options: ImportOptions): Promise<void> {
  type Saved = { Config: string; RepoTags: string[] | null; Layers: string[] }[];
  const saved = (await jsonOf(entries.get('manifest.json')!, 'manifest.json')) as Saved;
  if (!Array.isArray(saved)) throw new NotAnImage('manifest.json is no list of images');
  for (const image of saved) {
    const take = async (name: string, mediaType: string): Promise<Descriptor> => {
      const blob = entries.get(name);
      if (!blob) throw new NotAnImage(`the archive lacks ${name}, which manifest.json names`);
      const digest = await digestOf(blob);
      contents.blobs.set(digest, blob);
      return { mediaType, size: blob.size, digest };
    };
    const config = await take(image.Config, 'application/vnd.docker.container.image.v1+json');
    const layers: Descriptor[] = [];
    for (const name of image.Layers) {
      const gzip = (await isGzip(entries.get(name))) ? '.gzip' : '';
      layers.push(await take(name, `application/vnd.docker.image.rootfs.diff.tar${gzip}`));
    }
    const document: Document = { schemaVersion: 2, mediaType: DOCKER_MANIFEST, config, layers };
    const bytes = new TextEncoder().encode(JSON.stringify(document));
    const root = await digestOf(new Blob([bytes]));
    contents.manifests.set(root, { bytes, mediaType: DOCKER_MANIFEST, document });
    const names = image.RepoTags?.length ? image.RepoTags.map(splitName) : [{}];
    for (const { repository, tag } of names as { repository?: string; tag?: string }[]) {
      contents.plans.push({
        repository: repository ?? options.repository ?? 'imported',
        tag: tag ?? options.tag ?? 'latest',
        root,
      });
    }
  }
}

async function isGzip(blob: Blob | undefined): Promise<boolean> {
  const magic = new Uint8Array((await blob?.slice(0, 2).arrayBuffer()) ?? []);
  return magic[0] === 0x1f && magic[1] === 0x8b;
}

/** The digest of a blob, which is read piece by piece. */
export async function digestOf(blob: Blob): Promise<string> {
  const hasher = new Hasher(false);
  const reader = blob.stream().getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) hasher.update(read.value);
  const digest = hasher.digest();
  hasher.free();
  return digest;
}

/** Where an image of a layout goes: its annotations say it, as containerd and skopeo write them. */
function nameOf(descriptor: Descriptor, options: ImportOptions, i: number): { repository: string; tag: string } {
  const annotations = descriptor.annotations ?? {};
  const long = annotations['io.containerd.image.name'];
  const short = annotations['org.opencontainers.image.ref.name'];
  const named = long ? splitName(long) : short && /[/:]/.test(short) ? splitName(short) : { tag: short };
  const repository = named.repository ?? options.repository ?? 'imported';
  return { repository, tag: named.tag ?? options.tag ?? (i === 0 ? 'latest' : `image-${i + 1}`) };
}

/** A name such as `docker.io/library/debian:13`, without the registry and Docker's `library/`. */
function splitName(name: string): { repository?: string; tag?: string } {
  const parts = name.split('@')[0]!.split('/');
  if (parts.length > 1 && /[.:]|^localhost$/.test(parts[0]!)) parts.shift();
  if (parts.length === 2 && parts[0] === 'library') parts.shift();
  const [last = '', tag] = parts.pop()!.split(':');
  const repository = [...parts, last].join('/').toLowerCase();
  return { ...(repository && { repository }), ...(tag && { tag }) };
}

async function documentOf(blob: Blob, name: string): Promise<Document> {
  const document = await jsonOf(blob, name);
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw new NotAnImage(`${name} is no manifest: not a JSON object`);
  }
  return document as Document;
}

async function jsonOf(blob: Blob, name: string): Promise<unknown> {
  try {
    return JSON.parse(await blob.text());
  } catch {
    throw new NotAnImage(`${name} is not JSON`);
  }
}

/** What takes a push back: a request, and what it is about. */
interface Undo {
  what: string;
  request: RegistryRequest;
}

/** Pushes images, and keeps in mind what was there before. */
class Pusher {
  sent = 0;
  /** Each is laid down before what it takes back: a push that seems to have failed may have happened. */
  private readonly undo: Undo[] = [];
  private readonly done = new Set<string>();
  private readonly total: number;

  constructor(
    private readonly send: Send,
    private readonly contents: Contents,
    private readonly progress: Progress,
  ) {
    const needed = new Set<string>();
    for (const { document } of contents.manifests.values()) {
      for (const { digest } of [document.config, ...(document.layers ?? [])].filter((d) => d !== undefined)) {
        needed.add(digest);
      }
    }
    this.total = [...needed].reduce((sum, digest) => sum + (contents.blobs.get(digest)?.size ?? 0), 0);
  }

  /** Pushes an image by its digest. */
  async image({ repository, root }: Plan): Promise<void> {
    await this.manifest(repository, root);
  }

  /** Gives an image its tag. */
  async tag({ repository, tag, root }: Plan): Promise<void> {
    const target = `/v2/${repository}/manifests/${tag}`;
    const what = `the tag ${repository}:${tag}`;
    const before = await this.present(what, { method: 'GET', target, headers: { Accept: '*/*' } });
    if (before) {
      const headers = { 'Content-Type': before.header('Content-Type')! };
      this.undo.push({ what, request: { method: 'PUT', target, headers, body: await before.bytes() } });
    } else {
      this.undo.push({ what, request: { method: 'DELETE', target } });
    }
    const { bytes, mediaType } = this.contents.manifests.get(root)!;
    const headers = { 'Content-Type': mediaType };
    await this.must(201, `push ${what}`, { method: 'PUT', target, headers, body: bytes });
  }

  /** Pushes a manifest after all that it needs. */
  private async manifest(repository: string, digest: string): Promise<void> {
    const { bytes, mediaType, document } = this.contents.manifests.get(digest)!;
    for (const child of document.manifests ?? []) await this.manifest(repository, child.digest);
    for (const needed of [document.config, ...(document.layers ?? [])]) {
      if (needed) await this.blob(repository, needed.digest);
    }
    const target = `/v2/${repository}/manifests/${digest}`;
    const what = `the manifest ${digest}`;
    if (!(await this.present(what, { method: 'HEAD', target }))) {
      this.undo.push({ what, request: { method: 'DELETE', target } });
    }
    const headers = { 'Content-Type': mediaType };
    await this.must(201, `push ${what}`, { method: 'PUT', target, headers, body: bytes });
  }

  private async blob(repository: string, digest: string): Promise<void> {
    const target = `/v2/${repository}/blobs/${digest}`;
    if (this.done.has(target)) return;
    const blob = this.contents.blobs.get(digest)!;
    this.progress(`${repository}: ${digest.slice(0, 19)}…`, this.sent, this.total);
    const what = `the blob ${digest}`;
    if (!(await this.present(what, { method: 'HEAD', target }))) {
      const headers = { 'Content-Type': 'application/octet-stream' };
      this.undo.push({ what, request: { method: 'DELETE', target } });
      const post = `/v2/${repository}/blobs/uploads/?digest=${digest}`;
      await this.must(201, `push ${what}`, { method: 'POST', target: post, headers, body: blob });
    }
    this.done.add(target);
    this.sent += blob.size;
    this.progress(`${repository}: ${digest.slice(0, 19)}…`, this.sent, this.total);
  }

  /** What the registry has already; nothing when it does not have it. */
  private async present(what: string, request: RegistryRequest): Promise<RegistryResponse | undefined> {
    const response = await this.send(request);
    if (response.status === 404) return undefined;
    if (response.status !== 200) throw await refusal(`look for ${what}`, response);
    return response;
  }

  private async must(status: number, what: string, request: RegistryRequest): Promise<void> {
    const response = await this.send(request);
    if (response.status !== status) throw await refusal(what, response);
  }

  /** Takes back what was pushed, the last first. Gives what could not be. */
  async takeBack(): Promise<string[]> {
    const left: string[] = [];
    for (const { what, request } of this.undo.reverse()) {
      const undone = await this.send(request).then(
        ({ status }) => status < 300 || status === 404,
        () => false,
      );
      if (undone) continue;
      // What was refused is not there, although deleting it has failed.
      const { target } = request;
      const gone =
        request.method === 'DELETE' && this.send({ method: 'HEAD', target }).then(({ status }) => status === 404);
      if (!(await Promise.resolve(gone).catch(() => false))) left.push(what);
    }
    return left;
  }
}

/** The error for an answer that is not as it should be. */
async function refusal(what: string, response: RegistryResponse): Promise<Error> {
  let why = `status ${response.status}`;
  try {
    const { errors } = (await response.json()) as { errors: { code: string; message: string }[] };
    why = errors.map(({ code, message }) => `${message} (${code})`).join('; ');
  } catch {
    // An answer without a reason has its status.
  }
  return new Error(`The registry refused to ${what}: ${why}`);
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
