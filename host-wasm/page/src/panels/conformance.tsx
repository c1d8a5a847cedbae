import { signal } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import type {
  CheckResult,
  FailedHistory,
  Left,
  Said,
  TesterMessage,
  TesterReport,
  TesterSettings,
  TesterStart,
} from '../conformance.js';
import { ask } from '../../../parts/ask.js';
import { ServerBar } from '../parts/server.js';
import { registry } from '../remote.js';
import { SERVER, calls, copy, go, keep, ready, reason, route, server, serverThere, tell } from '../state.js';
import type { WireRequest } from '../wire.js';

interface Progress {
  what: string;
  detail: string;
  done: number;
  total: number;
}

const progress = signal<Progress | undefined>(undefined);
const report = signal<TesterReport | undefined>(undefined);
const said = signal<Record<string, Said[]>>({});
/** What the run has left on the server. */
const left = signal<Left | undefined>(undefined);
/** Whether the run was told to stop, and cleans up. */
const stopping = signal(false);
const bug = signal('');
const where = signal<'tab' | 'server'>('tab');
/** The bug that the report speaks of. */
let tested = '';
let worker: Worker | undefined;

const settings = signal<TesterSettings>({
  seed: 1,
  prefix: '',
  histories: 30,
  operations: 40,
  concurrent: 20,
  checks: '',
  profile: 'auto',
  reuse: false,
});

/** The worker is not needed any more. */
function ended(): void {
  worker?.terminate();
  worker = undefined;
  progress.value = undefined;
  stopping.value = false;
}

/** Stops the run. On a server it deletes first what it has pushed. */
function stop(): void {
  if (where.value === 'tab' || !worker) return ended();
  stopping.value = true;
  worker.postMessage({ stop: true });
}

/** Asks whether the tester may push to the server. */
function mayTest(prefix: string): Promise<boolean> {
  return ask({
    title: `Run the tester on ${SERVER}?`,
    says: [
      <>
        It sends some thousands of requests, and pushes small blobs and manifests to some dozens of repositories below{' '}
        <strong>{prefix}</strong>. It touches no other repository.
      </>,
      'At its end, or when you stop it, it deletes what it pushed. Keep this tab open until then.',
      'The names of the empty repositories stay in the catalog until garbage collection removes them: with Orlop, a day later.',
    ],
    does: 'Push test data to the server',
  });
}

async function begin(): Promise<void> {
  ended();
  const atServer = where.value === 'server';
  // A server keeps the names of earlier runs: each run has a place of its own.
  const prefix = atServer ? `orlop-conformance/${Date.now().toString(36)}` : '';
  if (atServer && !(await mayTest(prefix))) return;
  report.value = undefined;
  left.value = undefined;
  progress.value = { what: 'Loading the tester', detail: '', done: 0, total: 1 };
  tested = where.value === 'tab' ? bug.value : '';
  worker = new Worker(new URL('../tester.worker.ts', import.meta.url), { type: 'module', name: 'tester' });
  worker.addEventListener('error', (event) => {
    ended();
    tell(
      `The tester could not start: ${event.message || 'its script could not be loaded'}. Load the page again.`,
      true,
    );
  });
  worker.addEventListener('message', ({ data }: MessageEvent<TesterMessage>) => {
    if ('failed' in data) {
      ended();
      left.value = data.left;
      tell(`The run ended early: ${data.failed}`, true);
    } else if ('report' in data) {
      ended();
      left.value = data.left;
      report.value = data.report;
      said.value = data.said;
    } else if (data.steps >= 0) {
      progress.value = { what: data.what, detail: '', done: 0, total: Math.max(1, data.steps) };
    } else if (progress.value) {
      progress.value = {
        ...progress.value,
        detail: data.what,
        done: Math.min(progress.value.done + 1, progress.value.total),
      };
    }
  });
  const start: TesterStart = {
    target: where.value,
    bug: tested,
    settings: { ...settings.value, prefix, reuse: atServer },
    signIn: server.value.signIn,
  };
  worker.postMessage(start);
}

