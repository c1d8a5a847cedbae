/** What the retention rules delete: the rules, the last run, what waits for an agreement, and a dry run. */
import { useEffect, useState } from 'preact/hooks';
import type { Retention as Told, RetentionRule, Waiting } from '../../administration.js';
import { useAnswer } from '../../api.js';
import { Badge, Facts, Time } from '../../parts/small.js';
import { Coming, Empty, Failed } from '../../parts/states.js';
import { go, to } from '../../route.js';
import { count, some } from '../../words.js';
import { All, DryRun } from './plan.js';

const ALL = '**';

export function Retention({ repository }: { repository: string }) {
  const { data, problem, again } = useAnswer<Told>('/api/v1/retention');
  const [q, put] = useState(repository === ALL ? '' : repository);
  useEffect(() => put(repository === ALL ? '' : repository), [repository]);
  if (!data)
    return problem ? <Failed why={problem} what="retention" again={again} /> : <Coming what="retention" rows={4} />;
  const { rules, status } = data;
  if (rules.length === 0)
    return (
      <Empty title="There is no retention rule">
        <p>
          Rules in the settings file say which tags are deleted when they are old or many: <code>[[retention]]</code> in
          orlop.toml(5).
        </p>
      </Empty>
    );
  return (
    <>
      <Rules rules={rules} />
      <LastRun of={data} />
      {status.waiting.length > 0 && <WaitingOnes all={status.waiting} />}
      <section class="part">
        <h2>Dry run</h2>
        <form
          class="controls"
          onSubmit={(event) => {
            event.preventDefault();
            go(to.admin('retention', { repository: q.trim() || ALL }));
          }}
        >
          <input
            type="search"
            class="filter"
            aria-label="Repository"
            placeholder="All repositories"
            autocapitalize="none"
            spellcheck={false}
            value={q}
            onInput={(event) => put(event.currentTarget.value)}
          />
          <button type="submit" class="primary">
            Dry run
          </button>
          <span class="muted">It tells what would be deleted and why, and deletes nothing.</span>
        </form>
        {repository === ALL ? <All /> : repository && <DryRun repository={repository} key={repository} />}
      </section>
    </>
  );
}

function Rules({ rules }: { rules: RetentionRule[] }) {
  return (
    <section class="part">
      <h2>Rules</h2>
      <ul class="panel list">
        {rules.map(({ name, repositories, text }) => (
          <li key={name}>
            <div class="what">
              <p class="name">
                <strong>{name}</strong>
                {repositories.map((pattern) => (
                  <code class="chip" key={pattern}>
                    {pattern}
                  </code>
                ))}
              </p>
              <p class="muted">{sentence(text)}</p>
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** What a rule says begins in the midst of a sentence, and has no end. */
const sentence = (text: string) => text && `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

function every(seconds: number): string {
  if (seconds % 86_400 === 0) return seconds === 86_400 ? 'every day' : `every ${count(seconds / 86_400)} days`;
  if (seconds % 3_600 === 0) return seconds === 3_600 ? 'every hour' : `every ${count(seconds / 3_600)} hours`;
  return `every ${some(Math.max(1, Math.round(seconds / 60)), 'minute')}`;
}

function LastRun({ of: { status, interval_seconds: interval } }: { of: Told }) {
  const { began, ended, tags_deleted: tags, manifests_deleted: manifests, failed } = status;
  return (
    <section class="part">
      <h2>Last run</h2>
      <div class="panel padded">
        <Facts
          of={[
            ['Runs', interval === null ? 'only by hand' : every(interval)],
            ['Begun', began ? <Time at={began} /> : <span class="muted">never</span>],
            ['Ended', ended ? <Time at={ended} /> : began && <Badge kind="bad">running or interrupted</Badge>],
            ['Deleted', began && `${some(tags, 'tag')} and ${some(manifests, 'manifest')}`],
            [
              'Failed',
              failed.length > 0 && (
                <ul class="lines warn">
                  {failed.slice(0, 20).map((text) => (
                    <li key={text}>{text}</li>
                  ))}
                  {failed.length > 20 && <li>and {count(failed.length - 20)} more</li>}
                </ul>
              ),
            ],
          ]}
        />
      </div>
    </section>
  );
}

/** How many that wait are shown. */
const SHOWN = 100;

function WaitingOnes({ all }: { all: Waiting[] }) {
  return (
    <section class="part">
      <h2>
        Waiting for an agreement <span class="count">{count(all.length)}</span>
      </h2>
      <p class="muted after-head">A run that would delete a large part of a repository leaves that to you.</p>
      <ul class="panel list">
        {all.slice(0, SHOWN).map(({ repository, tags_deleted: gone, tags, manifests_deleted: manifests }) => (
          <li key={repository}>
            <div class="what">
              <p class="name">
                <a href={to.tags(repository)}>{repository}</a>
              </p>
              <p class="muted small">
                {count(gone)} of {some(tags, 'tag')}
                {manifests > 0 && ` and ${some(manifests, 'manifest')}`} would be deleted
              </p>
            </div>
            <span class="spring" />
            <a class="button" href={to.admin('retention', { repository })} aria-label={`Review ${repository}`}>
              Review
            </a>
          </li>
        ))}
        {all.length > SHOWN && <li class="muted">and {count(all.length - SHOWN)} more</li>}
      </ul>
    </section>
  );
}
