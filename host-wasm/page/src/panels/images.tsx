import { signal, useComputed } from '@preact/signals';
import { useState } from 'preact/hooks';
import { RegistryResponse, exportImages, importArchive, load } from '../../../js/index.js';
import type { Archive, Imported, RegistryRequest } from '../../../js/index.js';
import { ask } from '../../../parts/ask.js';
import { Repositories, changes } from '../parts/repositories.js';
import { ServerBar } from '../parts/server.js';
import { proxy, registry } from '../remote.js';
import { SERVER, isServer, reason, send, snapshot, tell } from '../state.js';
import { size } from '../words.js';

const repository = signal('');
const tag = signal('');
const work = signal<{ what: string; done: number; total: number } | undefined>(undefined);
const wrong = signal<string | undefined>(undefined);
const result = signal<Imported | undefined>(undefined);

const told = (what: string, done: number, total: number) => (work.value = { what, done, total });

/** A reason as a sentence. */
function sentence(text: string): string {
  return text[0]!.toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? '' : '.');
}

/** The server as the package sees a registry. */
async function atServer(request: RegistryRequest): Promise<RegistryResponse> {
  const headers = Array.isArray(request.headers) ? request.headers : Object.entries(request.headers ?? {});
  const {
    status,
    headers: given,
    body,
  } = await send({ method: request.method, target: request.target, headers, body: request.body as Blob });
  const blob = body instanceof Blob ? body : undefined;
  async function* pieces() {
    const reader = blob!.stream().getReader();
    for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
  }
  return new RegistryResponse(
    status,
    given,
    blob
      ? pieces
      : async function* () {
          yield body as Uint8Array;
        },
    blob ? undefined : (body as Uint8Array),
  );
}

/** A name for images that bring none: that of the file. */
function nameOf(file: string): string {
  return (
    file
      .toLowerCase()
      .replace(/\.(tar|tgz|gz|oci)/g, '')
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-|-$/g, '') || 'imported'
  );
}

