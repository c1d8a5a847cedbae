import { ObjectIndex, StorageBusy, StorageFull } from './storage.js';
import type { ObjectWriter, RecordChanges, Storage } from './storage.js';

/** How many bytes are kept as one entry: few enough to hold, enough to spread the cost of an entry. */
const CHUNK = 1 << 20;

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

  async open(): Promise<[string, Uint8Array][]> {
    await this.lock();
    const opening = indexedDB.open(this.name, 1);
    opening.onupgradeneeded = () => {
      opening.result.createObjectStore('records');
      opening.result.createObjectStore('objects');
      opening.result.createObjectStore('chunks', { autoIncrement: true });
    };
    this.database = await request(opening);
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
      for (const key of changes.delete) records!.delete(key);
      for (const [key, value] of changes.put) records!.put(value, key);
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
      },
      abort,
    };
  }

  async assemble(name: string, parts: string[], since: number): Promise<void> {
    await this.put(name, { since, chunks: this.index.chunksOf(parts) });
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

  async remove(name: string): Promise<void> {
    const unused = this.index.remove(name);
    await this.change(['objects', 'chunks'], 'relaxed', ([objects, chunks]) => {
      objects!.delete(name);
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

  private async put(name: string, entry: Entry): Promise<void> {
    await this.change(['objects'], 'strict', ([objects]) => objects!.put(entry, name));
    this.index.add(name, entry.chunks, entry.since);
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

  /** Keeps others out, where the platform has locks. */
  private async lock(): Promise<void> {
    const locks = globalThis.navigator?.locks;
    if (!locks) return;
    await new Promise<void>((resolve, reject) => {
      const held = locks.request(`orlop:${this.name}`, { ifAvailable: true }, (lock) => {
        if (!lock) return reject(new StorageBusy('another tab or worker has this registry open'));
        resolve();
        return new Promise<void>((release) => (this.unlock = release));
      });
      held.catch(reject);
    });
  }
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
    return new StorageFull('the browser gives this site no more space; delete images and sweep, or reset the registry');
  }
  return error ?? new Error('the transaction was ended');
}
