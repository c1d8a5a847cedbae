import { signal } from '@preact/signals';
import { canServe, isServing, startServing, stopServing } from '../remote.js';
import { reason, serverThere, tell } from '../state.js';

const serving = signal(isServing());
const busy = signal(false);
const lines = signal<{ text: string; bad?: boolean }[]>([]);

/** What the demonstration does, in short. */
const CODE = `import { RegistryClientV2, parseRepo } from 'oci-registry-client';

const client = new RegistryClientV2({
  repo: parseRepo(\`\${location.host}/clients/demo\`),
  scheme: location.protocol.slice(0, -1),
  acceptOCIManifests: true,
});
await client.blobUpload({ digest, stream: layer, contentLength });
await client.putManifest({ ref: 'v1', manifestData, mediaType });
await client.listTags();
await client.getManifest({ ref: 'v1' });`;

async function toggle(): Promise<void> {
  busy.value = true;
  try {
    // Both load the page again.
    if (serving.value) await stopServing();
    else await startServing();
  } catch (error) {
    tell(
      `The service worker could not be started: ${reason(error)}. Browsers allow them on https: and on localhost only.`,
      true,
    );
    busy.value = false;
  }
}

async function demonstrate(): Promise<void> {
  busy.value = true;
  lines.value = [];
  const say = (text: string) => (lines.value = [...lines.value, { text }]);
  try {
    const { demonstrate } = await import('../demo.js');
    await demonstrate(say);
  } catch (error) {
    lines.value = [...lines.value, { text: reason(error), bad: true }];
  } finally {
    busy.value = false;
  }
}

export function Clients() {
  if (!canServe()) {
    return (
      <p class="note bad">
        This browser has no service workers here. They need https:, or localhost, and no private window.
      </p>
    );
  }
  return (
    <div class="split">
      <section class="pane" aria-label="Service worker">
        <h2>Answer fetch('/v2/…')</h2>
        <p>
          A service worker can answer the requests of this tab below <code>/v2/</code> from the registry in the browser.
          Any JavaScript client works against it unchanged; so does the console of your browser’s developer tools.
        </p>
        <p>
          It loads this page again at <code>?v2=tab</code>, and answers only pages at that address. In every other tab{' '}
          <code>/v2/</code> stays what it is{serverThere.value ? ': the registry of this server' : ''}.
        </p>
        <p class="line">
          <button
            type="button"
            class={serving.value ? '' : 'primary'}
            disabled={busy.value}
            aria-pressed={serving.value}
            onClick={() => void toggle()}
          >
            {serving.value ? 'Stop answering' : 'Answer /v2/ here'}
          </button>
          <span class={serving.value ? 'badge good' : 'badge'} role="status">
            {serving.value ? 'the registry in this tab answers' : 'not answering'}
          </span>
        </p>
        <p class="hint">
          Try it: <code>await (await fetch('/v2/_catalog')).json()</code>
        </p>
      </section>
      <section class="pane" aria-label="A real client">
        <h2>A client from npm</h2>
        <p>
          <a href="https://www.npmjs.com/package/oci-registry-client" rel="noreferrer" target="_blank">
            oci-registry-client
          </a>
          , which knows nothing of this page, pushes an image and pulls it again:
        </p>
        <pre tabIndex={0} aria-label="The code of the demonstration">
          {CODE}
        </pre>
        <button
          type="button"
          class="primary"
          disabled={busy.value || !serving.value}
          onClick={() => void demonstrate()}
        >
          Run it
        </button>
        {!serving.value && <p class="hint">Choose “Answer /v2/ here” first.</p>}
        <ol class="plain log" aria-live="polite" aria-label="What the client did">
          {lines.value.map(({ text, bad }, i) => (
            <li key={i} class={bad ? 'bad' : ''}>
              {text}
            </li>
          ))}
        </ol>
      </section>
    </div>
  );
}
