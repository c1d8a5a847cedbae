import { Engine } from './pkg/orlop_wasm.js';
import { Call } from './call.js';
import type { Host } from './call.js';
import { load } from './engine.js';
import type { ModuleSource } from './engine.js';
import { exportImages } from './export.js';
import type { ExportOptions } from './export.js';
import { importArchive } from './import.js';
import type { Archive, Imported, ImportOptions } from './import.js';
import { MemoryStorage } from './memory.js';
import { RegistryResponse, lengthOf } from './request.js';
import type { Body, RegistryRequest } from './request.js';
import { StorageRefused } from './storage.js';
import type { Storage, StoredInfo } from './storage.js';
import { Upstreams } from './upstream.js';
import type { Upstream } from './upstream.js';

/** How often a call is made again because an object that it found was collected before it was read. */
const ATTEMPTS = 4;

/** What can be decided. What is left out is as `orlop serve` has it. */
export interface RegistryOptions {
  /** Where records and bytes are kept; in memory, if not given. */
  storage?: Storage;
  /** Where the WebAssembly comes from, if not from beside this module. */
  module?: ModuleSource;
  /** The clock: milliseconds since 1970. */
  now?: () => number;
  /** Sixteen random bytes for each call: nobody may be able to guess them. */
  random?: () => Uint8Array;
  /** The largest manifest, in bytes. */
  manifestLimit?: number;
  /** The largest blob, in bytes. */
  blobLimit?: number;
  /** Accept manifests whose blobs are not there. */
  allowSparse?: boolean;
  allowDelete?: boolean;
  mountFromAnywhere?: boolean;
  /** In which repositories a tag becomes the list of the images pushed to it: patterns such as `team/**`. */
  assemble?: string[];
  uploadLifetimeMs?: number;
  blobGraceMs?: number;
  untaggedLifetimeMs?: number;
  /** How long bytes stay after the record that named them is gone, for records that are restored without them; else 0. */
  keepErasedMs?: number;
  /**
   * Longer than any call can live: bytes that are older, and that no record names, are garbage. A storage is opened with
   * the same each time.
   */
  callLifetimeMs?: number;
  /** The largest first body of an upload that is kept among the records, in bytes. */
  smallObject?: number;
  /** How many objects a blob has before small ones are joined. */
  blobObjects?: number;
  /** Repositories that stand in front of those of other registries. */
  mirrors?: MirrorOptions[];
  /** What the registry is called in `Via`; no other one may be called so. Something random, if not given. */
  via?: string;
  /** A bug to plant, by the name that `bugs()` gives. */
  bug?: string;
}

/**
 * Repositories of other registries, under a prefix of names: what is not here is fetched from there, kept, and answered
 * from here from then on. Times are in milliseconds; `Infinity` is for ever.
 */
export interface MirrorOptions {
  /** What the names of the repositories begin with here, such as `hub/`; all names, if not given. */
  prefix?: string;
  /** Where the repositories are; several are asked in their order. */
  upstream: Upstream | Upstream[];
  /** What a name of one component has in front of it at the upstream: `library/` for Docker Hub. */
  official?: string;
  /** By which names clients may mean this mirror with `?ns=`, as containerd does: `docker.io`. */
  namespaces?: string[];
  /** For how long a tag is answered without asking whether it has moved; else a minute. */
  freshMs?: number;
  /** Tags that never move: patterns such as `v*`. Once they are here, the upstream is not asked. */
  fixed?: string[];
  /** For how long a tag is answered when the upstream cannot be asked; else 30 days. */
  staleMs?: number;
  /** For how long a tag is answered that the upstream says it does not have any more; else an hour. */
  goneMs?: number;
  /** The repositories that are mirrored, by their names at the upstream: patterns; all, if not given. */
  only?: string[];
  /** Those that are not. */
  deny?: string[];
  /** The platforms for which images of an index are fetched, such as `linux/arm64`; all, if not given. */
  platforms?: string[];
  /** Whether its repositories are ordinary ones for now, which can be pushed to, and no upstream is asked. */
  offline?: boolean;
  /** The largest blob that is fetched, in bytes. */
  blobLimit?: number;
  /**
   * How many bytes its repositories may have. `Registry.evict` takes out of a mirror that has more the blobs that were
   * not pulled for longest; else it keeps what it has.
   */
  max?: number;
  /**
   * `caller`: the upstream is asked with the caller's own `Authorization`, each time, and what it does not give is not
   * answered. Else it is asked without a login, and who may see what is here is for you to say: as with `offline`, which
   * does not go with this.
   */
  verify?: 'caller';
}