export function Conformance() {
  const [bugs, setBugs] = useState<{ name: string; text: string }[]>([{ name: '', text: 'No bug' }]);
  useEffect(() => {
    if (ready.value) void registry().bugs().then(setBugs);
  }, [ready.value]);
  const { parameters } = route.value;
  useEffect(() => {
    const seed = Number(parameters.get('seed'));
    if (parameters.has('seed') && Number.isSafeInteger(seed)) settings.value = { ...settings.value, seed };
    if (parameters.has('bug')) bug.value = parameters.get('bug')!;
  }, [parameters.toString()]);
  const put = (some: Partial<TesterSettings>) => (settings.value = { ...settings.value, ...some });
  const { seed, histories, concurrent, checks, profile } = settings.value;
  return (
    <>
      <p>
        The checks and random histories of <code>orlop-conformance</code>, in this tab. Each check holds the registry to
        one item of the specification. A history is a random sequence of requests; its answers are compared with those
        of Orlop’s own core.
      </p>
      {where.value === 'server' && <ServerBar />}
      <form
        class="grid"
        onSubmit={(event) => {
          event.preventDefault();
          void begin();
        }}
      >
        <div class="field">
          <label for="where">Registry</label>
          <select
            id="where"
            value={where.value}
            onChange={(event) => (where.value = event.currentTarget.value as 'tab' | 'server')}
          >
            <option value="tab">A fresh one in this tab</option>
            <option value="server" disabled={!serverThere.value}>
              {serverThere.value ? `Server ${SERVER}` : 'No server here'}
            </option>
          </select>
        </div>
        <div class="field">
          <label for="bug">Plant a bug</label>
          <select
            id="bug"
            value={bug.value}
            disabled={where.value === 'server'}
            onChange={(event) => (bug.value = event.currentTarget.value)}
          >
            {bugs.map(({ name, text }) => (
              <option key={name} value={name}>
                {text}
              </option>
            ))}
          </select>
        </div>
        <div class="field">
          <label for="checks">Only checks with</label>
          <input
            id="checks"
            value={checks}
            placeholder="all of them"
            onInput={(event) => put({ checks: event.currentTarget.value })}
          />
        </div>
        <div class="field">
          <label for="profile">Profile</label>
          <select id="profile" value={profile} onChange={(event) => put({ profile: event.currentTarget.value })}>
            {['auto', 'oci', 'oci-next', 'docker', 'strict'].map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </div>
        <NumberField
          id="histories"
          label="Random histories"
          value={histories}
          put={(value) => put({ histories: value })}
        />
        <NumberField
          id="concurrent"
          label="Concurrent histories"
          value={concurrent}
          put={(value) => put({ concurrent: value })}
        />
        <NumberField id="seed" label="Seed" value={seed} put={(value) => put({ seed: value })} />
        <div class="actions end">
          {progress.value ? (
            <button type="button" class="danger" disabled={stopping.value} onClick={stop}>
              {stopping.value ? 'Stopping…' : 'Stop'}
            </button>
          ) : (
            <button type="submit" class="primary">
              Run
            </button>
          )}
          <button
            type="button"
            class="quiet"
            onClick={() =>
              void copy(
                new URL(`#/conformance?seed=${seed}&bug=${bug.value}`, location.href).href,
                'A link to this run is',
              )
            }
          >
            Copy link
          </button>
        </div>
      </form>
      <div class="running" aria-live="polite">
        {progress.value && (
          <div
            class="progress"
            role="progressbar"
            aria-label={progress.value.what}
            aria-valuemin={0}
            aria-valuemax={progress.value.total}
            aria-valuenow={progress.value.done}
          >
            <progress max={progress.value.total} value={progress.value.done} aria-hidden="true" />
            <span>
              {progress.value.what}
              {progress.value.total > 1 && `: ${progress.value.done} of ${progress.value.total}`}
            </span>
            <span class="muted detail-line">{progress.value.detail}</span>
          </div>
        )}
      </div>
      {left.value && <Leftovers left={left.value} />}
      {report.value && <Results report={report.value} />}
    </>
  );
}

/** Says what a run has left on the server. */
function Leftovers({ left: { repositories, kept } }: { left: Left }) {
  return (
    <div class={kept.length > 0 ? 'note bad' : 'note'} role={kept.length > 0 ? 'alert' : undefined}>
      {kept.length > 0 ? (
        <p>
          The server refused to delete {kept.length === 1 ? 'one thing' : `${kept.length} things`} that the run pushed:{' '}
          {kept.slice(0, 5).map(({ path, status }, i) => (
            <span key={path}>
              {i > 0 && ', '}
              <code class="break">{path}</code> ({status || 'no answer'})
            </span>
          ))}
          {kept.length > 5 && ` and ${kept.length - 5} more`}.
        </p>
      ) : (
        <p>Everything that the run pushed to the server is deleted.</p>
      )}
      {repositories && repositories.length > 0 && (
        <p>
          {repositories.length === 1 ? 'One repository name' : `${repositories.length} repository names`} below{' '}
          <code>{repositories[0]!.split('/').slice(0, 2).join('/')}</code>{' '}
          {repositories.length === 1 ? 'stays' : 'stay'} in the catalog, until garbage collection removes them.
        </p>
      )}
    </div>
  );
}

function NumberField({
  id,
  label,
  value,
  put,
}: {
  id: string;
  label: string;
  value: number;
  put: (value: number) => void;
}) {
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        type="number"
        min={0}
        max={100000}
        value={value}
        onInput={(event) => put(event.currentTarget.valueAsNumber || 0)}
      />
    </div>
  );
}

const RESULTS: Record<CheckResult['result'], string> = {
  passed: 'passed',
  failed: 'failed',
  'not-offered': 'not supported',
};

