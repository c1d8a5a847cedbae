/** Blobs that people read or save. They are asked for by the page, since a link would not carry the session. */
import { Problem, send } from '../api.js';

/** The largest blob that is shown as text, and the largest that goes through the memory of the tab. */
export const [READABLE, SAVEABLE] = [2 * 1024 * 1024, 512 * 1024 * 1024];

const path = (repository: string, digest: string) => `/v2/${repository}/blobs/${digest}`;

/** A blob in memory. */
export async function read(repository: string, digest: string, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const response = await send(path(repository, digest), { ...(signal && { signal }) });
  return new Uint8Array(await response.arrayBuffer());
}

/** A blob as text. What is no text is refused. */
export async function readText(repository: string, digest: string, signal?: AbortSignal): Promise<string> {
  const bytes = await read(repository, digest, signal);
  if (bytes.length > READABLE) throw new Problem(0, 'PAGE', 'It is too large to be shown');
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (text.includes('\0')) throw new Error();
    return text;
  } catch {
    throw new Problem(0, 'PAGE', 'It is no text');
  }
}

/** Saves a blob as a file of that name. */
export async function save(repository: string, digest: string, name: string): Promise<void> {
  const response = await send(path(repository, digest));
  // Whatever it is, a browser saves it and runs nothing of it.
  saveAs(new Blob([await response.arrayBuffer()], { type: 'application/octet-stream' }), name);
}

/** Saves what is in memory as a file of that name. */
export function saveAs(blob: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
