import { signal, useComputed } from '@preact/signals';
import { useState } from 'preact/hooks';
import { Report } from '../parts/column.js';
import { registry } from '../remote.js';
import { changed, go, isServer, keep, reason, refresh, snapshot, tell } from '../state.js';
import { read } from '../store.js';
import type { ImageNode, Repository } from '../store.js';
import { about, short, size } from '../words.js';

const chosen = signal<{ repository: string; digest: string; tag?: string } | undefined>(undefined);

const LATER: [string, number][] = [
  ['now', 0],
  ['2 hours from now', 2],
  ['2 days from now', 48],
  ['8 days from now', 192],
  ['60 days from now', 1440],
];

export function Store() {
  const store = useComputed(() => read(snapshot.value));
  const { repositories, sessions, orphans, bytes } = store.value;
  return (
    <>
      {isServer.value && (
        <p class="note">This is the registry in the tab. The page cannot look into the storage of a server.</p>
      )}
      <p class="line">
        <span>
          {repositories.length} {repositories.length === 1 ? 'repository' : 'repositories'}
        </span>
        <span class="muted">
          {snapshot.value.records.length} {snapshot.value.records.length === 1 ? 'record' : 'records'}
        </span>
        <span class="muted">{size(bytes)} at rest</span>
        <button type="button" class="quiet" onClick={() => void refresh()}>
          Refresh
        </button>
        <Reset />
      </p>
      <div class="split store">
        <section class="pane" aria-label="Records as a tree">
          <h2>Records</h2>
          {repositories.length === 0 && sessions.length === 0 && orphans.length === 0 ? (
            <p class="empty">
              The registry is empty. <a href="#/scenarios/push-pull">Push an image</a>, or{' '}
              <a href="#/images">drop one here</a>.
            </p>
          ) : (
            <ul class="tree">
              {repositories.map((repository) => (
                <RepositoryNode key={repository.name} repository={repository} />
              ))}
              {sessions.length > 0 && (
                <li>
                  <details open>
                    <summary>
                      Upload sessions <span class="count">{sessions.length}</span>
                    </summary>
                    <ul>
                      {sessions.map(({ id, repository, offset }) => (
                        <li key={id} class={isChanged(`upload/${id}`)}>
                          <code>{short(id)}</code> in {repository}, {size(offset)}
                        </li>
                      ))}
                    </ul>
                  </details>
                </li>
              )}
              {orphans.length > 0 && (
                <li>
                  <details open>
                    <summary>
                      Orphans: bytes without a record <span class="count">{orphans.length}</span>
                    </summary>
                    <ul>
                      {orphans.map(({ name, size: bytes }) => (
                        <li key={name} class="unreferenced">
                          <code>{short(name)}</code> {size(bytes)}
                        </li>
                      ))}
                    </ul>
                  </details>
                </li>
              )}
            </ul>
          )}
          <Changes />
        </section>
        <section class="pane" aria-label="The image">
          <h2>The image</h2>
          <Graph repositories={repositories} />
          <GarbageCollection />
        </section>
      </div>
    </>
  );
}

function isChanged(...keys: string[]): string {
  return keys.some((key) => changed.value.has(key)) ? 'changed' : '';
}

function RepositoryNode({ repository }: { repository: Repository }) {
  const { name, tags, manifests, blobs } = repository;
  return (
    <li class={isChanged(`repo/${name}`)}>
      <details open>
        <summary>
          <strong>{name}</strong>
        </summary>
        <ul>
          {tags.map(({ tag, digest }) => (
            <li key={tag} class={isChanged(`tag/${name}:${tag}`)}>
              <button
                type="button"
                class="quiet node"
                onClick={() => (chosen.value = { repository: name, digest, tag })}
              >
                <span class="kind">tag</span> {tag}
              </button>
            </li>
          ))}
          {manifests.map((manifest) => (
            <li
              key={manifest.digest}
              class={`${isChanged(`manifest/${name}@${manifest.digest}`)} ${manifest.named ? '' : 'unreferenced'}`}
            >
              <button
                type="button"
                class="quiet node"
                onClick={() => (chosen.value = { repository: name, digest: manifest.digest })}
              >
                <span class="kind">{manifest.kind}</span> <code>{short(manifest.digest)}</code>{' '}
                <span class="muted">{size(manifest.size)}</span>
              </button>
              {manifest.kept && <span class="badge">made by the registry for its tag</span>}
              {!manifest.named && <span class="badge">unreferenced</span>}
            </li>
          ))}
          {blobs.map(({ digest, size: bytes, used }) => (
            <li
              key={digest}
              class={`${isChanged(`link/${name}@${digest}`, `blob/${digest}`)} ${used ? '' : 'unreferenced'}`}
            >
              <span class="node">
                <span class="kind">blob</span> <code>{short(digest)}</code> <span class="muted">{size(bytes)}</span>
              </span>
              {!used && <span class="badge">no manifest uses it</span>}
            </li>
          ))}
        </ul>
      </details>
    </li>
  );
}

/** What the last commit changed. */
function Changes() {
  const keys = [...changed.value];
  if (keys.length === 0) return null;
  return (
    <details class="detail">
      <summary>
        The last commit changed {keys.length} {keys.length === 1 ? 'record' : 'records'}
      </summary>
      <ul class="plain">
        {keys.map((key) => (
          <li key={key}>{about(key)}</li>
        ))}
      </ul>
    </details>
  );
}

