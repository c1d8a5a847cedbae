/** Writes calls down as `tests/integration/transcripts.rs` does, so that both can be held against the same files. */
import { Registry } from '../js/index.js';
import type { Call, Effect, Meter, Outcome, Performed, RegistryRequest, Shown, StoredObject } from '../js/index.js';

/** A request of a story. */
export interface Told extends RegistryRequest {
  headers?: [string, string][];
  body?: string;
}

/** What every response has. */
const ALWAYS = ['Docker-Distribution-API-Version', 'X-Content-Type-Options'];

export class Scribe {
  private lines: string[] = [];
  private readonly names = new Map<string, number>();

  private constructor(
    readonly registry: Registry,
    private readonly clock: { now: number },
  ) {}

  static async begin(title: string): Promise<Scribe> {
    const clock = { now: 0 };
    let calls = 0;
    // Numbers in order, as the reference host draws them.
    const random = () => {
      const bytes = new Uint8Array(16);
      new DataView(bytes.buffer).setUint32(12, ++calls);
      return bytes;
    };
    const registry = await Registry.open({ assemble: ['multi/**'], now: () => clock.now, random });
    const scribe = new Scribe(registry, clock);
    scribe.say(title);
    return scribe;
  }

  advance(ms: number): void {
    this.clock.now += ms;
  }

  /** A call that belongs to the story and is not written down. */
  async quietly(request: Told): Promise<void> {
    const { status } = await this.registry.send(request);
    if (status >= 300) throw new Error(`${request.method} ${request.target} gave ${status}`);
  }

  /** The session that was opened last. */
  session(): string {
    const uploads = this.registry.records('upload/');
    return `/v2/app/blobs/${uploads.at(-1)![0].replace('upload/', 'uploads/')}`;
  }

  /** A call, with something that may happen before an effect. */
  async call(
    request: Told,
    why = '',
    meanwhile: (standing: string) => Promise<string | undefined> = async () => undefined,
  ): Promise<void> {
    this.say('');
    if (why) this.say(`# ${why}`);
    this.say(asked(request));
    const call = this.registry.begin(request);
    for (;;) {
      const event = await meanwhile(call.standing);
      if (event) this.say(`  ~ ${event}`);
      if (call.ended) break;
      await this.step(call);
    }
    this.say(answered(call));
  }

  async sweep(): Promise<void> {
    this.say('\nsweep');
    const call = this.registry.beginSweep();
    while (!call.ended) await this.step(call);
    const r = call.report() as Record<string, number>;
    this.say(
      `= ${r['uploads_expired']} uploads expired, ${r['lists_removed']} lists, ${r['manifests_removed']} manifests, ` +
        `${r['links_removed']} links, ${r['blobs_removed']} blobs, ${r['repositories_removed']} repositories and ` +
        `${r['strays_removed']} strays removed, ${r['bytes_freed']} bytes freed`,
    );
  }

  text(): string {
    return `${this.lines.join('\n')}\n`;
  }

  private async step(call: Call): Promise<void> {
    await call.step();
    const performed = call.performed.at(-1)!;
    this.say(`  ${question(performed.effect)}`);
    const outcome = came(performed);
    if (outcome) this.say(`    → ${outcome}`);
  }

  private say(text: string): void {
    const short = text.replace(
      /([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})|([0-9a-f]{64,})/g,
      (_, nonce?: string, hex?: string) => {
        if (hex) return `${hex.slice(0, 8)}…`;
        const known = this.names.get(nonce!) ?? this.names.set(nonce!, this.names.size + 1).size;
        return `#${known}`;
      },
    );
    this.lines.push(...short.split('\n').map((line) => line.trimEnd()));
  }
}

function asked({ method, target, headers = [], body = '', chunked, cutAfter }: Told): string {
  const lines = [`> ${method} ${target}`, ...headers.map(([name, value]) => `>   ${name}: ${value}`)];
  if (body) {
    const cut = cutAfter === undefined ? '' : ', then the connection breaks';
    lines.push(`>   (${cutAfter ?? body.length} bytes${chunked ? ', chunked' : ''}${cut})`);
  }
  return lines.join('\n');
}

