import { ObjectIndex, StorageBusy, StorageFormat, StorageFull } from './storage.js';
import type { ObjectWriter, RecordChanges, Storage } from './storage.js';

/** How many bytes are kept as one entry: few enough to hold, enough to spread the cost of an entry. */
const CHUNK = 1 << 20;

/**
 * The version of the database: that of the records and of the way in which objects are stored. A database of another
 * version is refused.
 */
const FORMAT = 2;

interface Chunk {
  size: number;
  id: number;
}

/** An object as it is stored. */
interface Entry {
  since: number;
  chunks: Chunk[];
}

/**
 * Keeps everything in IndexedDB, so that it is there again after a reload. One page or worker may have it open at a
 * time: the records are held in memory as well.
 *
 * Chunks of an object are written first and the entry that names them last, so a crash leaves at most chunks that
 * nothing names; the next `open` takes them away.
 */
export class IndexedDbStorage implements Storage {
  private readonly index = new ObjectIndex<Chunk>();
  private database: IDBDatabase | undefined;
  private unlock: () => void = () => {};

  constructor(private readonly name = 'orlop') {}

  /** Deletes what such a storage has kept, whatever its format. Throws `StorageBusy` while it is open. */
  static async delete(name = 'orlop'): Promise<void> {
    const unlock = await lock(name);
    try {
      await new Promise<void>((resolve, reject) => {
        const deleting = indexedDB.deleteDatabase(name);
        deleting.onsuccess = () => resolve();
        deleting.onerror = () => reject(told(deleting.error));
        deleting.onblocked = () => reject(new StorageBusy('another tab or worker has this registry open'));
      });
    } finally {
      unlock();
    }
  }

  async open(): Promise<[string, Uint8Array][]> {
    this.unlock = await lock(this.name);
    try {
      this.database = await database(this.name);
    } catch (error) {
      this.unlock();
      throw error;
    }
    const reading = this.database.transaction(['records', 'objects', 'chunks']);
    const all = (name: string) => {
      const store = reading.objectStore(name);
      return Promise.all([request(store.getAllKeys()), request(store.getAll())]);
    };
    const [[keys, values], [names, entries], ids] = await Promise.all([
      all('records') as Promise<[string[], Uint8Array[]]>,
      all('objects') as Promise<[string[], Entry[]]>,
      request(reading.objectStore('chunks').getAllKeys()) as Promise<number[]>,
    ]);
    // Objects that share a chunk share one description of it.
    const known = new Map<number, Chunk>();
    const once = (chunk: Chunk) => known.get(chunk.id) ?? (known.set(chunk.id, chunk), chunk);
    names.forEach((name, i) => this.index.add(name, entries[i]!.chunks.map(once), entries[i]!.since));
    const left = ids.filter((id) => !known.has(id));
    if (left.length > 0) {
      await this.change(['chunks'], 'relaxed', (stores) => left.forEach((id) => stores[0]!.delete(id)));
    }
    return keys.map((key, i) => [key, values[i]!]);
  }

  commit(changes: RecordChanges): Promise<void> {
    return this.change(['records'], changes.durable ? 'strict' : 'relaxed', ([records]) => {
      for (const [key, value] of changes.records) {
        if (value) records!.put(value, key);
        else records!.delete(key);
      }
    });
  }

  writer(name: string): ObjectWriter {
    const chunks: Chunk[] = [];
    let pending = new Uint8Array(CHUNK);
    let filled = 0;
    const flush = async () => {
      const bytes = pending.slice(0, filled);
      filled = 0;
      let id = 0;
      await this.change(['chunks'], 'relaxed', ([store]) => {
        const added = store!.add(bytes);
        added.onsuccess = () => (id = added.result as number);
      });
      chunks.push({ size: bytes.length, id });
    };
    const abort = async () => {
      if (chunks.length > 0) {
        await this.change(['chunks'], 'relaxed', ([store]) => chunks.forEach((chunk) => store!.delete(chunk.id)));
      }
    };
    return {
      write: async (bytes) => {
        for (let at = 0; at < bytes.length;) {
          const piece = bytes.subarray(at, at + CHUNK - filled);
          pending.set(piece, filled);
          filled += piece.length;
          at += piece.length;
          if (filled === CHUNK) await flush();
        }
      },
      close: async (since) => {
        if (filled > 0) await flush();
        pending = new Uint8Array();
        await this.put(name, { since, chunks });
        this.index.add(name, chunks, since);
      },
      abort,
    };
  }

