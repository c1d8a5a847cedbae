/** What has happened in the registry, the newest first. */
import { useEffect, useState } from 'preact/hooks';
import { size } from '../../../../parts/size.js';
import type { Event, Events } from '../../administration.js';
import { ask, problem, send, usePages } from '../../api.js';
import { saveAs } from '../../parts/blob.js';
import { RepositoryHead } from '../../parts/repository.js';
import { Badge, Digest, Time } from '../../parts/small.js';
import { Empty } from '../../parts/states.js';
import { tell } from '../../parts/told.js';
import { go, to } from '../../route.js';
import type { Route, Wanted } from '../../route.js';
import { session } from '../../session.js';
import { ago, count, isDay, short, when } from '../../words.js';
import { Listing } from './listing.js';

type Of = Extract<Route, { page: 'activity' }>;

const HAPPENINGS: Record<string, [kind: string, says: string]> = {
  push: ['good', 'pushed'],
  delete: ['bad', 'deleted'],
  damaged: ['bad', 'found damaged'],
  quota: ['bad', 'soft limit exceeded'],
};

/** What the server is asked for. A day is that of whoever looks. */
function asked({ repository, user, happening, from, until }: Wanted): Record<string, string> {
  return {
    ...(repository && { repository }),
    ...(user && { user }),
    ...(happening && { happening }),
    ...(isDay(from) && { from: new Date(`${from}T00:00:00`).toISOString() }),
    ...(isDay(until) && { until: new Date(`${until}T23:59:59.999`).toISOString() }),
  };
}

export function Activity({ of }: { of: Of }) {
  const { of: wanted, within } = of;
  const list = usePages<Events, Event>(
    `/api/v1/activity?${new URLSearchParams({ ...asked(wanted), n: '50' })}`,
    ({ activity }) => activity,
  );
  const filtered = Object.entries(wanted).some(([name, value]) => value && !(within && name === 'repository'));
  const all = within ? to.activityOf(wanted.repository) : to.activity();
  return (
    <>
      {within ? (
        <RepositoryHead repository={wanted.repository} tab="activity" />
      ) : (
        <div class="title">
          <h1 tabIndex={-1}>Activity</h1>
        </div>
      )}
      <Filter of={wanted} within={within} filtered={filtered} all={all} />
      <Listing
        of={list}
        what="activity"
        none={
          filtered ? (
            <Empty title="Nothing of the kind has happened">
              <p>
                <a href={all}>Show all activity</a>
              </p>
            </Empty>
          ) : (
            <Empty title="Nothing has happened yet">
              <p>
                Pushes and deletes {within ? 'in this repository' : 'in the repositories that you may see'} are listed
                here.
              </p>
            </Empty>
          )
        }
      >
        <div class="panel">
          <table class="rows">
            <caption class="hidden">What has happened, the newest first</caption>
            <thead>
              <tr>
                <th scope="col">What</th>
                <th scope="col" class="wider">
                  Digest
                </th>
                <th scope="col" class="wide">
                  By
                </th>
                {session.value?.administrator && (
                  <th scope="col" class="widest">
                    From
                  </th>
                )}
                <th scope="col" class="wide">
                  When
                </th>
              </tr>
            </thead>
            <tbody>
              {list.items.map((event) => (
                <Row key={event.id} of={event} within={within} />
              ))}
            </tbody>
          </table>
        </div>
      </Listing>
    </>
  );
}

/** How many tags of an event are named. */
const NAMED = 5;

function Row({ of, within }: { of: Event; within: boolean }) {
  const { time, happening, repository, digest, tags, size: bytes, by, address, agent } = of;
  const [kind, says] = HAPPENINGS[happening] ?? ['', happening];
  return (
    <tr>
      <th scope="row">
        <span class="name">
          <Badge kind={kind}>{says}</Badge>
          {!within && <a href={to.tags(repository)}>{repository}</a>}
          {tags.slice(0, NAMED).map((tag) => (
            <a key={tag} class="chip" href={to.image(repository, tag)}>
              {tag}
            </a>
          ))}
          {tags.length > NAMED && <span class="muted small">and {tags.length - NAMED} more</span>}
          {tags.length === 0 && digest && (
            <a class="chip" href={to.image(repository, digest)}>
              {short(digest)}
            </a>
          )}
          {bytes !== null && happening === 'push' && <span class="muted small">{size(bytes)}</span>}
        </span>
        <span class="narrow muted small">
          <span title={when(time)}>{ago(time)}</span>
          {by && ` · ${by}`}
        </span>
      </th>
      <td class="wider">{digest ? <Digest digest={digest} /> : <span class="muted">–</span>}</td>
      <td class="wide">{by || <span class="muted">{happening === 'damaged' ? '–' : 'anonymous'}</span>}</td>
      {session.value?.administrator && (
        <td class="widest" title={agent || undefined}>
          {address || <span class="muted">–</span>}
          {agent && <span class="muted small block cut">{agent}</span>}
        </td>
      )}
      <td class="wide">
        <Time at={time} />
      </td>
    </tr>
  );
}

