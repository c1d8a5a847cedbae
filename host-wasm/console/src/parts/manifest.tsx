/** The manifest and the config as they were pushed. They are asked for when somebody wants to see them: to read a manifest is
 * to pull it, and the registry notes that. */
import { useState } from 'preact/hooks';
import { size } from '../../../parts/size.js';
import type { Image } from '../answers.js';
import { problem, send } from '../api.js';
import { Text } from './files.js';
import { Copy } from './small.js';

const TYPES = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
];

export function Manifest({ whole, image }: { whole: Image; image: Image }) {
  return (
    <>
      <Raw of={whole} title={image === whole ? 'Manifest' : 'Index'} key={whole.digest} />
      {image !== whole && <Raw of={image} title="Manifest for this platform" key={image.digest} />}
      {image.config !== undefined && (
        <section class="named">
          <h2>
            Config <Copy text={JSON.stringify(image.config, null, 2)} what="config" />
          </h2>
          <Text text={JSON.stringify(image.config)} name="Config" />
        </section>
      )}
    </>
  );
}

function Raw({ of, title }: { of: Image; title: string }) {
  const [state, put] = useState<{ text?: string; wrong?: string; busy?: boolean }>({});
  const show = async () => {
    put({ busy: true });
    try {
      const Accept = [...new Set([of.mediaType, ...TYPES])].join(', ');
      const response = await send(`/v2/${of.repository}/manifests/${of.digest}`, { headers: { Accept } });
      put({ text: await response.text() });
    } catch (error) {
      put({ wrong: problem(error).message });
    }
  };
  return (
    <section class="named">
      <h2>
        {title} {state.text !== undefined && <Copy text={state.text} what="manifest" />}
      </h2>
      <p class="muted">
        {of.mediaType}, {size(of.size)}
      </p>
      {state.wrong && <p class="note bad">It cannot be shown: {state.wrong}.</p>}
      {state.text === undefined ? (
        <p class="more-left">
          <button type="button" disabled={state.busy} onClick={() => void show()}>
            {state.busy ? 'Loading…' : 'Show it'}
          </button>{' '}
          <span class="muted small">The registry notes that as a pull.</span>
        </p>
      ) : (
        <Text text={state.text} name={title} />
      )}
    </section>
  );
}