function Results({ report }: { report: TesterReport }) {
  const [only, setOnly] = useState(report.checks.some(({ result }) => result === 'failed') ? 'failed' : 'all');
  const count = (result: string) => report.checks.filter((check) => check.result === result).length;
  const shown = report.checks.filter(({ result }) => only === 'all' || result === only);
  const failures = [...report.histories.failures, ...report.concurrent.failures];
  return (
    <section aria-label="Results">
      <p class={report.passed ? 'note good' : 'note bad'} role="status">
        {report.ended ?? (report.passed ? 'All checks that count passed.' : 'The registry failed.')} Of{' '}
        {report.checks.length} checks, {count('passed')} passed, {count('failed')} failed, and {count('not-offered')}{' '}
        could not be done, because the registry does not support what they test. Of {report.histories.played} random
        histories with {report.histories.operations} operations, {report.histories.failed || 'none'} failed; of{' '}
        {report.concurrent.played} concurrent histories, {ways(report.concurrent.failures.length)}.
      </p>
      {failures.length > 0 && (
        <>
          <h2>Failed histories, shortened</h2>
          {failures.map((failure, i) => (
            <Failed key={i} failure={failure} replayable={i < report.histories.failures.length} />
          ))}
        </>
      )}
      <h2>Checks</h2>
      <div class="tabs" role="group" aria-label="Which checks are shown">
        {[
          ['all', 'All'],
          ['passed', 'Passed'],
          ['failed', 'Failed'],
          ['not-offered', 'Not supported'],
        ].map(([value, label]) => (
          <button
            type="button"
            key={value}
            class={only === value ? 'chosen' : ''}
            aria-pressed={only === value}
            onClick={() => setOnly(value!)}
          >
            {label}
          </button>
        ))}
      </div>
      <div class="scroll" tabIndex={0} role="region" aria-label="Table of checks">
        <table>
          <thead>
            <tr>
              <th>Item</th>
              <th>Level</th>
              <th>Fact</th>
              <th>Result</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((check) => (
              <tr key={check.id} class={check.result}>
                <td>{check.item}</td>
                <td>{check.level}</td>
                <td>
                  {check.fact}
                  {check.result === 'failed' && (
                    <details class="detail">
                      <summary>Expected and actual answer</summary>
                      <p>Expected: {check.expected}</p>
                      <p>Actual: {check.came}</p>
                      <pre tabIndex={0} aria-label="Commands that reproduce it">
                        {check.curl}
                      </pre>
                    </details>
                  )}
                  {check.what && <p class="muted">{check.what}</p>}
                </td>
                <td>
                  <span class={`badge ${check.result === 'passed' ? 'good' : check.result === 'failed' ? 'bad' : ''}`}>
                    {RESULTS[check.result]}
                  </span>
                </td>
              </tr>
            ))}
            {shown.length === 0 && (
              <tr>
                <td colSpan={4} class="muted">
                  There are none.
                </td>
              </tr>
            )}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function ways(count: number): string {
  return count === 0 ? 'none failed' : `some failed, in ${count === 1 ? 'one way' : `${count} ways`}`;
}

function Failed({ failure, replayable }: { failure: FailedHistory; replayable: boolean }) {
  const list = said.value[`h${failure.history}`];
  // What was said after the failure only cleaned up; the commands end before that.
  const exchanges = failure.curl.match(/^# came:/gm)?.length;
  return (
    <article class="card failure">
      <ol class="plain">
        {failure.operations.map((operation, i) => (
          <li key={i}>{operation}</li>
        ))}
      </ol>
      <p>Expected: {failure.expected}</p>
      <p>Actual: {failure.came}</p>
      <div class="actions">
        {replayable && list && where.value === 'tab' && (
          <button type="button" onClick={() => void replay(list.slice(0, exchanges))}>
            Replay effect by effect
          </button>
        )}
        <button type="button" class="quiet" onClick={() => void copy(failure.curl, 'The commands are')}>
          Copy as curl
        </button>
      </div>
    </article>
  );
}

/** Says it all again to a registry of its own with the same bug; the last call is left to the user, effect by effect. */
async function replay(list: Said[]): Promise<void> {
  try {
    await registry().openLab({ bug: tested });
    calls.value = [];
    const places: [string, string][] = [];
    for (const [i, one] of list.entries()) {
      // Sessions have other names this time.
      const place = places.find(([old]) => one.target.startsWith(old));
      const target = place ? place[1] + one.target.slice(place[0].length) : one.target;
      const request: WireRequest = {
        method: one.method,
        target,
        headers: one.headers,
        body: one.body,
        chunked: one.chunked,
      };
      let call = await registry().begin(request, 'lab');
      if (i < list.length - 1) call = await registry().run(call.id);
      keep(call);
      const location = call.response?.headers.find(([name]) => name === 'Location')?.[1];
      if (location && one.location) places.push([one.location, location]);
    }
    go('#/effects');
    tell('The history is replayed on a separate registry with the same bug. Step through the last call yourself.');
  } catch (error) {
    tell(`The history could not be replayed: ${reason(error)}`, true);
  }
}
