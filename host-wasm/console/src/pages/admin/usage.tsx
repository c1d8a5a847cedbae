/** How much each repository has, and how far quotas are used. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { size } from '../../../../parts/size.js';
import type { QuotaUsage, RepositoryUsage, Usage as Told } from '../../administration.js';
import { ask, problem, usePages } from '../../api.js';
import { Time } from '../../parts/small.js';
import { Sorts } from '../../parts/sorts.js';
import { Empty } from '../../parts/states.js';
import { tell } from '../../parts/told.js';
import { go, to } from '../../route.js';
import { ago, clock, count, some, when } from '../../words.js';
import { Bar, percent } from './bar.js';
import { JobLine } from './jobs.js';
import { Listing } from './listing.js';

const COLUMNS: { sort: string; title: string; kind?: string; about?: string }[] = [
  { sort: 'name', title: 'Repository' },
  { sort: 'bytes', title: 'Size', kind: 'number', about: 'As it counts for quotas' },
  { sort: 'unshared', title: 'Unshared', kind: 'number wide', about: 'What deleting the repository would free' },
  { sort: 'tags', title: 'Tags', kind: 'number wide' },
  { sort: 'manifests', title: 'Manifests', kind: 'number widest' },
  { sort: 'blobs', title: 'Blobs', kind: 'number widest' },
  { sort: 'last-push', title: 'Last push', kind: 'wider' },
  { sort: 'last-pull', title: 'Last pull', kind: 'wider' },
  { sort: 'pulls', title: 'Pulls', kind: 'number widest', about: 'How often clients got a manifest from it' },
  { sort: 'used', title: 'Quota', kind: 'wide' },
];

/** Those by which the lowest is first: names, and what was pulled from longest ago. */
const RISING: ReadonlySet<string> = new Set(['name', 'last-pull']);

export function Usage({ sort }: { sort: string }) {
  const by = COLUMNS.some((column) => column.sort === sort) ? sort : 'bytes';
  const list = usePages<Told, RepositoryUsage>(
    `/api/v1/usage?${new URLSearchParams({ sort: by, n: '100' })}`,
    ({ repositories }) => repositories,
  );
  const { made, total, quotas = [] } = list.first ?? {};
  // Where counting takes long, the server says when to come again.
  const later = list.items.length === 0 && list.problem?.status === 429 ? (list.problem.retryAfter ?? 5) : undefined;
  useEffect(() => {
    if (later === undefined) return;
    const timer = setTimeout(list.again, later * 1000);
    return () => clearTimeout(timer);
  }, [later, list.busy]);
  const [counting, put] = useState(false);
  // The server shows one report for a while, to all pages and orders.
  const gone = useRef(false);
  useEffect(() => () => void (gone.current = true), []);
  const now = useRef(list);
  now.current = list;
  const anew = async () => {
    put(true);
    try {
      // Where counting takes long, what was begun is then the report that is shown.
      for (let path = '/api/v1/usage?fresh=true&n=1'; path && !gone.current;) {
        const wait = await ask<Told>(path).then(
          () => undefined,
          (error: unknown) => {
            const why = problem(error);
            if (why.status !== 429) throw error;
            return why.retryAfter ?? 5;
          },
        );
        path = wait === undefined ? '' : '/api/v1/usage?n=1';
        if (wait !== undefined) await new Promise((later) => setTimeout(later, wait * 1000));
      }
      if (!gone.current) now.current.again();
    } catch (error) {
      if (gone.current) return;
      tell(`It is not counted anew: ${problem(error).message}.`, true);
    }
    put(false);
  };
  if (later !== undefined)
    return (
      <Empty title="It is being counted">
        <p role="status">That takes a while here. This page shows it as soon as it is there.</p>
      </Empty>
    );
  return (
    <>
      {made && (
        <p class="muted small">
          As of{' '}
          <time dateTime={made} title={when(made)}>
            {clock(made)}
          </time>{' '}
          <button type="button" class="quiet" disabled={counting} onClick={() => void anew()}>
            {counting ? 'Counting…' : 'Refresh'}
          </button>
        </p>
      )}
      {total && (
        <dl class="figures">
          <Figure
            name="Size"
            value={size(total.bytes)}
            about="The sum of all repositories: what several have counts in each"
          />
          <Figure name="Unshared" value={size(total.unshared)} about="What only one repository has" />
          <Figure name="Repositories" value={count(total.repositories)} />
          <Figure name="Tags" value={count(total.tags)} />
          <Figure name="Manifests" value={count(total.manifests)} />
        </dl>
      )}
      {quotas.length > 0 && (
        <section class="part">
          <h2>Quotas</h2>
          <ul class="panel quotas">
            {quotas.map((quota) => (
              <Quota key={quota.quota} of={quota} />
            ))}
          </ul>
        </section>
      )}
      <Listing
        of={list}
        what="usage of the repositories"
        none={
          <Empty title="There is no repository yet">
            <p>What repositories hold is listed here as soon as something is pushed.</p>
          </Empty>
        }
      >
        <section class="part">
          {quotas.length > 0 && <h2>Repositories</h2>}
          <div class="controls narrow-only">
            <select
              aria-label="Sort"
              value={by}
              onChange={(event) => go(to.admin('usage', { sort: event.currentTarget.value }), { replace: true })}
            >
              {COLUMNS.map(({ sort, title }) => (
                <option key={sort} value={sort}>
                  By {title.toLowerCase()}
                </option>
              ))}
            </select>
          </div>
          <div class="panel">
            <table class="rows">
              <caption class="hidden">Repositories and how much they hold</caption>
              <thead>
                <tr>
                  {COLUMNS.map(({ sort: one, title, kind, about }) => (
                    <Sorts
                      key={one}
                      title={title}
                      kind={kind}
                      about={about}
                      now={one === by ? (RISING.has(one) ? 'asc' : 'desc') : undefined}
                      href={to.admin('usage', { sort: one })}
                    />
                  ))}
                </tr>
              </thead>
              <tbody>
                {list.items.map((row) => (
                  <Row key={row.repository} of={row} />
                ))}
              </tbody>
            </table>
          </div>
        </section>
      </Listing>
      <JobLine
        job="recount"
        title="Recount"
        says="Counts the bytes of all repositories anew. It is needed only after a fault: the counts are kept with each push and delete."
        done={() => void anew()}
      />
    </>
  );
}

