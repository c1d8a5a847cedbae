/** Requests to a registry, and what it answers. */

/** The body of a request. A stream that fails counts as a connection that breaks: what came is kept. */
export type Body = null | undefined | string | Uint8Array | ArrayBuffer | Blob | ReadableStream<Uint8Array>;

/** A request. */
export interface RegistryRequest {
  method: string;
  /** Path and query, such as `/v2/app/tags/list?n=5`. */
  target: string;
  headers?: [name: string, value: string][] | Record<string, string>;
  body?: Body;
  /** How many bytes of the body arrive before the connection breaks; all, if not given. */
  cutAfter?: number;
  /** Whether the length of the body is kept from the registry, as chunked transfer encoding does. */
  chunked?: boolean;
}

/** A piece of a body: bytes, or a range of a stored object. */
export type Piece = Uint8Array | [object: string, start: number, end: number];

/**
 * A response. Its body is read once or several times, as a whole or as a stream. One that comes from an upstream and is
 * not kept is read once; it throws when the upstream does not send all of it.
 */
export class RegistryResponse {
  constructor(
    readonly status: number,
    readonly headers: [name: string, value: string][],
    private readonly source: () => AsyncIterable<Uint8Array>,
    /** The bytes of the body, if they are in memory anyhow. */
    readonly inMemory: Uint8Array | undefined,
    /** Why the storage failed, or an upstream (502), if one did; clients are not told. */
    readonly fault?: string,
    /** The stored objects that the body is read from, if it is streamed. */
    readonly objects: string[] = [],
  ) {}

  /** The first header field of that name. */
  header(name: string): string | undefined {
    return this.headers.find(([given]) => given.toLowerCase() === name.toLowerCase())?.[1];
  }

  /** The body as a stream. */
  stream(): ReadableStream<Uint8Array> {
    const pieces = this.source()[Symbol.asyncIterator]();
    return new ReadableStream({
      async pull(controller) {
        const { value, done } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await pieces.return?.();
      },
    });
  }

  /** The body as a whole. */
  async bytes(): Promise<Uint8Array> {
    if (this.inMemory) return this.inMemory;
    const pieces: Uint8Array[] = [];
    for await (const piece of this.source()) pieces.push(piece);
    return joined(pieces);
  }

  async text(): Promise<string> {
    return new TextDecoder().decode(await this.bytes());
  }

  async json(): Promise<unknown> {
    return JSON.parse(await this.text());
  }
}

/** One array of several. */
export function joined(pieces: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** How many bytes a body has, where that is known beforehand. */
export function lengthOf(body: Body): number | undefined {
  if (body == null) return 0;
  if (typeof body === 'string') return new TextEncoder().encode(body).length;
  if (body instanceof Blob) return body.size;
  if (body instanceof ReadableStream) return undefined;
  return body.byteLength;
}

/** How a body that is read ends. */
export type BodyEnd = 'whole' | 'cut';

/** The longest time that a timer can be set to, in milliseconds. */
const LONGEST = 2 ** 31 - 1;

/** A time after which a body that is still coming is to be looked at. It must be ended. */
export class Pause {
  isOver = false;
  readonly over: Promise<undefined>;
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** `ms` in milliseconds; `null` if it is never over. */
  constructor(ms: number | null) {
    this.over = new Promise((resolve) => {
      if (ms === null) return;
      const end = () => {
        this.isOver = true;
        resolve(undefined);
      };
      this.timer = setTimeout(end, Math.min(ms, LONGEST));
    });
  }

  end(): void {
    clearTimeout(this.timer);
  }
}

/** Reads a body piece by piece. */
export class BodyReader {
  private stream: ReadableStreamDefaultReader<Uint8Array> | undefined;
  private whole: Uint8Array | undefined;
  private left: number;
  /** What has been asked of the stream and has not come yet. */
  private coming: Promise<ReadableStreamReadResult<Uint8Array>> | undefined;
  end: BodyEnd | undefined;

  constructor(body: Body, cutAfter: number | undefined) {
    this.left = cutAfter ?? Infinity;
    if (body == null) this.whole = new Uint8Array();
    else if (typeof body === 'string') this.whole = new TextEncoder().encode(body);
    else if (body instanceof Blob) this.stream = body.stream().getReader();
    else if (body instanceof ReadableStream) this.stream = body.getReader();
    else this.whole = body instanceof ArrayBuffer ? new Uint8Array(body) : body;
  }

  /** The next piece; nothing at the end, which `end` then tells, and nothing when the pause is over before it comes. */
  async next(pause?: Pause): Promise<Uint8Array | undefined> {
    if (this.end) return undefined;
    if (this.left <= 0) return this.ends('cut');
    let piece: Uint8Array | undefined;
    if (this.stream) {
      try {
        this.coming ??= this.stream.read();
        const read = await (pause ? Promise.race([this.coming, pause.over]) : this.coming);
        if (!read) return undefined;
        this.coming = undefined;
        piece = read.done ? undefined : read.value;
      } catch {
        return this.ends('cut');
      }
    } else {
      piece = this.whole;
      this.whole = undefined;
    }
    if (!piece) return this.ends(this.left === Infinity ? 'whole' : 'cut');
    piece = piece.subarray(0, this.left);
    this.left -= piece.length;
    return piece;
  }

  /** Lets go of what is left. */
  async cancel(): Promise<void> {
    await this.stream?.cancel().catch(() => {});
  }

  private ends(how: BodyEnd): undefined {
    this.end = how;
    return undefined;
  }
}
