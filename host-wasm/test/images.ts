/** Images to push, small enough to read. */
import { createHash } from 'node:crypto';
import type { Registry } from '../js/index.js';
import { END, headOf, paddingOf } from '../js/tar.js';

export const sha256 = (bytes: Uint8Array | string) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

/** A manifest, its type, and its blobs by digest. */
export function image(architecture = 'amd64', layer = 'layer') {
  const config = encode({ os: 'linux', architecture, rootfs: { type: 'layers', diff_ids: [sha256(layer)] } });
  const bytes = new TextEncoder().encode(layer);
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = encode({
    schemaVersion: 2,
    mediaType,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: sha256(config), size: config.length },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: sha256(bytes), size: bytes.length }],
  });
  return { manifest, mediaType, digest: sha256(manifest), blobs: [config, bytes] };
}

/** Pushes it. */
export async function push(registry: Registry, repository: string, tag: string, pushed = image()) {
  for (const blob of pushed.blobs) {
    const target = `/v2/${repository}/blobs/uploads/?digest=${sha256(blob)}`;
    const answer = await registry.send({ method: 'POST', target }, blob);
    if (answer.status !== 201) throw new Error(await answer.text());
  }
  const headers = { 'Content-Type': pushed.mediaType };
  const put = { method: 'PUT', target: `/v2/${repository}/manifests/${tag}`, headers };
  return registry.send(put, pushed.manifest);
}

/** An archive of these files. */
export function tar(files: Record<string, Uint8Array | string>): Blob {
  const pieces: Uint8Array[] = [];
  for (const [name, content] of Object.entries(files)) {
    const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    pieces.push(headOf(name, bytes.length), bytes, paddingOf(bytes.length));
  }
  return new Blob([...pieces, END] as BlobPart[]);
}

/** An OCI layout of one image. */
export function layout(pushed = image(), name = 'v1', without?: string): Blob {
  const blobs = [pushed.manifest, ...pushed.blobs].map((bytes) => [`blobs/${sha256(bytes).replace(':', '/')}`, bytes]);
  const descriptor = {
    mediaType: pushed.mediaType,
    digest: pushed.digest,
    size: pushed.manifest.length,
    annotations: { 'org.opencontainers.image.ref.name': name },
  };
  return tar({
    'oci-layout': '{"imageLayoutVersion":"1.0.0"}',
    'index.json': JSON.stringify({ schemaVersion: 2, manifests: [descriptor] }),
    ...Object.fromEntries(blobs.filter(([path]) => path !== `blobs/${without?.replace(':', '/')}`)),
  });
}
