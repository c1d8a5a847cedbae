/** What the API under /api/v1 answers: see host-native/api/openapi.yaml. */

export type Deed = 'pull' | 'push' | 'delete';

export type Kind =
  'image' | 'index' | 'chart' | 'wasm' | 'model' | 'sbom' | 'signature' | 'attestation' | 'cache' | 'artifact';

export interface Repository {
  name: string;
  created?: string;
  bytes?: number;
  tags?: number;
  pushed?: string;
  mirror?: boolean;
  may?: Deed[];
}

export interface Repositories {
  repositories: Repository[];
  next?: string;
}

export type Entry =
  | ({ kind: 'repository' } & Repository)
  | { kind: 'folder'; name: string; repositories: number; more: boolean; bytes?: number; pushed?: string };

export interface Folder {
  entries: Entry[];
  next?: string;
}

export interface Found {
  repository: string;
  tag?: string;
}

export interface Results {
  results: Found[];
  next?: string;
}

export interface PlatformOf {
  platform: string;
  digest: string;
  bytes?: number;
}

export interface Tag {
  name: string;
  digest: string;
  pushed: string;
  imported?: string;
  pulled?: string;
  /** How often it was asked for, as far as that is counted. */
  pulls?: number;
  kind?: Kind;
  mediaType?: string;
  artifactType?: string;
  bytes?: number;
  platforms: PlatformOf[];
  protected?: boolean;
  damaged?: boolean;
}

export interface Tags {
  repository: string;
  created?: string;
  bytes: number;
  mirror?: boolean;
  may: Deed[];
  total: number;
  tags: Tag[];
  next?: string;
}

export type Annotations = Record<string, string>;

export interface Descriptor {
  digest: string;
  mediaType: string;
  size: number;
  artifactType?: string;
  annotations?: Annotations;
}

export interface Child extends Descriptor {
  bytes?: number;
  platform?: string;
}

/** A layer with the step that made it; a step that made none has no digest. */
export interface Layer extends Partial<Descriptor> {
  command?: string;
  created?: string;
  comment?: string;
}

export interface Referrer {
  digest: string;
  kind: Kind;
  artifactType?: string;
  size: number;
  annotations?: Annotations;
}

export interface Image {
  repository: string;
  digest: string;
  kind: Kind;
  mediaType: string;
  artifactType?: string;
  size: number;
  bytes?: number;
  pushed: string;
  imported?: string;
  pulled?: string;
  /** How often a client got it, as far as that is counted. */
  pulls?: number;
  /** Which users have pulled it lately, the last one first. */
  pulledBy?: { user: string; pulled: string }[];
  annotations: Annotations;
  subject?: string;
  tags: string[];
  listedBy: string[];
  manifests: Child[];
  configDescriptor?: Descriptor;
  /** As whoever pushed it wrote it: nothing of it can be taken for granted. */
  config?: unknown;
  layers: Layer[];
  referrers: Referrer[];
  signed: boolean;
  protected: boolean;
  may: Deed[];
}

export interface Session {
  user: string | null;
  administrator: boolean;
  groups: string[];
  csrf: string | null;
  expires: string | null;
  version: string;
  sign_in: { password: boolean; oidc: { name: string; title: string }[] };
  playground: boolean;
  anonymous_pull: boolean;
  /** The server lets nobody change anything. */
  read_only: boolean;
}

export interface Token {
  id: string;
  name: string;
  repositories: string[];
  actions: Deed[];
  created: string;
  expires: string | null;
  last_used: string | null;
  /** Told once, by the answer that made it. */
  secret?: string;
}

export interface Tokens {
  tokens: Token[];
  next?: string;
}
