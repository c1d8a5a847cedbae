/** Writes calls down as `tests/integration/transcripts.rs` does, so that both can be held against the same files. */
import { Registry } from '../js/index.js';
import type {
  Call,
  Effect,
  Meter,
  Outcome,
  Performed,
  Piece,
  RegistryOptions,
  RegistryRequest,
  Shown,
} from '../js/index.js';

/** A request of a story. */
export interface Told extends RegistryRequest {
  headers?: [string, string][];
  body?: string;
}

/** What every response has. */
const ALWAYS = ['Docker-Distribution-API-Version', 'X-Content-Type-Options'];

export class Scribe {
  private lines: string[] = [];
  /** By how many columns what is written down now is set to the right. */
  private indent = 0;
  private readonly names = new Map<string, number>();

  private constructor(
    readonly registry: Registry,
    private readonly clock: { now: number },
  ) {}

  static async begin(title: string, options: RegistryOptions = { assemble: ['multi/**'] }): Promise<Scribe> {
    const clock = { now: 0 };
    let calls = 0;
    // Numbers in order, as the reference host draws them.
    const random = () => {
      const bytes = new Uint8Array(16);
      new DataView(bytes.buffer).setUint32(12, ++calls);
      return bytes;
    };
    const registry = await Registry.open({ ...options, now: () => clock.now, random });
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
    for (let told = false; ;) {
      const event = await meanwhile(call.standing);
      if (event) this.say(`  ~ ${event}`);
      if (call.answered && !told) {
        told = true;
        this.say(answered(call));
      }
      if (call.ended) break;
      await this.step(call);
    }
  }

  async gc(): Promise<void> {
    this.say('\ngc');
    const call = this.registry.beginGc();
    while (!call.ended) await this.step(call);
    const r = call.report() as Record<string, number>;
    this.say(
      `= ${r['uploads_expired']} uploads expired; ${r['lists_removed']} lists, ${r['manifests_removed']} manifests, ` +
        `${r['links_removed']} links, ${r['blobs_removed']} blobs, ${r['repositories_removed']} repositories, ` +
        `${r['events_removed']} events and ${r['orphans_removed']} orphaned objects removed; ` +
        `${r['bytes_freed']} bytes freed`,
    );
  }

  text(): string {
    return `${this.lines.join('\n')}\n`;
  }

  private async step(call: Call): Promise<void> {
    if (call.effect.effect === 'Follow') return this.follow(call, call.effect);
    await call.step();
    const performed = call.performed.at(-1)!;
    this.say(`  ${question(performed.effect)}`);
    const outcome = came(performed);
    if (outcome) this.say(`    → ${outcome}`);
  }

  /** Runs the fetch that a call follows to its end, writing it down one step to the right. */
  private async follow(call: Call, effect: Effect): Promise<void> {
    this.say(`  ${question(effect)}`);
    const begun = new Promise<Call>((begins) => (call.onFetch = begins));
    const followed = call.step();
    const fetch = await begun;
    this.indent += 2;
    while (!fetch.ended) await this.step(fetch);
    this.indent -= 2;
    await followed;
    this.say(`    → ${came(call.performed.at(-1)!)}`);
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
    this.lines.push(...short.split('\n').map((line) => `${' '.repeat(this.indent)}${line}`.trimEnd()));
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
    inner: { response(): { status: number; headers: string[]; pieces: Piece[] } };
  };
  const { status, headers, pieces } = inner.response();
  const lines = [`< ${status}`];
  for (let i = 0; i < headers.length; i += 2)
    if (!ALWAYS.includes(headers[i]!)) lines.push(`<   ${headers[i]}: ${headers[i + 1]}`);
  for (const piece of pieces) {
    const text = piece instanceof Uint8Array ? new TextDecoder().decode(piece) : slice(...piece);
    lines.push(`<   ${text}`);
  }
  return lines.join('\n');
}

const meter = ({ algorithm, count, room }: Meter) =>
  `Meter(${algorithm} after ${count} bytes${room === null ? '' : `, ${count + room} at most`})`;
const slice = (object: string, start: number, end: number) => `(${start}..${end} of object ${object})`;

