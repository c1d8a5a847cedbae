/** Small images to push. */
import { digestOf } from '../state.js';
import type { WireRequest, WireResponse } from '../wire.js';

export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
const LAYER = 'application/vnd.oci.image.layer.v1.tar';

export interface Blob {
  digest: string;
  text: string;
}

export interface Manifest {
  text: string;
  digest: string;
  mediaType: string;
  size: number;
  config: Blob;
  layers: Blob[];
}

/** An image of one layer for a platform. */
export async function manifestOf(architecture: string, layer: string): Promise<Manifest> {
  const layerDigest = await digestOf(layer);
  const config = JSON.stringify({ os: 'linux', architecture, rootfs: { type: 'layers', diff_ids: [layerDigest] } });
  return assemble({ digest: await digestOf(config), text: config }, [{ digest: layerDigest, text: layer }], CONFIG, {});
}

/** An artifact that refers to another manifest: a signature, a bill of materials. */
export async function artifactOf(artifactType: string, content: string, subject: Manifest): Promise<Manifest> {
  const empty = { digest: await digestOf('{}'), text: '{}' };
  const layer = { digest: await digestOf(content), text: content };
  const about = { mediaType: subject.mediaType, digest: subject.digest, size: subject.size };
  return assemble(empty, [layer], 'application/vnd.oci.empty.v1+json', { artifactType, subject: about });
}

async function assemble(config: Blob, layers: Blob[], configType: string, more: object): Promise<Manifest> {
  const describe = (mediaType: string, blob: Blob) => ({
    mediaType,
    digest: blob.digest,
    size: new TextEncoder().encode(blob.text).length,
  });
  const text = JSON.stringify(
    {
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: describe(configType, config),
      layers: layers.map((layer) => describe(LAYER, layer)),
      ...more,
    },
    null,
    2,
  );
  return {
    text,
    digest: await digestOf(text),
    mediaType: OCI_MANIFEST,
    size: new TextEncoder().encode(text).length,
    config,
    layers,
  };
}

/** Pushes the blobs of a manifest, and the manifest too if it is to have a reference. */
export async function pushAll(
  send: (request: WireRequest) => Promise<WireResponse>,
  repository: string,
  manifest: Manifest,
  reference?: string,
): Promise<void> {
  for (const { digest, text } of [manifest.config, ...manifest.layers]) {
    await send({
      method: 'POST',
      target: `/v2/${repository}/blobs/uploads/?digest=${digest}`,
      body: text,
      headers: [['Content-Type', 'application/octet-stream']],
    });
  }
  if (reference) {
    await send({
      method: 'PUT',
      target: `/v2/${repository}/manifests/${reference}`,
      body: manifest.text,
      headers: [['Content-Type', manifest.mediaType]],
    });
  }
}
