/** A repository: its tags, with what each names. */
import { useEffect, useState } from 'preact/hooks';
import { size } from '../../../parts/size.js';
import { useAnswer } from '../api.js';
import type { Tag, Tags as Listed } from '../answers.js';
import { command } from '../commands.js';
import { DeleteRepository } from '../parts/delete-repository.js';
import { DeleteTags } from '../parts/delete-tags.js';
import type { Selection } from '../parts/delete-tags.js';
import { Icon } from '../parts/icons.js';
import { Pull, chosen, pulled } from '../parts/pull.js';
import { RepositoryHead } from '../parts/repository.js';
import { Badge, Copy, Digest, Time } from '../parts/small.js';
import { Sorts } from '../parts/sorts.js';
import { Coming, Empty, Failed } from '../parts/states.js';
import { go, to } from '../route.js';
import type { Order, Route, TagSort } from '../route.js';
import { canChange } from '../session.js';
import { ago, count, isImage, kindName, some } from '../words.js';

type Of = Extract<Route, { page: 'tags' }>;

/** How many tags a page has: more are drawn too slowly to turn pages quickly. */
const PAGE = 50;

export function Tags({ of }: { of: Of }) {
  const { repository, q, sort, order, after, at } = of;
  const path = `/api/v1/repositories/${repository}/tags?${new URLSearchParams({
    ...(q && { q }),
    ...(after && { after }),
    n: String(PAGE),
    sort,
    order,
  })}`;
  const { data, problem, busy, again } = useAnswer<Listed>(path);
  // While a filter is typed or a page is turned, what was there before stays.
  const [last, keep] = useState<Listed>();
  useEffect(() => {
    if (data) keep(data);
  }, [data]);
  const shown = data ?? (problem ? undefined : last);
  const [selected, select] = useState<ReadonlySet<string>>(new Set());
  const [deleting, putDeleting] = useState<Selection>();
  const [whole, putWhole] = useState(false);
  useEffect(() => select(new Set()), [q, sort, order, after]);
  if (!shown)
    return (
      <>
        <RepositoryHead repository={repository} tab="tags" />
        {problem ? <Failed why={problem} what="repository" again={again} /> : <Coming what="tags" />}
      </>
    );
  const { tags, total, may } = shown;
  const newest = tags.find(({ name }) => name === 'latest') ?? tags[0];
  const mayDelete = may.includes('delete') && canChange();
  return (
    <>
      <RepositoryHead repository={repository} tab="tags" may={may}>
        {shown.mirror && <Badge title="Its images are fetched from another registry">mirror</Badge>}
        <p class="muted">
          {!q && `${some(total, 'tag')} · `}
          {size(shown.bytes)}
          {shown.created && ` · created ${ago(shown.created)}`}
        </p>
        {mayDelete && !q && (
          <>
            <span class="spring" />
            <button type="button" class="quiet danger" onClick={() => putWhole(true)}>
              Delete repository…
            </button>
          </>
        )}
      </RepositoryHead>
      {problem && <p class="note bad">{problem.message}: what you see was so before.</p>}
      {newest && (
        <Pull of={{ repository, tag: newest.name, digest: newest.digest, ...(newest.kind && { kind: newest.kind }) }} />
      )}
      {(total > 0 || q) && (
        <Controls
          of={of}
          total={total}
          selected={selected}
          mayDelete={mayDelete}
          onDelete={() => putDeleting({ names: [...selected] })}
          onDeleteAll={() => putDeleting({ all: q, total })}
          clear={() => select(new Set())}
        />
      )}
      {tags.length === 0 ? (
        q ? (
          <Empty title={`No tag has “${q}” in its name`}>
            <p>
              <a href={to.tags(repository)}>Show all tags</a>
            </p>
          </Empty>
        ) : (
          <Empty title="This repository has no tags">
            <p>What it holds can be pulled by digest. A push with a tag gives it a name.</p>
          </Empty>
        )
      ) : (
        <>
          <div class={`panel${busy && data === undefined ? ' waiting' : ''}`}>
            <Table of={of} tags={tags} selected={mayDelete ? selected : undefined} select={select} />
          </div>
          <Turn of={of} shown={tags.length} total={total} next={shown.next} at={at} />
        </>
      )}
      {whole && <DeleteRepository of={shown} total={total} close={() => putWhole(false)} />}
      {deleting && (
        <DeleteTags
          repository={repository}
          of={deleting}
          known={tags}
          close={() => putDeleting(undefined)}
          done={() => {
            putDeleting(undefined);
            select(new Set());
          }}
        />
      )}
    </>
  );
}