/** What is asked, one line for each thing that a commit expects or changes. */
function question(effect: Effect): string {
  switch (effect.effect) {
    case 'Commit':
      return [
        `Commit, ${effect.durability === 'durable' ? 'durably' : 'eventually'}${effect.reclaims ? ', to free space' : ''}`,
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
        ...effect.add.map(([key, more]) => `add ${more} to ${key}`),
        ...effect.delete.map((key) => `delete ${key}`),
      ].join('\n    ');
    case 'Get':
      return `Get ${effect.keys.join(', ')}`;
    case 'Scan':
      return `Scan ${effect.prefix}…${effect.after === null ? '' : ` after ${effect.after}`}`;
    case 'Receive':
      return `Receive into object ${effect.object}, past ${meter(effect.meter)}`;
    case 'Join':
      return `Join objects ${effect.from.join(', ')} into ${effect.into}`;
    case 'Load':
      return `Load objects ${effect.objects.join(', ')}`;
    case 'Measure':
      return `Measure objects ${effect.objects.join(', ')}, past ${meter(effect.meter)}`;
    case 'Erase':
      return `Erase objects ${effect.objects.join(', ')}`;
    case 'Inventory':
      return effect.after === null ? 'Inventory' : `Inventory after ${effect.after}`;
    case 'Collect':
      return `Collect { limit: ${effect.limit} }`;
    case 'Inquire': {
      const { upstream, method, repository, resource, via } = effect.wanted;
      return `Inquire of ${upstream}: ${method} /v2/${repository}/${resource}, via ${via}`;
    }
    case 'Fetch': {
      const { upstream, repository, digest, via } = effect.source;
      const into = `into object ${effect.object}, past ${meter(effect.meter)}`;
      return `Fetch ${repository}@${digest} from ${upstream}, via ${via}, ${into}`;
    }
    case 'Follow':
      return `Follow ${effect.fetching.repository}@${effect.fetching.digest}`;
    default:
      return effect.effect;
  }
}

const some = (value: string | null) => (value === null ? 'None' : `Some(${value})`);
const UNMET: Record<string, string> = { absent: 'Absent', denied: 'Denied', paused: 'Paused' };
const ENDS: Record<string, string> = { whole: 'Whole', 'too-large': 'TooLarge', cut: 'Cut', later: 'Later' };

type Received = Extract<Outcome, { took: number }>;
type Inquired = Extract<Outcome, { mediaType: string | null }>;

function received({ end, meter: after, kept, took }: Received): string {
  return `Received { meter: ${meter(after)}, end: ${ENDS[end]}, kept: ${some(kept as string | null)}, took: ${took}ns }`;
}

function answer({ mediaType, digest, length, next, body }: Inquired): string {
  const text = (value: string | null) => some(value === null ? null : `"${value}"`);
  const told = `media_type: ${text(mediaType)}, digest: ${some(digest)}, length: ${some(length === null ? null : String(length))}`;
  return `Answer { ${told}, next: ${text(next)}, body: ${body as string} }`;
}

/** Why an upstream has not given what it was asked for; nothing if it has. */
function unmet(outcome: Outcome): string | undefined {
  if (outcome === null || typeof outcome !== 'object' || !('unmet' in outcome)) return undefined;
  return outcome.unmet === 'failed' ? `Err(Failed("${outcome.reason}"))` : `Err(${UNMET[outcome.unmet]})`;
}

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
    case 'Receive':
      return received(outcome as Received);
    case 'Inquire':
      return unmet(outcome) ?? `Ok(${answer(outcome as Inquired)})`;
    case 'Fetch':
      return unmet(outcome) ?? `Ok(${received(outcome as Received)})`;
    case 'Follow':
      return (outcome as { end: string }).end === 'kept' ? 'Over(Ok(()))' : JSON.stringify(outcome);
    case 'Join':
      return String(outcome);
    case 'Load':
      return some(outcome as string | null);
    case 'Measure':
      return outcome === null ? 'None' : `Some(${meter(outcome as Meter)})`;
    case 'Inventory':
      return `[${(outcome as Extract<Outcome, { object: string; size: number; ageMs: number }[]>).map(listed).join(', ')}]`;
    case 'Commit':
      return outcome as string;
    default:
      return undefined;
  }
}

function listed({ object, size, ageMs }: { object: string; size: number; ageMs: number }): string {
  const [nonce, index = '0'] = object.split('.');
  return `Stored { object: ObjectId { nonce: ${nonce}, index: ${index} }, size: ${size}, age: ${ageMs / 1000}s }`;
}