/** What an eviction did. */
export interface Eviction {
  /** How many blobs were taken out of a repository. */
  blobs: number;
  /** How many bytes these have. */
  bytes: number;
}

/** What a garbage collection did. */
export interface GcReport {
  uploads_expired: number;
  lists_removed: number;
  manifests_removed: number;
  links_removed: number;
  blobs_removed: number;
  repositories_removed: number;
  events_removed: number;
  orphans_removed: number;
  bytes_freed: number;
  objects_released: number;
  bytes_released: number;
  objects_erased: number;
  objects_kept: number;
  bytes_kept: number;
  records_damaged: number;
  fault: string | null;
  [more: string]: unknown;
}

/** A change of the records. */
export interface RecordsChanged {
  put: string[];
  delete: string[];
}

/** A container registry. */
export class Registry {
  private readonly listeners = new Set<(changes: RecordsChanged) => void>();
  private last: Promise<unknown> = Promise.resolve();
  /** What calls do behind their answers. */
  private readonly rests = new Set<Promise<void>>();
  private readonly host: Host;

  private constructor(
    private readonly engine: Engine,
    private readonly storage: Storage,
    ambient: Pick<Host, 'now' | 'random' | 'upstreams'>,
  ) {
    this.host = {
      engine,
      storage,
      ...ambient,
      fetches: new Map(),
      finish: (call) => this.finish(call),
      exclusively: (act) => {
        const turn = this.last.then(act, act);
        this.last = turn.catch(() => {});
        return turn;
      },
      changed: (changes) => this.listeners.forEach((listener) => listener(changes)),
    };
  }

  /** Opens a registry, with what its storage has kept. Throws `StorageRefused` if that is not for such a registry. */
  static async open(options: RegistryOptions = {}): Promise<Registry> {
    const {
      storage = new MemoryStorage(),
      module,
      now = Date.now,
      random = randomly,
      mirrors = [],
      ...decided
    } = options;
    await load(module);
    const upstreams = new Upstreams(now);
    const named = mirrors.map(({ upstream, ...mirror }) => ({
      ...mirror,
      upstreams: [upstream].flat().map((one) => upstreams.add(one)),
    }));
    const engine = new Engine(JSON.stringify({ via: viaName(), ...decided, mirrors: named }, forEver));
    for (const [key, value] of await storage.open()) engine.restore(key, value);
    const registry = new Registry(engine, storage, { now, random, upstreams });
    try {
      await registry.agree();
    } catch (error) {
      storage.close();
      engine.free();
      throw error;
    }
    return registry;
  }

  /** Agrees with the registries that had the storage before. The first one writes what all must agree on. */
  private async agree(): Promise<void> {
    const call = new Call(this.host, this.engine.agree(this.host.now()));
    try {
      await call.run();
      const refused = call.refused();
      if (refused !== undefined) throw new StorageRefused(`the storage cannot be opened: ${refused}`);
    } finally {
      call.free();
    }
  }

  /** Sends a request and waits for its response. Clean-up may follow it: see `idle`. */
  async send(request: RegistryRequest, body: Body = request.body): Promise<RegistryResponse> {
    for (let attempt = 1; ; attempt++) {
      const call = this.begin(request, body);
      try {
        if (!call.lookUp()) await call.answer();
        const response = call.response();
        // A blob may have been deleted and collected since: then the call is made again.
        if (attempt === ATTEMPTS || this.isWhole(response)) return response;
      } finally {
        this.finish(call);
      }
    }
  }

  /** Waits until no call that was sent has anything left to do behind its answer. */
  async idle(): Promise<void> {
    while (this.rests.size > 0) await Promise.all(this.rests);
  }

