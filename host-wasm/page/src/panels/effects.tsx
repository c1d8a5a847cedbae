import { useState } from 'preact/hooks';
import { Column } from '../parts/column.js';
import { UpstreamBar } from '../parts/upstream.js';
import { registry } from '../remote.js';
import { calls, digestOf, go, isServer, keep, reason, tell } from '../state.js';
import type { WireRequest } from '../wire.js';
import { manifestOf, pushAll } from '../tours/image.js';
import { freshImage, pushToUpstream } from '../tours/mirror.js';

/** Calls that are worth seeing side by side. */
interface Race {
  title: string;
  about: string;
  /** Makes ready, and gives the requests that meet. */
  prepare: () => Promise<WireRequest[]>;
}

const quietly = async (request: WireRequest) => {
  const response = await registry().send(request);
  if (response.status >= 300) throw new Error(`${request.method} ${request.target} was answered ${response.status}`);
  return response;
};

async function session(repository: string): Promise<string> {
  const opened = await quietly({ method: 'POST', target: `/v2/${repository}/blobs/uploads/` });
  return opened.headers.find(([name]) => name === 'Location')![1];
}

const RACES: Race[] = [
  {
    title: 'Two chunks for one place',
    about:
      'Step both to their Commit, then let one of them commit. The other meets a conflict, looks again, and is refused.',
    prepare: async () => {
      const target = await session('race/chunks');
      return ['first', 'other'].map((body) => ({ method: 'PATCH', target, body, headers: [['Content-Range', '0-4']] }));
    },
  },
  {
    title: 'Two pushes to one tag',
    about:
      'Both commits require the tag to be as they read it. The second one meets a conflict and reads again, so no push is lost.',
    prepare: async () => {
      const images = await Promise.all([
        manifestOf('amd64', 'from the first job'),
        manifestOf('arm64', 'from the second job'),
      ]);
      for (const image of images) await pushAll((request) => quietly(request), 'race/tag', image, image.digest);
      return images.map((image) => ({
        method: 'PUT',
        target: '/v2/race/tag/manifests/latest',
        body: image.text,
        headers: [['Content-Type', image.mediaType]],
      }));
    },
  },
  {
    title: 'Delete a blob while a manifest that needs it is pushed',
    about: 'Only one of the two can succeed: either the manifest is refused, or the blob stays.',
    prepare: async () => {
      const image = await manifestOf('amd64', 'wanted and unwanted');
      await pushAll((request) => quietly(request), 'race/blob', image);
      return [
        {
          method: 'PUT',
          target: '/v2/race/blob/manifests/v1',
          body: image.text,
          headers: [['Content-Type', image.mediaType]],
        },
        { method: 'DELETE', target: `/v2/race/blob/blobs/${image.layers[0]!.digest}` },
      ];
    },
  },
  {
    title: 'Two pulls of one blob through a mirror',
    about:
      'Step both through Follow. The first begins to fetch the blob from the upstream, a call of its own; the other one follows that, too.',
    prepare: async () => {
      const image = await freshImage();
      await pushToUpstream(image);
      const request = { method: 'GET', target: `/v2/mirror/team/app/blobs/${image.layers[0]!.digest}` };
      return [request, request];
    },
  },
  {
    title: 'Push a single blob',
    about: 'Crash it at any effect, then look into the store: at most, orphaned bytes are left.',
    prepare: async () => {
      // More than is kept among the records, so that there is an object.
      const body = `pushed at ${new Date().toISOString()}\n`.repeat(1000);
      return [{ method: 'POST', target: `/v2/race/alone/blobs/uploads/?digest=${await digestOf(body)}`, body }];
    },
  },
];

export function Effects() {
  const [busy, setBusy] = useState(false);
  const begin = async (race: Race) => {
    setBusy(true);
    try {
      for (const request of await race.prepare()) keep(await registry().begin(request));
    } catch (error) {
      tell(`The race could not be set up: ${reason(error)}`, true);
    } finally {
      setBusy(false);
    }
  };
  const collect = async () => keep(await registry().beginGc(Date.now()));
  return (
    <>
      {isServer.value && (
        <p class="note">
          Only the registry in this tab can be stepped, not a server. Calls that you start here go to the tab.
        </p>
      )}
      <section class={calls.value.length > 0 ? 'starts compact' : 'starts'} aria-label="Begin calls">
        {RACES.map((race) => (
          <article key={race.title} class="card">
            <h2>{race.title}</h2>
            <p>{race.about}</p>
            <button type="button" disabled={busy} onClick={() => void begin(race)}>
              Start
            </button>
          </article>
        ))}
        <article class="card own">
          <h2>Garbage collection, or your own request</h2>
          <p>Garbage collection is a call like any other. Or build a request and choose “Step through”.</p>
          <div class="actions">
            <button type="button" onClick={() => void collect()}>
              Start<span class="hidden">: garbage collection</span>
            </button>
            <button type="button" class="quiet" onClick={() => go('#/requests')}>
              Build a request
            </button>
          </div>
        </article>
      </section>
      {calls.value.length > 0 ? (
        <>
          <p class="line">
            <span class="muted">
              With a call in focus: <kbd>s</kbd> steps, <kbd>r</kbd> runs, <kbd>c</kbd> crashes, <kbd>f</kbd> fails.
            </span>
            <button
              type="button"
              class="quiet"
              onClick={() => {
                for (const { id } of calls.value) void registry().drop(id);
                calls.value = [];
              }}
            >
              Remove all
            </button>
          </p>
          {calls.value.some(({ fetches, title }) => fetches || title.includes('/v2/mirror/')) && <UpstreamBar />}
          <div class="columns">
            {calls.value.map((call) => (
              <Column key={call.id} call={call} />
            ))}
          </div>
        </>
      ) : (
        <p class="empty">No call is running. Start one above.</p>
      )}
    </>
  );
}
