import { ObjectIndex, StorageFull } from './storage.js';
import type { ObjectWriter, RecordChanges, Storage } from './storage.js';

interface Chunk {
  size: number;
  bytes: Uint8Array;
}

/** Keeps everything in memory, for as long as the page or process lives. */
export class MemoryStorage implements Storage {
  private readonly index = new ObjectIndex<Chunk>();
  private used = 0;

  /** `quota` is how many bytes the objects may have in all. */
  constructor(private readonly quota = Infinity) {}

  async open(): Promise<[string, Uint8Array][]> {
    return [];
  }

  commit(_: RecordChanges): void {}

  writer(name: string): ObjectWriter {
    const chunks: Chunk[] = [];
    return {
      write: (bytes) => {
        if (this.used + bytes.length > this.quota) throw new StorageFull(`only ${this.quota} bytes may be kept`);
        this.used += bytes.length;
        chunks.push({ size: bytes.length, bytes: bytes.slice() });
      },
      close: (since) => this.index.add(name, chunks, since),
      abort: () => this.free(chunks),
    };
  }

  join(name: string, from: string[], since: number): void {
    this.index.add(name, this.index.chunksOf(from), since);
  }

  info(name: string) {
    return this.index.info(name);
  }

  async *read(name: string, start: number, end: number): AsyncIterable<Uint8Array> {
    for (const [chunk, from, to] of this.index.within(name, start, end)) yield chunk.bytes.subarray(from, to);
  }

  remove(names: string[]): void {
    for (const name of names) this.free(this.index.remove(name));
  }

  list() {
    return this.index.list();
  }

  async reset(): Promise<void> {
    this.index.clear();
    this.used = 0;
  }

  close(): void {}

  private free(chunks: Chunk[]): void {
    for (const chunk of chunks) this.used -= chunk.size;
  }
}