export function Figure({ name, value, about }: { name: string; value: string; about?: string }) {
  return (
    <div title={about}>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Quota({ of: { quota, together, repositories, bytes, fullest, soft, limit } }: { of: QuotaUsage }) {
  const most = limit ?? soft;
  const used = most === null ? size(bytes) : `${size(bytes)} of ${size(most)}`;
  return (
    <li>
      <p class="between">
        <strong>{quota}</strong>
        <span>
          {used}
          {most !== null && <span class="muted"> · {percent(bytes, most)}</span>}
        </span>
      </p>
      {most !== null && <Bar used={bytes} of={most} soft={soft} label={`${percent(bytes, most)} of ${quota} used`} />}
      <p class="muted small">
        {together
          ? `${some(repositories, 'repository', 'repositories')} together`
          : `For each of ${some(repositories, 'repository', 'repositories')}`}
        {fullest && (
          <>
            {together ? ' · most in ' : ' · fullest is '}
            <a href={to.tags(fullest)}>{fullest}</a>
          </>
        )}
        {soft !== null && ` · warns from ${size(soft)}`}
        {limit === null && ' · no limit'}
      </p>
    </li>
  );
}

function Row({ of }: { of: RepositoryUsage }) {
  const {
    repository,
    bytes,
    unshared,
    tags,
    manifests,
    blobs,
    last_push: push,
    last_pull: pull,
    pulls,
    quota,
    used_percent: used,
  } = of;
  return (
    <tr>
      <th scope="row">
        <span class="name">
          <a href={to.tags(repository)}>{repository}</a>
        </span>
        <span class="narrow muted small">
          {[
            some(tags, 'tag'),
            `${size(unshared)} unshared`,
            push && `pushed ${ago(push)}`,
            used !== null && `${used} % of ${quota}`,
          ]
            .filter(Boolean)
            .join(' · ')}
        </span>
      </th>
      <td class="number">{size(bytes)}</td>
      <td class="number wide">{size(unshared)}</td>
      <td class="number wide">{count(tags)}</td>
      <td class="number widest">{count(manifests)}</td>
      <td class="number widest">{count(blobs)}</td>
      <td class="wider">
        <Time {...(push && { at: push })} />
      </td>
      <td class="wider">
        <Time {...(pull && { at: pull })} />
      </td>
      <td class="number widest">{count(pulls)}</td>
      <td class="wide">
        {used === null ? (
          <span class="muted">–</span>
        ) : (
          <span class="used-of" title={quota ?? undefined}>
            <Bar used={used} of={100} label={`${used} % of the quota ${quota ?? ''} used`} />
            <span class={used >= 100 ? 'warn' : ''}>{count(used)} %</span>
          </span>
        )}
      </td>
    </tr>
  );
}
