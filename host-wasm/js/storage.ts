/** What a registry keeps, and where. */

/** There is no space left. */
export class StorageFull extends Error {
  override name = 'StorageFull';
}

/** The storage is out of reach for the moment: the same may well succeed in a few seconds. Clients get a 503. */
export class StorageUnavailable extends Error {
  override name = 'StorageUnavailable';
}

/** Another page or worker has the storage open. */
export class StorageBusy extends Error {
  override name = 'StorageBusy';
}

/** What is stored was written by another version of this package, in a format that this one does not read. */
export class StorageFormat extends Error {
  override name = 'StorageFormat';
}

/**
 * The records in the storage are not for the registry that was to be opened: they have another format, or were written
 * with another lifetime of calls.
 */
export class StorageRefused extends Error {
  override name = 'StorageRefused';
}

/** An object at rest: bytes of a blob or of an upload. It is written once. */
export interface StoredInfo {
  /** What it is called. */
  name: string;
  /** Its size in bytes. */
  size: number;
  /** When it was written, in milliseconds since 1970. */
  since: number;
}

/** Changes of records: all of them happen, or none. */
export interface RecordChanges {
  /** In the order in which they are made: a key and its new value, or no value to remove the record. */
  records: [key: string, value: Uint8Array | undefined][];
  /** Whether they must outlive a power cut once the promise is kept. */
  durable: boolean;
}

/** Writes one new object. Nothing of it is there before `close` is done. */
export interface ObjectWriter {
  write(chunk: Uint8Array): void | Promise<void>;
  close(since: number): void | Promise<void>;
  abort(): void | Promise<void>;
}

/**
 * Keeps records and objects. Methods may throw `StorageFull` and
 * `StorageUnavailable`. What can be done at once is done at once: no promise.
 */
export interface Storage {
  /** Opens it and gives the records. */
  open(): Promise<Iterable<[string, Uint8Array]>>;
  commit(changes: RecordChanges): void | Promise<void>;
  writer(name: string): ObjectWriter;
  /** Makes an object out of others, in order; they stay. Throws when one is not there. */
  join(name: string, from: string[], since: number): void | Promise<void>;
  info(name: string): StoredInfo | undefined;
  /** The bytes from `start` up to `end`, in pieces. */
  read(name: string, start: number, end: number): AsyncIterable<Uint8Array>;
  /** Removes objects; those that are not there are passed by. */
  remove(names: string[]): void | Promise<void>;
  list(): StoredInfo[];
  /** Forgets everything. */
  reset(): Promise<void>;
  close(): void;
}

/** The objects that there are, and of which chunks they are made. Chunks are shared between objects. */
export class ObjectIndex<Chunk extends { size: number }> {
  readonly objects = new Map<string, { size: number; since: number; chunks: Chunk[] }>();
  private readonly uses = new Map<Chunk, number>();

  add(name: string, chunks: Chunk[], since: number): void {
    const size = chunks.reduce((sum, chunk) => sum + chunk.size, 0);
    this.objects.set(name, { size, since, chunks });
    for (const chunk of chunks) this.uses.set(chunk, (this.uses.get(chunk) ?? 0) + 1);
  }

  /** The chunks of objects, in order. */
  chunksOf(names: string[]): Chunk[] {
    return names.flatMap((name) => {
      const object = this.objects.get(name);
      if (!object) throw new Error(`${name} is not there`);
      return object.chunks;
    });
  }

  /** Takes an object out: the chunks that nothing uses any more. */
  remove(name: string): Chunk[] {
    const unused: Chunk[] = [];
    for (const chunk of this.objects.get(name)?.chunks ?? []) {
      const uses = (this.uses.get(chunk) ?? 1) - 1;
      if (uses > 0) {
        this.uses.set(chunk, uses);
      } else {
        this.uses.delete(chunk);
        unused.push(chunk);
      }
    }
    this.objects.delete(name);
    return unused;
  }

  info(name: string): StoredInfo | undefined {
    const object = this.objects.get(name);
    return object && { name, size: object.size, since: object.since };
  }

  list(): StoredInfo[] {
    return [...this.objects].map(([name, { size, since }]) => ({ name, size, since }));
  }

  /** The chunks that hold the bytes from `start` up to `end`, each with the part of it that is meant. */
  *within(name: string, start: number, end: number): Iterable<[Chunk, number, number]> {
    let at = 0;
    for (const chunk of this.objects.get(name)?.chunks ?? []) {
      const [from, to] = [Math.max(start - at, 0), Math.min(end - at, chunk.size)];
      if (from < to) yield [chunk, from, to];
      at += chunk.size;
      if (at >= end) return;
    }
  }

  clear(): void {
    this.objects.clear();
    this.uses.clear();
  }
}