function Controls(given: {
  of: Of;
  total: number;
  selected: ReadonlySet<string>;
  mayDelete: boolean;
  onDelete: () => void;
  onDeleteAll: () => void;
  clear: () => void;
}) {
  const { of, total, selected, mayDelete } = given;
  const { repository, sort, order } = of;
  const [q, put] = useState(of.q);
  useEffect(() => put(of.q), [of.q]);
  useEffect(() => {
    if (q === of.q) return;
    const timer = setTimeout(() => go(to.tags(repository, { q, sort, order }), { replace: true }), 200);
    return () => clearTimeout(timer);
  }, [q]);
  return (
    <div class="controls">
      <input
        type="search"
        class="filter"
        aria-label="Filter tags"
        placeholder="Filter tags"
        autocapitalize="none"
        spellcheck={false}
        value={q}
        onInput={(event) => put(event.currentTarget.value)}
      />
      <select
        class="short narrow-only"
        aria-label="Sort"
        value={`${sort} ${order}`}
        onChange={(event) => {
          const [sort, order] = event.currentTarget.value.split(' ') as [TagSort, Order];
          go(to.tags(repository, { q, sort, order }), { replace: true });
        }}
      >
        <option value="name asc">By name</option>
        <option value="name desc">By name, last first</option>
        <option value="size desc">Largest first</option>
        <option value="size asc">Smallest first</option>
        <option value="pushed desc">Newest first</option>
        <option value="pushed asc">Oldest first</option>
        <option value="pulled desc">Pulled last</option>
        <option value="pulled asc">Not pulled for longest</option>
        <option value="pulls desc">Pulled most often</option>
      </select>
      <span class="muted" role="status">
        {of.q && some(total, 'match', 'matches')}
      </span>
      <span class="spring" />
      {selected.size > 0 ? (
        <>
          <span>{count(selected.size)} selected</span>
          <button type="button" class="quiet" onClick={given.clear}>
            Clear
          </button>
          <button type="button" class="danger" onClick={given.onDelete}>
            Delete…
          </button>
        </>
      ) : (
        mayDelete &&
        of.q &&
        total > 0 && (
          <button type="button" class="danger" onClick={given.onDeleteAll}>
            Delete all {count(total)}…
          </button>
        )
      )}
      <a
        class="button"
        href={to.compare(repository, selected.size === 2 ? { a: [...selected][0]!, b: [...selected][1]! } : {})}
      >
        Compare
      </a>
    </div>
  );
}

const COLUMNS: { sort?: TagSort; title: string; first: Order; kind?: string }[] = [
  { sort: 'name', title: 'Tag', first: 'asc' },
  { title: 'Platforms', first: 'asc', kind: 'wider' },
  { sort: 'size', title: 'Size', first: 'desc', kind: 'number wide' },
  { sort: 'pushed', title: 'Pushed', first: 'desc', kind: 'wide' },
  { sort: 'pulled', title: 'Pulled', first: 'desc', kind: 'widest' },
  { sort: 'pulls', title: 'Pulls', first: 'desc', kind: 'number widest' },
  { title: 'Digest', first: 'asc', kind: 'wider' },
];

function Table({
  of,
  tags,
  selected,
  select,
}: {
  of: Of;
  tags: Tag[];
  selected: ReadonlySet<string> | undefined;
  select: (names: ReadonlySet<string>) => void;
}) {
  const { repository, q, sort, order } = of;
  const free = tags.filter((tag) => !tag.protected);
  const all = free.length > 0 && free.every(({ name }) => selected?.has(name));
  return (
    <table class="rows tags">
      <caption class="hidden">Tags of {repository}</caption>
      <thead>
        <tr>
          {selected && (
            <td class="pick">
              <input
                type="checkbox"
                aria-label="Select all tags on this page"
                checked={all}
                disabled={free.length === 0}
                onChange={() => select(new Set(all ? [] : free.map(({ name }) => name)))}
              />
            </td>
          )}
          {COLUMNS.map(({ sort: by, title, first, kind }) => {
            const now = by !== undefined && by === sort;
            const next = now ? (order === 'asc' ? 'desc' : 'asc') : first;
            return (
              <Sorts
                key={title}
                title={title}
                kind={kind}
                now={now ? order : undefined}
                href={by && to.tags(repository, { q, sort: by, order: next })}
              />
            );
          })}
          <td />
        </tr>
      </thead>
      <tbody>
        {tags.map((tag) => (
          <Row
            key={tag.name}
            repository={repository}
            tag={tag}
            selected={selected?.has(tag.name)}
            toggle={(on) => {
              const next = new Set(selected);
              if (on) next.add(tag.name);
              else next.delete(tag.name);
              select(next);
            }}
          />
        ))}
      </tbody>
    </table>
  );
}

