/** Tar archives, as POSIX and GNU write them: of a `Blob` read in place, and written as a stream. */

const BLOCK = 512;

/** Reads the names and places of all files; none of their bytes. Throws when it is no archive. */
export async function entriesOf(archive: Blob): Promise<Map<string, Blob>> {
  const entries = new Map<string, Blob>();
  let at = 0;
  let nextName: string | undefined;
  let ended = false;
  while (at + BLOCK <= archive.size) {
    const head = new Uint8Array(await archive.slice(at, at + BLOCK).arrayBuffer());
    ended = head.every((byte) => byte === 0);
    if (ended) break;
    if (!isHeader(head)) throw new Error('this is no tar archive');
    const size = number(head.subarray(124, 136));
    const body = archive.slice(at + BLOCK, at + BLOCK + size);
    if (body.size < size) throw new Error('the archive ends in the middle of a file');
    const kind = String.fromCharCode(head[156]!);
    const prefix = text(head.subarray(345, 500));
    const plain = text(head.subarray(0, 100));
    const name = nextName ?? (prefix && text(head.subarray(257, 262)) === 'ustar' ? `${prefix}/${plain}` : plain);
    if (kind === 'L') {
      nextName = text(new Uint8Array(await body.arrayBuffer()));
    } else if (kind === 'x') {
      nextName = pathOf(await body.text());
    } else {
      nextName = undefined;
      if (kind === '0' || kind === '\0') entries.set(name.replace(/^\.\//, ''), body);
      // Hard and symbolic links: what `docker save` of old wrote for layers that are there twice.
      if (kind === '1' || kind === '2') {
        const target = linked(name, text(head.subarray(157, 257)), kind === '2');
        const meant = entries.get(target);
        if (meant) entries.set(name.replace(/^\.\//, ''), meant);
      }
    }
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  if (!ended && at > archive.size) throw new Error('the archive ends in the middle of a file');
  if (entries.size === 0) throw new Error('this is no tar archive');
  return entries;
}

function linked(name: string, target: string, symbolic: boolean): string {
  const url = new URL(target, symbolic ? `file:///${name}` : 'file:///');
  return url.pathname.slice(1);
}

/** The head of a file in an archive. */
export function headOf(name: string, size: number): Uint8Array {
  const head = new Uint8Array(BLOCK);
  const put = (at: number, value: string) => head.set(new TextEncoder().encode(value), at);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, '0')}\0`;
  put(0, name);
  put(100, octal(0o644, 7));
  put(108, octal(0, 7));
  put(116, octal(0, 7));
  // Sizes of 8 GiB and more have no place in eleven octal digits: GNU's form has.
  if (size < 2 ** 33) put(124, octal(size, 11));
  else putLarge(head, size);
  put(136, octal(0, 11));
  put(148, '        ');
  put(156, '0');
  put(257, 'ustar\0');
  put(263, '00');
  put(
    148,
    `${head
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
  );
  return head;
}

/** What follows a file of that size. */
export function paddingOf(size: number): Uint8Array {
  return new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);
}

/** The end of an archive. */
export const END = new Uint8Array(2 * BLOCK);

function putLarge(head: Uint8Array, size: number): void {
  let left = BigInt(size);
  for (let at = 135; at > 124; at--) {
    head[at] = Number(left & 0xffn);
    left >>= 8n;
  }
  head[124] = 0x80;
}

function isHeader(head: Uint8Array): boolean {
  const sum = head.reduce((sum, byte, at) => sum + (at >= 148 && at < 156 ? 32 : byte), 0);
  return number(head.subarray(148, 156)) === sum;
}

function text(field: Uint8Array): string {
  const end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
}

function number(field: Uint8Array): number {
  if (field[0]! & 0x80) return field.slice(1).reduce((value, byte) => value * 256 + byte, 0);
  return Number.parseInt(text(field).trim() || '0', 8);
}

/** The path in a PAX header: `<length> path=<path>\n`. */
function pathOf(records: string): string | undefined {
  return /^\d+ path=(.*)$/m.exec(records)?.[1];
}
