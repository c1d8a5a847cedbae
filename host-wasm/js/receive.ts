import type { Host } from './call.js';
import type { Coming } from './coming.js';
import type { Call as EngineCall } from './pkg/orlop_wasm.js';
import { Pause, joined } from './request.js';
import type { BodyReader } from './request.js';
import type { ObjectWriter } from './storage.js';

/** What is to be received. */
interface Reception {
  body: BodyReader;
  /** The new object. */
  object: string;
  /** So many bytes at most are given back, and make no object. */
  keep: number;
  /** After so many milliseconds it is told that more may come; `null` is never. */
  pause: number | null;
  /** Whether the object stays open when its body breaks off: the next one goes on with it. */
  goesOn?: boolean;
  /** Who is shown the bytes that make an object. */
  coming?: Coming | undefined;
}

/** What came. */
interface Received {
  end: 'whole' | 'too-large' | 'cut' | 'later';
  kept: Uint8Array | undefined;
  /** In milliseconds. */
  took: number;
}

/** Streams bodies past the meter of a call into objects, one at a time. */
export class Receiver {
  /** The object that is being received into, while its body is still coming. */
  private open: { name: string; writer: ObjectWriter } | undefined;

  constructor(
    private readonly host: Host,
    private readonly inner: EngineCall,
    private readonly crashed: () => boolean,
  ) {}

  /** Whether that object is still open. */
  receives(object: string): boolean {
    return this.open?.name === object;
  }

  async receive({ body, object, keep, pause: pauseMs, goesOn, coming }: Reception): Promise<Received> {
    const { inner } = this;
    const { storage, now } = this.host;
    const pause = new Pause(pauseMs);
    const began = now();
    const held: Uint8Array[] = [];
    let size = 0;
    let end: Received['end'] | undefined;
    const write = async () => {
      this.open ??= { name: object, writer: storage.writer(object) };
      for (const piece of held.splice(0)) {
        await this.open.writer.write(piece);
        coming?.show(piece);
      }
    };
    try {
      for (let piece = await body.next(pause); piece; piece = pause.isOver ? undefined : await body.next(pause)) {
        if (this.crashed()) break;
        const taken = inner.show(piece);
        if (taken > 0) held.push(piece.subarray(0, taken));
        size += taken;
        if (this.open || size > keep) await write();
        if (taken < piece.length) {
          end = 'too-large';
          await body.cancel();
          break;
        }
      }
      if (this.crashed()) throw new Error('the call has crashed');
      end ??= body.end ?? 'later';
      const at = now();
      if (end === 'later') {
        if (size > 0) await write();
      } else if (this.open && !(goesOn && end === 'cut')) {
        await this.open.writer.close(at);
        this.open = undefined;
        inner.made(at);
      }
      return { end, kept: held.length > 0 ? joined(held) : undefined, took: at - began };
    } catch (error) {
      await this.abandon().catch(() => {});
      throw error;
    } finally {
      pause.end();
    }
  }

  /** Gives up the object that is being received, if there is one. */
  async abandon(): Promise<void> {
    const { open } = this;
    this.open = undefined;
    await open?.writer.abort();
  }
}
