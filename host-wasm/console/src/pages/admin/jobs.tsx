/** Work that goes on in the server: who began it, how far it is, and what came of it. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { size } from '../../../../parts/size.js';
import type { Job } from '../../administration.js';
import { ask, problem, useAnswer } from '../../api.js';
import { Badge, Time } from '../../parts/small.js';
import { tell } from '../../parts/told.js';
import { canChange } from '../../session.js';
import { count, when } from '../../words.js';

const PATH = '/api/v1/jobs';

/** How soon the server is asked again while something runs, and while nothing does, in ms. */
const [SOON, LATER] = [1_000, 10_000];

export interface Jobs {
  /** None until the server has told. */
  all: Job[] | undefined;
  /** The one of that kind, for that target. */
  of: (job: string, target?: string | null) => Job | undefined;
  /** Begins one. Gives whether it was begun. */
  start: (job: string, target?: string | null) => Promise<boolean>;
}

/** All jobs of the server, asked for again and again for as long as the page is open. */
export function useJobs(): Jobs {
  const { data, busy, again } = useAnswer<{ jobs: Job[] }>(PATH);
  const all = data?.jobs;
  const runs = all?.some(({ state }) => state === 'running');
  useEffect(() => {
    if (busy) return;
    let timer: ReturnType<typeof setTimeout>;
    const next = () => {
      if (document.visibilityState === 'hidden') timer = setTimeout(next, LATER);
      else again();
    };
    timer = setTimeout(next, runs ? SOON : LATER);
    return () => clearTimeout(timer);
  }, [busy, runs]);
  return {
    all,
    of: (job, target = null) => all?.find((one) => one.job === job && (one.target ?? null) === target),
    start: async (job, target = null) => {
      try {
        await ask<Job>(PATH, { method: 'POST', json: { job, target } });
        again();
        return true;
      } catch (error) {
        const why = problem(error);
        tell(why.status === 409 ? 'It runs already.' : `It was not begun: ${why.message}.`, why.status !== 409);
        again();
        return false;
      }
    },
  };
}

/** Calls that when one of these jobs has ended since the page was opened, be it that it was never seen running. */
export function useEnd(jobs: Jobs, of: (Job | undefined)[], then: () => void): void {
  const before = useRef<string | undefined>(undefined);
  const over = of.filter((job) => job && job.state !== 'running');
  const now = over.map((job) => `${job!.job} ${job!.target} ${job!.began}`).join();
  useEffect(() => {
    if (!jobs.all) return;
    if (before.current !== undefined && before.current !== now) then();
    before.current = now;
  }, [jobs.all, now]);
}

const STATES = { done: 'good', failed: 'bad', interrupted: 'bad', running: 'kind' } as const;

/** How a job stands. */
export function Standing({ of: { job, state, by, began, ended, progress, report, error } }: { of: Job }) {
  return (
    <div class="standing">
      <p class="small">
        <Badge kind={STATES[state] ?? ''}>{state}</Badge>{' '}
        <span class="muted">
          {state === 'running' ? 'begun ' : state === 'interrupted' ? 'begun ' : 'ended '}
          <Time at={state === 'running' ? began : (ended ?? began)} />
          {by && <> by {by}</>}
        </span>
      </p>
      {state === 'running' && <Running of={progress} />}
      {state === 'interrupted' && (
        <p class="small">The server that ran it has stopped before the end. What was done is kept; run it again.</p>
      )}
      {error && <p class="note bad small">{error}</p>}
      {report && state !== 'running' && job.endsWith('dry-run') && <p class="small">It would do this:</p>}
      {report && state !== 'running' && <Report of={report} />}
    </div>
  );
}

function Running({ of }: { of: Job['progress'] }) {
  if (!of) return <progress aria-label="Progress" />;
  const { done, total, unit, text } = of;
  const told = (number: number) => (unit === 'bytes' ? size(number) : count(number));
  const says = total ? `${told(done)} of ${told(total)}` : told(done);
  return (
    <>
      <progress aria-label="Progress" {...(total && { max: total, value: Math.min(done, total) })} />
      <p class="small muted">
        {says}
        {unit !== 'bytes' && ` ${unit}`}
        {text && ` · ${text}`}
      </p>
    </>
  );
}