function answered(call: Call): string {
  const { inner } = call as unknown as {
    inner: {
      response(): { status: number; headers: string[]; content?: string; pieces: (Uint8Array | [number, number])[] };
    };
  };
  const { status, headers, content, pieces } = inner.response();
  const lines = [`< ${status}`];
  for (let i = 0; i < headers.length; i += 2)
    if (!ALWAYS.includes(headers[i]!)) lines.push(`<   ${headers[i]}: ${headers[i + 1]}`);
  if (content) {
    const slices = pieces.map((piece) => `Slice(${(piece as [number, number]).join('..')})`);
    lines.push(`<   ([${slices.join(', ')}] of content ${content.replace('content/', '')})`);
  } else if (pieces.length > 0) {
    lines.push(`<   ${new TextDecoder().decode(pieces[0] as Uint8Array)}`);
  }
  return lines.join('\n');
}

const meter = ({ algorithm, count, room }: Meter) =>
  `Meter(${algorithm} after ${count} bytes${room === null ? '' : `, ${count + room} at most`})`;
const object = (stored: StoredObject) => ('part' in stored ? `part ${stored.part}` : `content ${stored.content}`);

/** What is asked, one line for each thing that a commit expects or changes. */
function question(effect: Effect): string {
  switch (effect.effect) {
    case 'Commit':
      return [
        effect.durable ? 'Commit, durably' : 'Commit, eventually',
        ...effect.expect.map(
          ({ kind, key }) =>
            ({
              absent: `expect no ${key}`,
              present: `expect ${key}`,
              exactly: `expect ${key} unchanged`,
              'none-under': `expect none under ${key}…`,
            })[kind],
        ),
        ...effect.put.map(([key, value]) => `put ${key} ${value as string}`),
        ...effect.delete.map((key) => `delete ${key}`),
      ].join('\n    ');
    case 'Get':
      return `Get ${effect.keys.join(', ')}`;
    case 'Scan':
      return `Scan ${effect.prefix}…${effect.after === null ? '' : ` after ${effect.after}`}`;
    case 'Receive':
      return `Receive into part ${effect.part}, past ${meter(effect.meter)}`;
    case 'Assemble':
      return `Assemble content ${effect.content} of [${effect.parts.join(', ')}]`;
    case 'Load':
      return `Load content ${effect.content}`;
    case 'Measure':
      return `Measure content ${effect.content}, past ${meter(effect.meter)}`;
    case 'Erase':
      return `Erase ${object(effect.target)}`;
    case 'Inventory':
      return effect.after ? `Inventory after ${object(effect.after)}` : 'Inventory';
    case 'Collect':
      return `Collect { limit: ${effect.limit} }`;
    default:
      return effect.effect;
  }
}

const some = (value: string | null) => (value === null ? 'None' : `Some(${value})`);
const ENDS: Record<string, string> = { whole: 'Whole', 'too-large': 'TooLarge', cut: 'Cut' };

/** What came of it; nothing if there is nothing to say. */
function came({ effect, outcome }: Performed): string | undefined {
  switch (effect.effect) {
    case 'Get':
      return `[${(outcome as Shown[]).map((value) => some(value as string | null)).join(', ')}]`;
    case 'Scan':
      return `[${(outcome as [string, Shown][]).map(([key, value]) => `(${key}, ${value as string})`).join(', ')}]`;
    case 'Collect': {
      const { end, body } = outcome as { end: string; body?: string };
      return body === undefined ? ENDS[end] : `Whole(${body})`;
    }
    case 'Receive': {
      const { end, meter: after } = outcome as { end: string; meter: Meter };
      return `Received { meter: ${meter(after)}, end: ${ENDS[end]} }`;
    }
    case 'Load':
      return some(outcome as string | null);
    case 'Measure':
      return outcome === null ? 'None' : `Some(${meter(outcome as Meter)})`;
    case 'Inventory':
      return `[${(outcome as Extract<Outcome, { object: StoredObject; size: number; ageMs: number }[]>).map(listed).join(', ')}]`;
    case 'Commit':
      return outcome as string;
    default:
      return undefined;
  }
}

function listed({ object: stored, size, ageMs }: { object: StoredObject; size: number; ageMs: number }): string {
  const text = 'part' in stored ? stored.part.split('.') : stored.content.split('/');
  const inner =
    'part' in stored
      ? `Part(PartId { upload: ${text[0]}, nonce: ${text[1]} })`
      : `Content(ContentId { digest: ${text[0]}, nonce: ${text[1]} })`;
  return `Stored { object: ${inner}, size: ${size}, age: ${ageMs / 1000}s }`;
}