  /** Begins a call, which then stands at its first effect. */
  begin(request: RegistryRequest, body: Body = request.body): Call {
    const { headers = [], cutAfter, chunked } = request;
    const pairs = Array.isArray(headers) ? headers : Object.entries(headers);
    const inner = this.engine.call(
      request.method,
      request.target,
      pairs.flat(),
      chunked ? undefined : lengthOf(body),
      this.host.now(),
      this.host.random(),
    );
    return new Call(this.host, inner, body, cutAfter);
  }

  /** Begins a garbage collection, as if it were `now`. */
  beginGc(now = this.host.now()): Call {
    return new Call({ ...this.host, now: () => now }, this.engine.gc(now, this.host.random()));
  }

  /** Collects garbage: gives back the space of what is no longer needed. */
  async gc(now?: number): Promise<GcReport> {
    const call = this.beginGc(now);
    try {
      await call.run();
      return call.report() as GcReport;
    } finally {
      call.free();
    }
  }

  /** Takes out of mirrors that have more bytes than their `max` the blobs that were not pulled for longest. */
  async evict(): Promise<Eviction> {
    const call = new Call(this.host, this.engine.evict(this.host.now(), this.host.random()));
    try {
      await call.run();
      const report = call.report() as Eviction | { fault: string };
      if ('fault' in report) throw new Error(`blobs cannot be evicted: ${report.fault}`);
      return report;
    } finally {
      call.free();
    }
  }

  /** The records whose keys begin with `prefix`, in the order of their keys. */
  records(prefix = ''): [key: string, value: Uint8Array][] {
    const flat = this.engine.records(prefix) as (string | Uint8Array)[];
    const records: [string, Uint8Array][] = [];
    for (let i = 0; i < flat.length; i += 2) records.push([flat[i] as string, flat[i + 1] as Uint8Array]);
    return records;
  }

  /** The bytes at rest. */
  objects(): StoredInfo[] {
    return this.storage.list();
  }

  /** Every image, or those that `options` mean, as an OCI layout in a tar archive. */
  export(options: ExportOptions = {}): ReadableStream<Uint8Array> {
    return exportImages((request) => this.send(request), options);
  }

  /** Pushes what an archive holds: an OCI layout or what `docker save` wrote. All of it, or nothing. */
  import(archive: Archive, options: ImportOptions = {}): Promise<Imported> {
    return importArchive((request) => this.send(request), archive, options);
  }

  /** Calls `listener` after every change of the records; what it gives back ends that. */
  onChange(listener: (changes: RecordsChanged) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** Forgets everything. */
  async reset(): Promise<void> {
    await this.host.exclusively(async () => {
      await this.storage.reset();
      this.engine.clear();
    });
    await this.agree();
    this.host.changed?.({ put: [], delete: [] });
  }

  /** Closes the registry when it is idle; what its storage keeps is there for the next one. */
  async close(): Promise<void> {
    await this.idle();
    this.storage.close();
    this.engine.free();
  }

  /** The bugs that can be planted. */
  static async bugs(): Promise<{ name: string; text: string }[]> {
    await load();
    return JSON.parse(Engine.bugs()) as { name: string; text: string }[];
  }

  /** The engine and storage, for hosts of tests. */
  get inside(): Host {
    return this.host;
  }

  private isWhole(response: RegistryResponse): boolean {
    return response.objects.every((object) => this.storage.info(object) !== undefined);
  }

  /** Lets go of a call that was answered, as soon as it has ended. */
  private finish(call: Call): void {
    if (call.ended) return call.free();
    const rest = call.run().finally(() => {
      call.free();
      this.rests.delete(rest);
    });
    this.rests.add(rest);
  }
}

function randomly(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(16));
}

/** A name for `Via` that no other registry has. */
function viaName(): string {
  const digits = Array.from(randomly().subarray(0, 4), (byte) => byte.toString(16).padStart(2, '0'));
  return `orlop-${digits.join('')}`;
}

/** JSON has no `Infinity`. */
function forEver(_: string, value: unknown): unknown {
  return value === Infinity ? Number.MAX_SAFE_INTEGER : value;
}
