/** Bodies that come from upstreams while they are sent on. */
import { Hasher } from './pkg/orlop_wasm.js';
import type { Fetched } from './pkg/orlop_wasm.js';
import { BodyReader } from './request.js';

/**
 * A blob that is being fetched from an upstream: its bytes as they come, for every call that wants them. They lie in
 * memory until the fetch is over and the last reader has them. The last byte is given out only when all are those of the
 * digest.
 */
export class Coming {
  private readonly pieces: Uint8Array[] = [];
  private count = 0;
  private size: number | undefined;
  private verified = false;
  private broken = false;
  private isOver = false;
  /** What the fetch came to; nothing if it crashed. */
  fetched: Fetched | undefined;
  private wake = () => {};
  private change = this.next();

  /** `ended` is called when the fetch is over. */
  constructor(private readonly ended: () => void) {}

  /** An upstream sends the bytes from `at` on, of `size` in all. */
  begins(at: number, size: number | undefined): void {
    // What has been given out cannot be taken back: another upstream may send other bytes.
    if (at < this.count) this.broken = true;
    this.size = size;
    this.changed();
  }

  /** The next bytes. */
  show(piece: Uint8Array): void {
    this.pieces.push(piece);
    this.count += piece.length;
    this.changed();
  }

  /** All bytes are here, and are those of the digest. */
  verify(): void {
    this.verified = true;
    this.changed();
  }

  /** The fetch is over. */
  over(fetched: Fetched | undefined): void {
    if (this.isOver) return;
    this.isOver = true;
    this.fetched = fetched;
    this.ended();
    this.changed();
  }

  /** Waits until bytes come, and says how many there will be; nothing when the fetch is over before. */
  async begun(): Promise<number | undefined> {
    while (!this.isOver && (this.broken || this.size === undefined || this.readable === 0)) await this.change;
    return this.isOver ? undefined : this.size;
  }

  /** The bytes from `start` up to `end`. Throws when they do not come. */
  async *read(start: number, end: number): AsyncIterable<Uint8Array> {
    let at = 0;
    for (let i = 0; start < end;) {
      if (this.broken) throw new Error('the upstream broke off, and another one begins anew');
      const piece = this.pieces[i];
      const until = Math.min(end, this.readable);
      if (piece && start >= at + piece.length) {
        at += piece.length;
        i++;
      } else if (piece && start < until) {
        const part = piece.subarray(start - at, until - at);
        yield part;
        start += part.length;
      } else if (this.isOver) {
        throw new Error('the blob could not be fetched to its end');
      } else {
        await this.change;
      }
    }
  }

  /** How many bytes may be given out. */
  private get readable(): number {
    return this.verified ? this.count : Math.max(0, this.count - 1);
  }

  private changed(): void {
    this.wake();
    this.change = this.next();
  }

  private next(): Promise<void> {
    return new Promise((resolve) => (this.wake = resolve));
  }
}

/**
 * A body that an upstream sends for one call: so many bytes, which can be read once. The last one is given out only when
 * there are so many and, with a digest, all are those of it.
 */
export class Relaying {
  private readonly reader: BodyReader;

  constructor(
    body: ReadableStream<Uint8Array>,
    private readonly length: number,
    private readonly digest: string | undefined,
  ) {
    this.reader = new BodyReader(body, undefined);
  }

  /** The bytes. Throws when they are not as they must be, or were read before. */
  async *read(): AsyncIterable<Uint8Array> {
    const { reader, length, digest } = this;
    const hasher = digest === undefined ? undefined : new Hasher(digest.startsWith('sha512:'));
    let count = 0;
    let last: Uint8Array | undefined;
    try {
      for (let piece = await reader.next(); piece && count <= length; piece = await reader.next()) {
        if (piece.length === 0) continue;
        count += piece.length;
        hasher?.update(piece);
        if (last) yield last;
        if (piece.length > 1) yield piece.subarray(0, -1);
        last = piece.subarray(-1);
      }
      const isRight = reader.end === 'whole' && count === length && (!hasher || hasher.digest() === digest);
      if (!isRight) throw new Error('the upstream has sent something else, or not all of it');
      if (last) yield last;
    } finally {
      hasher?.free();
      await this.cancel();
    }
  }

  /** Lets go of what is left. */
  cancel(): Promise<void> {
    return this.reader.cancel();
  }
}