/** How many entries of a list in a report are shown. */
const LISTED = 20;

/** What came of it, whatever the server tells: numbers in a line, lists below. What there was nothing of is left out. Of a
 * scrub that has come to its end, `over` is the total of all its parts. */
export function Report({ of: { over, ...of } }: { of: Record<string, unknown> }) {
  const rows = Object.entries({ ...of, ...(over as object | null) }).filter(
    ([, value]) => value !== null && value !== 0 && value !== false && !(Array.isArray(value) && value.length === 0),
  );
  if (rows.length === 0) return <p class="small muted">There was nothing to do.</p>;
  return (
    <dl class="report">
      {rows.map(([name, value]) => (
        <div key={name} class={Array.isArray(value) ? 'whole-line' : ''}>
          <dt>{inWords(name)}</dt>
          <dd class={/problem|finding|fail|fault|damaged/.test(name) ? 'warn' : ''}>
            <Value name={name} of={value} />
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Value({ name, of }: { name: string; of: unknown }) {
  if (!Array.isArray(of)) return <>{asText(name, of)}</>;
  return (
    <ul class="lines">
      {of.slice(0, LISTED).map((one, at) => (
        <li key={at}>{asText('', one)}</li>
      ))}
      {of.length > LISTED && <li class="muted">and {count(of.length - LISTED)} more</li>}
    </ul>
  );
}

/** Any value in one line. */
export function asText(name: string, of: unknown): string {
  if (typeof of === 'number') return /bytes|size/.test(name) ? size(of) : count(of);
  if (typeof of === 'string' && /^\d{4}-\d\d-\d\dT/.test(of)) return when(of);
  if (typeof of === 'boolean') return of ? 'yes' : 'no';
  if (typeof of !== 'object' || of === null) return String(of ?? '–');
  if (Array.isArray(of)) return of.map((one) => asText(name, one)).join(', ');
  return Object.entries(of)
    .filter(([, value]) => value !== null && value !== 0 && !(Array.isArray(value) && value.length === 0))
    .map(([key, value]) => `${inWords(key).toLowerCase()}: ${asText(key, value)}`)
    .join(', ');
}

/** `blobs_deleted` as people write it. */
export const inWords = (name: string): string => {
  const words = name.replaceAll(/[_-]/g, ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
};

/** A job of a page that has one: what it does, a button, and how the last one stands. */
export function JobLine({ job, title, says, done }: { job: string; title: string; says: string; done: () => void }) {
  const jobs = useJobs();
  const last = jobs.of(job);
  useEnd(jobs, [last], done);
  return (
    <section class="part panel work">
      <Work of={last} title={title} says={says}>
        {canChange() && <Start jobs={jobs} job={job} label={`${title} now`} />}
      </Work>
    </section>
  );
}

export function Work({
  of,
  title,
  says,
  children,
}: {
  of: Job | undefined;
  title: string;
  says: preact.ComponentChildren;
  /** The buttons. */
  children: preact.ComponentChildren;
}) {
  return (
    <div class="job">
      <div class="what">
        <h3>{title}</h3>
        <p class="muted small">{says}</p>
      </div>
      <div class="actions">{children}</div>
      {of && <Standing of={of} />}
    </div>
  );
}

/** A button that begins a job. */
export function Start({
  jobs,
  job,
  target = null,
  label,
  primary,
}: {
  jobs: Jobs;
  job: string;
  target?: string | null;
  label: string;
  primary?: boolean;
}) {
  const [busy, put] = useState(false);
  const runs = jobs.of(job, target)?.state === 'running';
  return (
    <button
      type="button"
      class={primary ? 'primary' : ''}
      disabled={busy || runs}
      onClick={async () => {
        put(true);
        await jobs.start(job, target);
        put(false);
      }}
    >
      {label}
    </button>
  );
}
