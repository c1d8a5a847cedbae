/** The records of a registry as people speak of them. Their keys and values are in `core/src/{keys,record}.rs`. */
import { MIRRORED } from './wire.js';
import type { Snapshot } from './wire.js';

export interface Repository {
  name: string;
  tags: { tag: string; digest: string }[];
  manifests: { digest: string; kind: string; size: number; named: boolean; kept: boolean }[];
  blobs: { digest: string; size: number; used: boolean }[];
  image(digest: string): ImageNode | undefined;
}

/** A part of an image, with what is below it. */
export interface ImageNode {
  kind: string;
  digest: string;
  size: number;
  platform?: string;
  /** That it is not here, and why. */
  missing?: string;
  children: ImageNode[];
}

export interface StoreView {
  repositories: Repository[];
  sessions: { id: string; repository: string; offset: number }[];
  /** Objects that no record names. */
  orphans: { name: string; size: number }[];
  bytes: number;
}

interface Descriptor {
  digest: string;
  size: number;
  mediaType?: string;
  platform?: { os: string; architecture: string; variant?: string };
}

interface Document {
  artifactType?: string;
  config?: Descriptor;
  layers?: Descriptor[];
  manifests?: Descriptor[];
}

export function read({ records, objects }: Snapshot): StoreView {
  const all = new Map(records);
  const under = (prefix: string): [string, string][] =>
    records.filter(([key]) => key.startsWith(prefix)).map(([key, value]) => [key.slice(prefix.length), value]);
  const has = (prefix: string) => records.some(([key]) => key.startsWith(prefix));
  const blobSize = (digest: string) => field<number>(all.get(`blob/${digest}`), 'size') ?? 0;

  const repositories = under('repo/').map(([name]): Repository => {
    const absent = name.startsWith(MIRRORED) ? 'not fetched yet' : 'missing';
    const image = (digest: string): ImageNode | undefined => {
      const record = all.get(`manifest/${name}@${digest}`);
      if (record === undefined) return undefined;
      const document = parse<Document>(all.get(`payload/${name}@${digest}`)) ?? {};
      const leaf = (kind: string, { digest, size }: Descriptor): ImageNode => ({
        kind,
        digest,
        size,
        children: [],
        ...(!all.has(`link/${name}@${digest}`) && { missing: absent }),
      });
      const children = [
        ...(document.manifests ?? []).map((child): ImageNode => {
          const platform =
            child.platform &&
            [child.platform.os, child.platform.architecture, child.platform.variant].filter(Boolean).join('/');
          const node = image(child.digest) ?? {
            kind: 'manifest',
            digest: child.digest,
            size: child.size,
            missing: absent,
            children: [],
          };
          return { ...node, ...(platform && { platform }) };
        }),
        ...(document.config ? [leaf('config', document.config)] : []),
        ...(document.layers ?? []).map((layer) => leaf('layer', layer)),
      ];
      const kind = document.manifests ? 'index' : document.artifactType ? 'artifact' : 'manifest';
      return { kind, digest, size: field<number>(record, 'size') ?? 0, children };
    };
    return {
      name,
      tags: under(`tag/${name}:`).map(([tag, value]) => ({ tag, digest: field<string>(value, 'digest') ?? '' })),
      manifests: under(`manifest/${name}@`).map(([digest, value]) => ({
        digest,
        kind: image(digest)?.kind ?? 'manifest',
        size: field<number>(value, 'size') ?? 0,
        kept: field(value, 'maintained') === true,
        named:
          has(`tagged/${name}@${digest}/`) || has(`use/${name}@${digest}/`) || field(value, 'subject') !== undefined,
      })),
      blobs: under(`link/${name}@`).map(([digest]) => ({
        digest,
        size: blobSize(digest),
        used: has(`use/${name}@${digest}/`),
      })),
      image,
    };
  });
  const sessions = under('upload/').map(([id, value]) => ({
    id,
    repository: field<string>(value, 'repository') ?? '',
    offset: parse<{ meter: { count: number } }>(value)?.meter.count ?? 0,
  }));
  // The bytes of small objects lie among the records.
  const small = under('bytes/').reduce((sum, [, bytes]) => sum + bytes.length, 0);
  const named = new Set(under('object/').map(([name]) => name));
  return {
    repositories,
    sessions,
    orphans: objects.filter(({ name }) => !named.has(name)),
    bytes: objects.reduce((sum, { size }) => sum + size, 0) + small,
  };
}

function parse<T>(text: string | undefined): T | undefined {
  try {
    return text === undefined ? undefined : (JSON.parse(text) as T);
  } catch {
    return undefined;
  }
}

function field<T>(text: string | undefined, name: string): T | undefined {
  return parse<Record<string, T>>(text)?.[name];
}
