/** The files of what is not an image: a chart, a model, a bill of materials, anything. */
import { useEffect, useState } from 'preact/hooks';
import { size } from '../../../parts/size.js';
import type { Image, Layer } from '../answers.js';
import { problem } from '../api.js';
import { readBill } from '../sbom.js';
import type { Bill } from '../sbom.js';
import { count, short } from '../words.js';
import { READABLE, SAVEABLE, readText, save } from './blob.js';
import { Digest } from './small.js';
import { tell } from './told.js';

const TITLE = 'org.opencontainers.image.title';

/** The name of a file, as whoever pushed it has called it. */
function nameOf(layer: Layer): string | undefined {
  return layer.annotations?.[TITLE] || layer.annotations?.['org.cncf.model.filepath'];
}

/** Whether a file is text, as far as its type and name tell. */
function isText({ mediaType = '', size = 0, ...layer }: Layer): boolean {
  if (size > READABLE) return false;
  const type = mediaType.split(';')[0]!;
  if (/[+.](gzip|gz|zstd|tar|tgz)\b/.test(type)) return false;
  if (/^text\/|[/+](json|ya?ml|xml|toml)$|markdown|spdx|cyclonedx|in-toto|simplesigning|dsse/.test(type)) return true;
  return /\.(txt|md|json|ya?ml|toml|xml|csv|log|pem|sig|ini|conf|sh)$|^(readme|licen[cs]e|notice|dockerfile|makefile)$/i.test(
    nameOf(layer) ?? '',
  );
}

export function Files({ image }: { image: Image }) {
  const files = image.layers.filter(({ digest }) => digest);
  const [open, put] = useState<string | undefined>(
    // One readable file is what one came for.
    files.length === 1 && isText(files[0]!) ? files[0]!.digest : undefined,
  );
  return (
    <ul class="files panel">
      {files.map((layer, at) => (
        <File
          key={`${layer.digest} ${at}`}
          repository={image.repository}
          layer={layer}
          open={open === layer.digest}
          toggle={() => put(open === layer.digest ? undefined : layer.digest)}
        />
      ))}
    </ul>
  );
}

function File({
  repository,
  layer,
  open,
  toggle,
}: {
  repository: string;
  layer: Layer;
  open: boolean;
  toggle: () => void;
}) {
  const { digest = '', size: bytes = 0, mediaType } = layer;
  const name = nameOf(layer);
  const [busy, put] = useState(false);
  const download = async () => {
    put(true);
    // Nothing of a path: a name that whoever pushed it has chosen.
    const safe = (name ?? '')
      .split(/[\\/]/)
      .at(-1)!
      .replace(/[^\w.+ -]/g, '_')
      .replace(/^\.+/, '');
    try {
      await save(repository, digest, safe || digest.replace(':', '-'));
    } catch (error) {
      tell(`It cannot be downloaded: ${problem(error).message}.`, true);
    }
    put(false);
  };
  return (
    <li>
      <div class="file">
        <span class="what">
          <strong>{name ?? short(digest)}</strong>
          <span class="muted small">{mediaType}</span>
        </span>
        <span class="bytes">{size(bytes)}</span>
        <Digest digest={digest} />
        <span class="actions">
          {isText(layer) && (
            <button type="button" class="quiet" aria-expanded={open} onClick={toggle}>
              {open ? 'Hide' : 'Show'}
            </button>
          )}
          <button
            type="button"
            class="quiet"
            disabled={busy || bytes > SAVEABLE}
            title={bytes > SAVEABLE ? 'Too large for the browser: pull it with a client' : undefined}
            aria-label={`Download ${name ?? short(digest)}`}
            onClick={() => void download()}
          >
            {busy ? 'Downloading…' : 'Download'}
          </button>
        </span>
      </div>
      {open && <Content repository={repository} digest={digest} name={name ?? short(digest)} />}
    </li>
  );
}

/** A blob as text: a bill of materials as a table, JSON with its indents. */
export function Content({ repository, digest, name }: { repository: string; digest: string; name: string }) {
  const [state, put] = useState<{ text?: string; wrong?: string }>({});
  useEffect(() => {
    const stop = new AbortController();
    readText(repository, digest, stop.signal).then(
      (text) => put({ text }),
      (error: unknown) => {
        if (!stop.signal.aborted) put({ wrong: problem(error).message });
      },
    );
    return () => stop.abort();
  }, [repository, digest]);
  if (state.wrong) return <p class="note bad">It cannot be shown: {state.wrong}.</p>;
  if (state.text === undefined)
    return (
      <p class="muted late" role="status">
        Loading…
      </p>
    );
  return <Text text={state.text} name={name} />;
}

/** Text, as it is. */
export function Text({ text, name }: { text: string; name: string }) {
  const [raw, put] = useState(false);
  let [shown, bill] = [text, undefined as Bill | undefined];
  if (/^\s*[[{]/.test(text))
    try {
      const document: unknown = JSON.parse(text);
      shown = JSON.stringify(document, null, 2);
      bill = readBill(document);
    } catch {
      // Not JSON after all.
    }
  const isBill = bill && bill.software.length > 0;
  return (
    <>
      {isBill && (
        <p class="choices-line">
          <span>
            {bill!.format}, {count(bill!.software.length)} packages
          </span>
          <button type="button" class="quiet" aria-pressed={raw} onClick={() => put(!raw)}>
            {raw ? 'As a table' : 'As it is'}
          </button>
        </p>
      )}
      {isBill && !raw ? (
        <Software bill={bill!} />
      ) : (
        <pre class="text" tabIndex={0} role="group" aria-label={name}>
          {shown}
        </pre>
      )}
    </>
  );
}

const LISTED = 500;

function Software({ bill }: { bill: Bill }) {
  const [q, put] = useState('');
  const found = bill.software.filter(({ name }) => name.toLowerCase().includes(q.toLowerCase()));
  return (
    <>
      <input
        type="search"
        class="filter"
        aria-label="Filter packages"
        placeholder="Filter packages"
        value={q}
        onInput={(event) => put(event.currentTarget.value)}
      />
      <div class="scroll tall" tabIndex={0} role="group" aria-label="Packages">
        <table class="pairs">
          <caption class="hidden">Packages</caption>
          <thead>
            <tr>
              <th scope="col">Package</th>
              <th scope="col">Version</th>
              <th scope="col">Licence</th>
            </tr>
          </thead>
          <tbody>
            {found.slice(0, LISTED).map(({ name, version, licence }, at) => (
              <tr key={at}>
                <td>{name}</td>
                <td>{version}</td>
                <td>{licence}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {found.length > LISTED && <p class="muted">{count(found.length - LISTED)} more: filter to see them.</p>}
    </>
  );
}

/** A README: in an annotation, or a file of that name. */
export function Readme({ image }: { image: Image }) {
  const said = Object.entries(image.annotations).find(([name]) => /(^|[./-])readme(\.md|\.txt)?$/i.test(name));
  const file = image.layers.find(
    (layer) => layer.digest && isText(layer) && /^readme(\.md|\.txt)?$/i.test(nameOf(layer)?.split('/').at(-1) ?? ''),
  );
  if (!said?.[1] && !file) return null;
  return (
    <section class="part readme">
      <h2>README</h2>
      {said?.[1] ? (
        <pre class="text" tabIndex={0} role="group" aria-label="README">
          {said[1]}
        </pre>
      ) : (
        <Content repository={image.repository} digest={file!.digest!} name="README" />
      )}
    </section>
  );
}