function Filter({ of, within, filtered, all }: { of: Wanted; within: boolean; filtered: boolean; all: string }) {
  const [now, put] = useState(of);
  useEffect(() => put(of), [JSON.stringify(of)]);
  const show = (next: Wanted) => go(within ? to.activityOf(next.repository, next) : to.activity(next));
  const text = (name: 'repository' | 'user', says: string, example?: string) => (
    <input
      type="search"
      class="filter some"
      aria-label={says}
      placeholder={example ? `${says}: ${example}` : says}
      autocapitalize="none"
      spellcheck={false}
      value={now[name]}
      onInput={(event) => put({ ...now, [name]: event.currentTarget.value })}
    />
  );
  const day = (name: 'from' | 'until', says: string) => (
    <label class="day">
      {says}
      <input type="date" value={now[name]} onInput={(event) => put({ ...now, [name]: event.currentTarget.value })} />
    </label>
  );
  return (
    <form
      class="controls"
      role="search"
      aria-label="Filter activity"
      onSubmit={(event) => {
        event.preventDefault();
        show({ ...now, repository: now.repository.trim(), user: now.user.trim() });
      }}
    >
      {!within && text('repository', 'Repository', 'team/**')}
      {text('user', 'User')}
      <select
        class="short"
        aria-label="What"
        value={now.happening}
        onChange={(event) => show({ ...now, happening: event.currentTarget.value })}
      >
        <option value="">Everything</option>
        <option value="push">Pushes</option>
        <option value="delete">Deletes</option>
        <option value="damaged">Damage found</option>
        <option value="quota">Soft limits exceeded</option>
      </select>
      {day('from', 'From')}
      {day('until', 'To')}
      <button type="submit">Show</button>
      {filtered && (
        <a class="button quiet" href={all}>
          Show all
        </a>
      )}
      <span class="spring" />
      <Export of={of} />
    </form>
  );
}

/** How many events a file has at most: as many as the server keeps. */
const MOST = 100_000;

/** All that is shown and what is behind it, as a file: fetched by the page, since a link would not carry the session. */
function Export({ of }: { of: Wanted }) {
  // How many events have come, while a file is made.
  const [come, put] = useState<number>();
  const save = async (format: 'csv' | 'json') => {
    put(0);
    try {
      const { text, more } = await (format === 'csv' ? table : list)(
        `/api/v1/activity?${new URLSearchParams({ ...asked(of), format })}`,
        put,
      );
      saveAs(new Blob([text], { type: 'application/octet-stream' }), `activity.${format}`);
      if (more) tell(`The file has the newest ${count(MOST)} events: choose days to have those before.`);
    } catch (error) {
      tell(`It cannot be exported: ${problem(error).message}.`, true);
    }
    put(undefined);
  };
  return (
    <span class="actions">
      {come !== undefined && (
        <span class="muted small" role="status">
          {come > 0 ? `${count(come)} events…` : 'Exporting…'}
        </span>
      )}
      {(['csv', 'json'] as const).map((format) => (
        <button
          type="button"
          key={format}
          disabled={come !== undefined}
          aria-label={`Export as ${format.toUpperCase()}`}
          onClick={() => void save(format)}
        >
          {format.toUpperCase()}
        </button>
      ))}
    </span>
  );
}

interface File {
  text: string;
  /** There is more than a file has. */
  more: boolean;
}

async function list(path: string, come: (events: number) => void): Promise<File> {
  const all: Event[] = [];
  for (let next: string | undefined = `${path}&n=100`; next;) {
    if (all.length >= MOST) return { text: JSON.stringify({ activity: all }, null, 2), more: true };
    const page: Events = await ask<Events>(next);
    all.push(...page.activity);
    come(all.length);
    next = page.next;
  }
  return { text: JSON.stringify({ activity: all }, null, 2), more: false };
}

/** As a table. The names of the columns are in the first line of each page. A page looks at no fewer events than it may have. */
async function table(path: string, come: (events: number) => void): Promise<File> {
  let text = '';
  for (let [next, pages]: [string | undefined, number] = [`${path}&n=1000`, 0]; next; pages++) {
    if (pages >= MOST / 1000) return { text, more: true };
    const response: Response = await send(next);
    const part = await response.text();
    text += pages === 0 ? part : part.slice(part.indexOf('\n') + 1);
    come(text.split('\r\n').length - 2);
    next = /<([^>]+)>; rel="next"/.exec(response.headers.get('Link') ?? '')?.[1];
  }
  return { text, more: false };
}
