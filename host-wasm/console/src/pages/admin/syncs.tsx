/** Copies between registries that are made regularly. */
import type { Job, Sync } from '../../administration.js';
import { useAnswer } from '../../api.js';
import { Badge, Facts, Time } from '../../parts/small.js';
import { Coming, Empty, Failed } from '../../parts/states.js';
import { to } from '../../route.js';
import { canChange } from '../../session.js';
import { count } from '../../words.js';
import { Standing, Start, asText, useEnd, useJobs } from './jobs.js';
import type { Jobs } from './jobs.js';

export function Syncs() {
  const { data, problem, again } = useAnswer<{ syncs: Sync[] }>('/api/v1/syncs');
  const jobs = useJobs();
  if (!data)
    return problem ? <Failed why={problem} what="list of syncs" again={again} /> : <Coming what="syncs" rows={4} />;
  if (data.syncs.length === 0)
    return (
      <Empty title="There is no sync">
        <p>
          A sync is named in the settings file: <code>[[sync]]</code> in orlop.toml(5). It copies repositories from
          another registry, or to one, every so often.
        </p>
      </Empty>
    );
  return (
    <>
      {data.syncs.map((sync) => (
        <One key={sync.name} of={sync} jobs={jobs} changed={again} />
      ))}
    </>
  );
}

const STATES: Record<Sync['state'], [kind: string, says: string]> = {
  never: ['', 'has not run yet'],
  running: ['kind', 'running'],
  interrupted: ['bad', 'interrupted'],
  ended: ['good', 'ended'],
};

/** How many failures are shown. */
const SHOWN = 20;

/** Of a report of several syncs that of the only one. */
function reportOf(report: Job['report']): Job['report'] {
  const [first] = (report?.['syncs'] ?? []) as { counts?: unknown; failures?: unknown[] }[];
  return first ? { images: first.counts, failures: first.failures } : report;
}

function One({ of, jobs, changed }: { of: Sync; jobs: Jobs; changed: () => void }) {
  const { name, from, to: target, schedule, state, began, ended, succeeded, doing, at, counts, failures } = of;
  const [run, dry] = [jobs.of('sync', name), jobs.of('sync-dry-run', name)];
  useEnd(jobs, [run], changed);
  // What a run has done stands above; how far one is, and what a dry run has found, do not.
  const newest = run?.state === 'running' || !dry || (run && run.began >= dry.began) ? run : dry;
  const shown = newest === dry || newest?.state === 'running' ? newest : undefined;
  const [kind, says] =
    failures.length > 0 && state === 'ended' ? ['bad', 'ended with failures'] : (STATES[state] ?? ['', state]);
  return (
    <section class="part panel padded">
      <div class="controls">
        <h2>{name}</h2>
        <Badge kind={kind}>{says}</Badge>
        <span class="spring" />
        <div class="actions">
          <Start jobs={jobs} job="sync-dry-run" target={name} label="Dry run" />
          {canChange() && <Start jobs={jobs} job="sync" target={name} label="Run now" primary />}
        </div>
      </div>
      <Facts
        of={[
          ['From', from],
          ['To', target],
          ['Runs', schedule],
          ['Begun', began && <Time at={began} />],
          ['Ended', ended && <Time at={ended} />],
          [
            'Last without a failure',
            succeeded ? <Time at={succeeded} /> : state !== 'never' && <span class="muted">never</span>,
          ],
          ['Doing', state === 'running' && doing],
          ['At', state === 'running' && at && `${at.repository}:${at.tag}`],
          ['Images', state !== 'never' && asText('', counts)],
        ]}
      />
      {failures.length > 0 && (
        <>
          <h3>Failures</h3>
          <ul class="lines failures">
            {failures.slice(0, SHOWN).map(({ repository, tag, reason }) => (
              <li key={`${repository}:${tag}`}>
                <a href={to.tags(repository)}>
                  {repository}
                  {tag && `:${tag}`}
                </a>{' '}
                <span class="warn">{reason}</span>
              </li>
            ))}
            {failures.length > SHOWN && <li class="muted">and {count(failures.length - SHOWN)} more</li>}
          </ul>
        </>
      )}
      {shown && (
        <div class="run">
          <h3>{shown === dry ? 'Dry run' : 'Run'}</h3>
          <Standing of={{ ...shown, report: reportOf(shown.report) }} />
        </div>
      )}
    </section>
  );
}