/** An image as a graph: tag, index, manifests, layers. */
function Graph({ repositories }: { repositories: Repository[] }) {
  const first = repositories.flatMap(({ name, tags }) =>
    tags.map(({ tag, digest }) => ({ repository: name, tag, digest })),
  )[0];
  const shown = chosen.value ?? first;
  const repository = repositories.find(({ name }) => name === shown?.repository);
  const image = shown && repository?.image(shown.digest);
  if (!shown || !image) return <p class="muted">Choose a tag or manifest on the left, and it is drawn here.</p>;
  return (
    <div class="graph" role="tree" aria-label={`The image ${shown.repository}${shown.tag ? `:${shown.tag}` : ''}`}>
      {shown.tag && (
        <div class="box tag" role="treeitem">
          <span class="kind">tag</span> {shown.repository}:{shown.tag}
        </div>
      )}
      <GraphNode node={image} />
    </div>
  );
}

function GraphNode({ node }: { node: ImageNode }) {
  return (
    <div class="branch" role="group">
      <div class={`box ${node.kind} ${node.missing ? 'missing' : ''}`} role="treeitem" title={node.digest}>
        <span class="kind">{node.kind}</span> {node.platform && <strong>{node.platform}</strong>}{' '}
        <code>{short(node.digest)}</code>{' '}
        <span class="muted">
          {size(node.size)}
          {node.missing && `, ${node.missing}`}
        </span>
      </div>
      {node.children.length > 0 && (
        <div class="children" role="group">
          {node.children.map((child, i) => (
            <GraphNode key={`${child.digest}-${i}`} node={child} />
          ))}
        </div>
      )}
    </div>
  );
}

/** What garbage collection removed, and why. */
interface Taken {
  what: string;
  why: string;
}

const REASONS: Record<string, string> = {
  upload: 'the upload session expired after a week',
  chunk: 'its upload session has ended',
  finished: 'the session ended more than a day ago',
  object: 'what it belonged to is gone',
  bytes: 'what they belonged to is gone',
  link: 'no manifest in the repository has used it for a day',
  holder: 'it belongs to the blob in the repository',
  blob: 'no repository has it any more',
  manifest: 'nothing refers to it any more',
  payload: 'its manifest is gone',
  repo: 'it is empty',
  left: 'its manifest is gone',
  use: 'its manifest is gone',
  referrer: 'its manifest is gone',
};

function GarbageCollection() {
  const [later, setLater] = useState(48);
  const [report, setReport] = useState<Record<string, unknown>>();
  const [taken, setTaken] = useState<Taken[]>([]);
  const [busy, setBusy] = useState(false);
  const collect = async () => {
    setBusy(true);
    try {
      const { id } = await registry().beginGc(Date.now() + later * 3600_000);
      const ended = await registry().run(id);
      await registry().drop(id);
      const gone: Taken[] = [];
      for (const { effect, outcome } of ended.performed) {
        if (effect.effect === 'Commit' && outcome === 'Done') {
          for (const key of effect.delete)
            gone.push({ what: about(key), why: REASONS[key.split('/')[0]!] ?? 'nothing needs it' });
        }
        if (effect.effect === 'Erase') {
          for (const object of effect.objects)
            gone.push({ what: `the object ${short(object)}`, why: 'no record refers to it' });
        }
      }
      setTaken(gone);
      setReport(ended.report);
    } catch (error) {
      tell(`Garbage collection ended early: ${reason(error)}`, true);
    } finally {
      setBusy(false);
      void refresh();
    }
  };
  return (
    <section class="gc" aria-label="Garbage collection">
      <h2>Garbage collection</h2>
      <p>Frees the space of content that nothing refers to any more, after a grace period.</p>
      <div class="actions">
        <label for="later">Time</label>
        <select id="later" value={later} onChange={(event) => setLater(Number(event.currentTarget.value))}>
          {LATER.map(([label, hours]) => (
            <option key={hours} value={hours}>
              {label}
            </option>
          ))}
        </select>
        <button type="button" disabled={busy} onClick={() => void collect()}>
          {busy ? 'Collecting…' : 'Collect garbage'}
        </button>
        <button
          type="button"
          class="quiet"
          onClick={async () => {
            keep(await registry().beginGc(Date.now() + later * 3600_000));
            go('#/effects');
          }}
        >
          Step through
        </button>
      </div>
      <div aria-live="polite">
        {report && (
          <>
            <Report report={report} />
            {taken.length > 0 && (
              <table>
                <thead>
                  <tr>
                    <th>Removed</th>
                    <th>Why</th>
                  </tr>
                </thead>
                <tbody>
                  {taken.map(({ what, why }, i) => (
                    <tr key={i}>
                      <td>{what}</td>
                      <td>{why}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            )}
          </>
        )}
      </div>
    </section>
  );
}

function Reset() {
  const [asking, setAsking] = useState(false);
  if (!asking)
    return (
      <button type="button" class="quiet" onClick={() => setAsking(true)}>
        Reset…
      </button>
    );
  return (
    <span class="asking" role="group" aria-label="Reset the registry">
      Delete everything in this tab?
      <button
        type="button"
        class="danger"
        onClick={async () => {
          setAsking(false);
          await registry().reset();
          chosen.value = undefined;
          changed.value = new Set();
          await refresh();
          tell('The registry in this tab is empty.');
        }}
      >
        Yes, reset
      </button>
      <button type="button" class="quiet" onClick={() => setAsking(false)}>
        No
      </button>
    </span>
  );
}
