/** What is in a Helm chart: its README, its values, its templates, as text. */
import { useEffect, useState } from 'preact/hooks';
import { size } from '../../../parts/size.js';
import type { Image } from '../answers.js';
import { problem } from '../api.js';
import { filesOf } from '../archive.js';
import type { TextFile } from '../archive.js';
import { READABLE, read } from './blob.js';

const CHART = 'application/vnd.cncf.helm.chart.content.v1.tar+gzip';

export function Unpacked({ image }: { image: Image }) {
  const layer = image.layers.find(({ mediaType }) => mediaType === CHART);
  const [state, put] = useState<{ files?: TextFile[]; wrong?: string }>({});
  const digest = layer?.digest;
  const tooLarge = (layer?.size ?? 0) > READABLE;
  useEffect(() => {
    if (!digest || tooLarge) return;
    const stop = new AbortController();
    read(image.repository, digest, stop.signal)
      .then((bytes) => filesOf(new Blob([bytes])))
      .then(
        (files) => put({ files }),
        (error: unknown) => {
          if (!stop.signal.aborted) put({ wrong: problem(error).message });
        },
      );
    return () => stop.abort();
  }, [digest]);
  if (!digest) return null;
  if (tooLarge) return <p class="muted">The chart is too large to be unpacked here.</p>;
  if (state.wrong) return <p class="note">The chart cannot be unpacked here: {state.wrong}.</p>;
  if (!state.files)
    return (
      <p class="muted late" role="status">
        Loading the files…
      </p>
    );
  return (
    <section class="named">
      <h2>
        In the chart <span class="count">{state.files.length}</span>
      </h2>
      <ul class="files panel">
        {state.files.map((file, at) => (
          <File key={file.name} file={file} open={at === 0 && /readme/i.test(file.name)} />
        ))}
      </ul>
    </section>
  );
}

function File({ file, open }: { file: TextFile; open: boolean }) {
  const [shown, show] = useState(open);
  const [text, put] = useState<string>();
  useEffect(() => {
    if (shown && text === undefined) void file.read().then(put);
  }, [shown]);
  return (
    <li>
      <div class="file">
        <span class="what">
          <strong>{file.name}</strong>
        </span>
        <span class="bytes">{size(file.size)}</span>
        <button
          type="button"
          class="quiet"
          aria-expanded={shown}
          aria-label={`${shown ? 'Hide' : 'Show'} ${file.name}`}
          onClick={() => show(!shown)}
        >
          {shown ? 'Hide' : 'Show'}
        </button>
      </div>
      {shown && text !== undefined && (
        <pre class="text" tabIndex={0} role="group" aria-label={file.name}>
          {text}
        </pre>
      )}
    </li>
  );
}