/** How many platforms are named in a row. */
const NAMED = 3;

function Row({
  repository,
  tag,
  selected,
  toggle,
}: {
  repository: string;
  tag: Tag;
  selected: boolean | undefined;
  toggle: (on: boolean) => void;
}) {
  const { name, digest, pushed, pulled: last, pulls, kind, bytes, platforms } = tag;
  const more = platforms.length - NAMED;
  const text = command(chosen(kind), pulled({ repository, tag: name, ...(kind && { kind }) }));
  const meta = [
    bytes !== undefined && size(bytes),
    ago(pushed),
    platforms.length > 0 && some(platforms.length, 'platform'),
  ];
  return (
    <tr class={selected ? 'selected' : ''}>
      {selected !== undefined && (
        <td class="pick">
          <input
            type="checkbox"
            aria-label={`Select ${name}`}
            checked={selected}
            disabled={tag.protected ?? false}
            onChange={(event) => toggle(event.currentTarget.checked)}
          />
        </td>
      )}
      <th scope="row">
        <span class="name">
          <a href={to.image(repository, name)}>{name}</a>
          {kind && !isImage(kind) && <Badge>{kindName(kind)}</Badge>}
          {tag.protected && (
            <Badge title="A protect mark keeps it from being deleted">
              <Icon name="shield" size={11} /> protected
            </Badge>
          )}
          {tag.damaged && (
            <Badge kind="bad" title="Its manifest is damaged and cannot be pulled">
              <Icon name="warn" size={11} /> damaged
            </Badge>
          )}
        </span>
        <span class="narrow muted small">{meta.filter(Boolean).join(' · ')}</span>
      </th>
      <td class="wider">
        <span class="chips">
          {platforms.slice(0, NAMED).map(({ platform, digest }) => (
            <span class="chip" key={`${platform} ${digest}`}>
              {platform}
            </span>
          ))}
          {more > 0 && (
            <span class="chip more-chip" title={platforms.map(({ platform }) => platform).join(', ')}>
              +{more}
            </span>
          )}
          {platforms.length === 0 && <span class="muted">–</span>}
        </span>
      </td>
      <td class="number wide">{bytes === undefined ? <span class="muted">–</span> : size(bytes)}</td>
      <td class="wide">
        <Time at={pushed} />
      </td>
      <td class="widest">
        {last ? (
          <Time at={last} />
        ) : (
          <span class="muted" title="No pull has been noted">
            –
          </span>
        )}
      </td>
      <td class="number widest">{pulls === undefined ? <span class="muted">–</span> : count(pulls)}</td>
      <td class="wider">
        <Digest digest={digest} href={to.image(repository, digest)} />
      </td>
      <td class="act">
        <Copy text={text} what={`pull command of ${name}`} icon="terminal" />
      </td>
    </tr>
  );
}

/** Turns pages. Where one came from is where the browser goes back to. */
function Turn({
  of,
  shown,
  total,
  next,
  at,
}: {
  of: Of;
  shown: number;
  total: number;
  next: string | undefined;
  at: number;
}) {
  const { repository, q, sort, order, after } = of;
  if (!next && !after) return null;
  const begin = after ? at : 0;
  const following = next && new URL(next, location.origin).searchParams.get('after');
  return (
    <nav class="turn" aria-label="Pages">
      <p class="muted">
        {begin > 0 || !after
          ? `${count(begin + 1)}–${count(begin + shown)} of ${count(total)}`
          : `${some(total, 'tag')}`}
      </p>
      <div class="actions">
        {after && (
          <a class="button" href={to.tags(repository, { q, sort, order })}>
            First page
          </a>
        )}
        {after && (history.state as { turned?: boolean } | null)?.turned && (
          <button type="button" onClick={() => history.back()}>
            Previous
          </button>
        )}
        {following ? (
          <button
            type="button"
            class="primary"
            onClick={() => {
              go(to.tags(repository, { q, sort, order, after: following, at: begin + shown }), {
                state: { turned: true },
              });
            }}
          >
            Next
          </button>
        ) : (
          <button type="button" disabled>
            Next
          </button>
        )}
      </div>
    </nav>
  );
}