/** The files of a folder, by their paths within it. */
function contentsOf(files: Iterable<File>): Archive {
  return new Map([...files].map((file) => [file.webkitRelativePath.replace(/^[^/]*\//, ''), file]));
}

/** The same of a folder that was dropped. */
async function walk(directory: FileSystemDirectoryEntry, path = ''): Promise<Map<string, Blob>> {
  const found = new Map<string, Blob>();
  const reader = directory.createReader();
  for (;;) {
    // A reader gives some at a time, and none at the end.
    const entries = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) return found;
    for (const entry of entries) {
      if (entry.isDirectory) {
        for (const [name, file] of await walk(entry as FileSystemDirectoryEntry, `${path}${entry.name}/`))
          found.set(name, file);
      } else {
        found.set(
          path + entry.name,
          await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject)),
        );
      }
    }
  }
}

async function drop(transfer: DataTransfer): Promise<void> {
  const entry = transfer.items[0]?.webkitGetAsEntry();
  const file = transfer.files[0];
  if (entry?.isDirectory) await take(entry.name, await walk(entry as FileSystemDirectoryEntry));
  else if (file) await take(file.name, file);
}

async function take(name: string, file: Archive): Promise<void> {
  wrong.value = undefined;
  result.value = undefined;
  if (isServer.value && !(await mayPush(name))) return;
  work.value = { what: `Reading ${name}`, done: 0, total: file instanceof Blob ? file.size : 1 };
  const options = { repository: repository.value || nameOf(name), ...(tag.value && { tag: tag.value }) };
  try {
    if (isServer.value) {
      await load();
      result.value = await importArchive(atServer, file, { ...options, progress: told });
    } else {
      result.value = await registry().imported(file, options, proxy(told));
    }
  } catch (error) {
    wrong.value = reason(error);
  } finally {
    work.value = undefined;
    changes.value++;
  }
}

/** Asks whether a file may be pushed to the server. */
function mayPush(name: string): Promise<boolean> {
  return ask({
    title: `Push ${name} to ${SERVER}?`,
    says: [
      repository.value || tag.value
        ? `Its image goes to ${repository.value || nameOf(name)}:${tag.value || 'the tag that the archive gives, or latest'}.`
        : 'Its images go to the repositories and tags that the archive gives.',
      'A tag that is there already names the new image afterwards.',
    ],
    does: 'Push it',
  });
}

async function give(one: { repository: string; tag: string }): Promise<void> {
  wrong.value = undefined;
  work.value = { what: `Packing ${one.repository}:${one.tag}`, done: 0, total: 1 };
  try {
    const options = { repository: one.repository, reference: one.tag };
    const blob = isServer.value
      ? await new Response(exportImages(atServer, { ...options, progress: told })).blob()
      : await registry().exported(options, proxy(told));
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = `${one.repository.replaceAll('/', '-')}-${one.tag}.oci.tar`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    tell(`${link.download}: ${size(blob.size)}. Read it with: skopeo inspect oci-archive:${link.download}`);
  } catch (error) {
    wrong.value = `The image could not be packed: ${reason(error)}`;
  } finally {
    work.value = undefined;
  }
}

export function Images() {
  const [over, setOver] = useState(false);
  const images = useComputed(() =>
    snapshot.value.records
      .filter(([key]) => key.startsWith('tag/'))
      .map(([key]) => {
        const at = key.lastIndexOf(':');
        return { repository: key.slice(4, at), tag: key.slice(at + 1) };
      }),
  );
  const busy = work.value !== undefined;
  return (
    <>
      {isServer.value && <ServerBar />}
      <div class="split">
        <section class="pane" aria-label="Push images">
          <h2>Push</h2>
          <div
            class={`drop ${over ? 'over' : ''}`}
            onDragOver={(event) => {
              event.preventDefault();
              setOver(true);
            }}
            onDragLeave={() => setOver(false)}
            onDrop={(event) => {
              event.preventDefault();
              setOver(false);
              if (event.dataTransfer && !busy)
                void drop(event.dataTransfer).catch((error) => (wrong.value = reason(error)));
            }}
          >
            <p>
              Drop an OCI layout or the output of <code>docker save</code> here: a .tar, a .tar.gz, or the folder of a
              layout.
            </p>
            <label class="button" for="archive">
              Choose a file
            </label>{' '}
            <label class="button" for="folder">
              Choose a folder
            </label>
            <input
              id="archive"
              class="hidden"
              type="file"
              disabled={busy}
              onChange={(event) => {
                const file = event.currentTarget.files?.[0];
                if (file) void take(file.name, file);
                event.currentTarget.value = '';
              }}
            />
            <input
              id="folder"
              class="hidden"
              type="file"
              ref={(input) => input?.setAttribute('webkitdirectory', '')}
              disabled={busy}
              onChange={(event) => {
                const files = [...(event.currentTarget.files ?? [])];
                if (files.length > 0) void take(files[0]!.webkitRelativePath.split('/')[0]!, contentsOf(files));
                event.currentTarget.value = '';
              }}
            />
          </div>
          <div class="grid">
            <div class="field">
              <label for="repository">Repository</label>
              <input
                id="repository"
                value={repository.value}
                placeholder="from the archive, or the file name"
                spellcheck={false}
                onInput={(event) => (repository.value = event.currentTarget.value)}
              />
            </div>
            <div class="field">
              <label for="tag">Tag</label>
              <input
                id="tag"
                value={tag.value}
                placeholder="from the archive, or latest"
                spellcheck={false}
                onInput={(event) => (tag.value = event.currentTarget.value)}
              />
            </div>
          </div>
          <div class="running" aria-live="polite">
            {work.value && (
              <div
                class="progress"
                role="progressbar"
                aria-label={work.value.what}
                aria-valuemin={0}
                aria-valuemax={work.value.total}
                aria-valuenow={work.value.done}
              >
                <progress max={work.value.total || 1} value={work.value.done} aria-hidden="true" />
                <span>{work.value.what}</span>
                <span class="muted">
                  {size(work.value.done)} of {size(work.value.total)}
                </span>
              </div>
            )}
          </div>
          {wrong.value && (
            <p class="note bad" role="alert">
              {sentence(wrong.value)}
            </p>
          )}
          {result.value && (
            <div class="note good" role="status">
              {result.value.images.map(({ repository, tag, digest }) => (
                <p key={digest + tag}>
                  Pushed{' '}
                  <strong>
                    {repository}:{tag}
                  </strong>
                  , {digest.slice(0, 19)}…
                </p>
              ))}
              {result.value.notes.map((note, i) => (
                <p key={i}>{note}.</p>
              ))}
              {!isServer.value && (
                <p>
                  <a href="#/store">See it in the store</a>.
                </p>
              )}
            </div>
          )}
        </section>
        <section class="pane" aria-label="Download images">
          <h2>Download</h2>
          {isServer.value ? (
            <Repositories busy={busy} give={(one) => void give(one)} />
          ) : images.value.length === 0 ? (
            <p class="empty">There is no tagged image yet.</p>
          ) : (
            <table>
              <thead>
                <tr>
                  <th>Image</th>
                  <th>
                    <span class="hidden">Download</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {images.value.map((one) => (
                  <tr key={`${one.repository}:${one.tag}`}>
                    <td>
                      <span class="break">
                        {one.repository}:<strong>{one.tag}</strong>
                      </span>
                    </td>
                    <td class="right">
                      <button
                        type="button"
                        disabled={busy}
                        aria-label={`Download ${one.repository}:${one.tag}`}
                        onClick={() => void give(one)}
                      >
                        Download
                      </button>
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
          <p class="hint">
            An image is downloaded as an OCI layout in a tar archive: <code>skopeo inspect oci-archive:FILE</code>,{' '}
            <code>podman load -i FILE</code>.
          </p>
        </section>
      </div>
    </>
  );
}
