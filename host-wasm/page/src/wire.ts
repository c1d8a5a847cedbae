/** What page and worker say to each other: plain values that can be copied. */
import type {
  Archive,
  Effect,
  ExportOptions,
  Imported,
  ImportOptions,
  Outcome,
  Performed,
  RegistryOptions,
  StoredInfo,
} from '../../js/index.js';

/** A request as it travels. */
export interface WireRequest {
  method: string;
  target: string;
  headers?: [string, string][];
  body?: Uint8Array | Blob | string | ReadableStream<Uint8Array> | null;
  cutAfter?: number;
  chunked?: boolean;
}

/** A response as it travels: up to `SHOWN` bytes of its body as they are, a longer body as a blob. */
export interface WireResponse {
  status: number;
  headers: [string, string][];
  body: Uint8Array | Blob;
  /** How long it took, in milliseconds. */
  ms: number;
  fault?: string;
}

/** The longest body that travels as bytes. */
export const SHOWN = 4 << 20;

/** A call under way, as it is shown. */
export interface CallState {
  id: number;
  title: string;
  /** Whether it fetches a blob for other calls. */
  fetches?: true;
  request?: WireRequest;
  performed: Performed[];
  /** What it asks for now; `Respond` at the end, `Over` after a crash. */
  effect: Effect;
  response?: WireResponse;
  report?: Record<string, unknown>;
}

/** Which registry a call goes to: that of the tab, the one that it mirrors, or one made for a replay. */
export type Which = 'main' | 'upstream' | 'lab';

/** Settings of a registry that travel. */
export type WireOptions = Omit<RegistryOptions, 'storage' | 'module' | 'now' | 'random' | 'mirrors'>;

/** What the names of the repositories begin with that the registry of the tab mirrors. */
export const MIRRORED = 'mirror/';

/** The registry that the one of the tab mirrors. */
export interface UpstreamState {
  /** Whether it fails at all that the mirror asks. */
  broken: boolean;
  /** What the mirror has asked it, the last at the end, and what it answered. */
  asked: { request: string; status: number }[];
}

/** What the tab's registry is asked. */
export interface RegistryApi {
  /** Opens the registry, or opens it anew with other options. Gives what went wrong, if anything did. */
  open(options: WireOptions): Promise<string | undefined>;
  /** Makes an empty registry in memory, for a replay. */
  openLab(options: WireOptions): Promise<void>;
  send(request: WireRequest, which?: Which): Promise<WireResponse>;
  begin(request: WireRequest, which?: Which): Promise<CallState>;
  beginGc(now: number): Promise<CallState>;
  step(id: number): Promise<CallState>;
  run(id: number): Promise<CallState>;
  crash(id: number): Promise<CallState>;
  fault(id: number, options: { full?: boolean; afterwards?: boolean }): Promise<CallState>;
  drop(id: number): Promise<void>;
  snapshot(): Promise<Snapshot>;
  watch(told: (change: { put: string[]; delete: string[] }) => void): Promise<void>;
  /** Is told of the fetches that calls begin while they are stepped: by the number of such a call. */
  watchFetches(told: (follower: number, fetch: CallState) => void): Promise<void>;
  upstream(): Promise<UpstreamState>;
  watchUpstream(told: (state: UpstreamState) => void): Promise<void>;
  /** Has the upstream fail at all that the mirror asks, or work again. */
  breakUpstream(broken: boolean): Promise<void>;
  exported(options: ExportOptions, told: (what: string, done: number, total: number) => void): Promise<Blob>;
  imported(
    archive: Archive,
    options: ImportOptions,
    told: (what: string, done: number, total: number) => void,
  ): Promise<Imported>;
  reset(): Promise<void>;
  bugs(): Promise<{ name: string; text: string }[]>;
  benchmark(): Promise<{ us: number; rounds: number }>;
}

/** Everything that is stored. */
export interface Snapshot {
  records: [string, string][];
  objects: StoredInfo[];
}

export type { Effect, Imported, Outcome, Performed };