  async join(name: string, from: string[], since: number): Promise<void> {
    const chunks = this.index.chunksOf(from);
    // In the index first: so whoever removes the others meanwhile leaves the chunks.
    this.index.add(name, chunks, since);
    try {
      await this.put(name, { since, chunks });
    } catch (error) {
      this.index.remove(name);
      throw error;
    }
  }

  info(name: string) {
    return this.index.info(name);
  }

  async *read(name: string, start: number, end: number): AsyncIterable<Uint8Array> {
    for (const [chunk, from, to] of this.index.within(name, start, end)) {
      const store = this.opened().transaction('chunks').objectStore('chunks');
      const bytes = (await request(store.get(chunk.id))) as Uint8Array | undefined;
      if (!bytes) throw new Error(`a chunk of ${name} is gone`);
      yield bytes.subarray(from, to);
    }
  }

  async remove(names: string[]): Promise<void> {
    const unused = names.flatMap((name) => this.index.remove(name));
    await this.change(['objects', 'chunks'], 'relaxed', ([objects, chunks]) => {
      for (const name of names) objects!.delete(name);
      for (const chunk of unused) chunks!.delete(chunk.id);
    });
  }

  list() {
    return this.index.list();
  }

  async reset(): Promise<void> {
    await this.change(['records', 'objects', 'chunks'], 'strict', (stores) => stores.forEach((store) => store.clear()));
    this.index.clear();
  }

  close(): void {
    this.database?.close();
    this.unlock();
  }

  private opened(): IDBDatabase {
    if (!this.database) throw new Error('the storage is not open');
    return this.database;
  }

  private put(name: string, entry: Entry): Promise<void> {
    return this.change(['objects'], 'strict', ([objects]) => objects!.put(entry, name));
  }

  /** One transaction: it is done when this is, or nothing of it has happened. */
  private change(
    names: string[],
    durability: 'strict' | 'relaxed',
    act: (stores: IDBObjectStore[]) => void,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const transaction = this.opened().transaction(names, 'readwrite', { durability });
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(told(transaction.error));
      act(names.map((name) => transaction.objectStore(name)));
    });
  }
}

/** How long to wait for a tab that is being closed, in milliseconds: its lock is free a moment after it is gone. */
const CLOSING = 5_000;

/** Keeps others out, where the platform has locks. Gives what lets them in again. */
async function lock(name: string): Promise<() => void> {
  const locks = globalThis.navigator?.locks;
  if (!locks) return () => {};
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(CLOSING);
    const held = locks.request(`orlop:${name}`, { signal }, () => new Promise<void>((release) => resolve(release)));
    held.catch((error: unknown) =>
      reject(signal.aborted ? new StorageBusy('another tab or worker has this registry open') : error),
    );
  });
}

/** Opens the database; one that is not there is made. */
function database(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(name, FORMAT);
    const refuse = (found: number | string) =>
      reject(
        new StorageFormat(
          `the registry in the database ${name} has format ${found}, and this version reads format ${FORMAT}: ` +
            `use the version that wrote it, or delete it with IndexedDbStorage.delete(${JSON.stringify(name)})`,
        ),
      );
    opening.onupgradeneeded = ({ oldVersion }) => {
      if (oldVersion > 0) {
        refuse(oldVersion);
        opening.transaction!.abort();
        return;
      }
      opening.result.createObjectStore('records');
      opening.result.createObjectStore('objects');
      opening.result.createObjectStore('chunks', { autoIncrement: true });
    };
    opening.onsuccess = () => resolve(opening.result);
    opening.onblocked = () => reject(new StorageBusy('another tab or worker has this registry open'));
    opening.onerror = async () => {
      if (opening.error?.name !== 'VersionError') return reject(told(opening.error));
      const known = await indexedDB.databases().catch(() => []);
      refuse(known.find((one) => one.name === name)?.version ?? 'another');
    };
  });
}

function request<T>(asked: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(told(asked.error));
  });
}

/** What went wrong, in our own words where we have some. */
function told(error: DOMException | null): Error {
  if (error?.name === 'QuotaExceededError') {
    return new StorageFull(
      'the browser gives this site no more space; delete images and collect garbage, or reset the registry',
    );
  }
  return error ?? new Error('the transaction was ended');
}
