/** Packed archives of text files, such as Helm charts, read in the browser. */
import { entriesOf } from '../../js/tar.js';

/** How much an archive may unpack to, in bytes, and how many files of it are read. A small one can unpack to gigabytes. */
const [UNPACKED, FILES] = [16 * 1024 * 1024, 2000];

/** Unpacks gzip, up to a bound. */
export async function unzipped(packed: Blob, most = UNPACKED): Promise<Blob> {
  const reader = packed.stream().pipeThrough(new DecompressionStream('gzip')).getReader();
  const parts: BlobPart[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts);
    size += value.length;
    if (size > most) {
      await reader.cancel();
      throw new Error('it unpacks to more than is shown here');
    }
    parts.push(value as BlobPart);
  }
}

export interface TextFile {
  name: string;
  size: number;
  read: () => Promise<string>;
}

/** The files of a `.tar.gz`: README first, then by name. */
export async function filesOf(packed: Blob): Promise<TextFile[]> {
  const entries = [...(await entriesOf(await unzipped(packed)))].slice(0, FILES);
  const weight = (name: string) => (/(^|\/)readme(\.md|\.txt)?$/i.test(name) ? name.split('/').length : 100);
  return entries
    .sort(([a], [b]) => weight(a) - weight(b) || (a < b ? -1 : 1))
    .map(([name, blob]) => ({ name, size: blob.size, read: () => blob.text() }));
}
