/** All repositories: as a tree by the slashes in their names, or as one list that can be sorted and filtered. */
import { signal } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import { usePages } from '../api.js';
import type { Entry, Folder, Repositories as Listed, Repository } from '../answers.js';
import { size } from '../../../parts/size.js';
import { Icon } from '../parts/icons.js';
import { Line, pulled } from '../parts/pull.js';
import { Badge, Crumbs, Time } from '../parts/small.js';
import { Coming, Empty, Failed, FailedMore } from '../parts/states.js';
import { go, to } from '../route.js';
import type { RepositorySort, Route } from '../route.js';
import { canSignIn, session } from '../session.js';
import { ago, count, some } from '../words.js';

type Of = Extract<Route, { page: 'repositories' }>;

/** Folders that are open: for as long as the page is. */
const opened = signal<ReadonlySet<string>>(new Set());

export function Repositories({ of }: { of: Of }) {
  const { under, q, flat } = of;
  return (
    <>
      {under && <Crumbs name={under} within />}
      <div class="title">
        <h1 tabIndex={-1}>{under || 'Repositories'}</h1>
      </div>
      <Controls of={of} />
      {flat || q ? <List of={of} key={JSON.stringify(of)} /> : <Tree under={under} />}
    </>
  );
}

function Controls({ of }: { of: Of }) {
  const { under, flat, sort, order } = of;
  const [q, put] = useState(of.q);
  useEffect(() => put(of.q), [of.q]);
  useEffect(() => {
    if (q === of.q) return;
    const timer = setTimeout(() => go(to.repositories({ ...of, q }), { replace: true }), 200);
    return () => clearTimeout(timer);
  }, [q]);
  return (
    <div class="controls">
      <div class="tabs" role="group" aria-label="Shown as">
        <a class={flat || of.q ? '' : 'chosen'} aria-current={!flat && !of.q} href={to.repositories({ under })}>
          Folders
        </a>
        <a
          class={flat || of.q ? 'chosen' : ''}
          aria-current={flat || !!of.q}
          href={to.repositories({ under, flat: true, q: of.q })}
        >
          List
        </a>
      </div>
      <input
        type="search"
        class="filter"
        aria-label="Filter repositories"
        placeholder="Filter by name"
        autocapitalize="none"
        spellcheck={false}
        value={q}
        onInput={(event) => put(event.currentTarget.value)}
      />
      {(flat || of.q) && (
        <select
          class="short"
          aria-label="Sort"
          value={`${sort} ${order}`}
          onChange={(event) => {
            const [sort, order] = event.currentTarget.value.split(' ') as [RepositorySort, 'asc' | 'desc'];
            go(to.repositories({ ...of, sort, order }), { replace: true });
          }}
        >
          <option value="name asc">By name</option>
          <option value="name desc">By name, Z first</option>
          <option value="bytes desc">Largest first</option>
          <option value="bytes asc">Smallest first</option>
          <option value="pushed desc">Last push, newest first</option>
          <option value="pushed asc">Last push, oldest first</option>
        </select>
      )}
    </div>
  );
}

function Head() {
  return (
    <thead>
      <tr>
        <th scope="col">Name</th>
        <th scope="col" class="number wide">
          Tags
        </th>
        <th scope="col" class="number wide">
          Size
        </th>
        <th scope="col" class="wide">
          Last push
        </th>
      </tr>
    </thead>
  );
}

function Tree({ under }: { under: string }) {
  const level = useLevel(under);
  if (level.items.length === 0) {
    if (level.problem) return <Failed why={level.problem} what="list of repositories" again={level.again} />;
    if (level.busy) return <Coming what="repositories" />;
    return under ? (
      <Empty title="Nothing is in this folder">
        <p>No repository that you may see has a name that begins with “{under}/”.</p>
      </Empty>
    ) : (
      <Nothing />
    );
  }
  return (
    <div class="panel">
      <table class="rows">
        <caption class="hidden">Repositories and folders</caption>
        <Head />
        <tbody>
          <Level level={level} under={under} depth={0} />
        </tbody>
      </table>
    </div>
  );
}

function useLevel(under: string) {
  const path = `/api/v1/folders?${new URLSearchParams({ ...(under && { under }), n: '100' })}`;
  return usePages<Folder, Entry>(path, ({ entries }) => entries);
}

/** What is in a folder, as rows. */
function Level({ level, under, depth }: { level: ReturnType<typeof useLevel>; under: string; depth: number }) {
  const beginning = under ? under.length + 1 : 0;
  return (
    <>
      {level.items.map((entry) =>
        entry.kind === 'folder' ? (
          <FolderRow key={`${entry.name}/`} folder={entry} label={entry.name.slice(beginning)} depth={depth} />
        ) : (
          <Row key={entry.name} repository={entry} label={entry.name.slice(beginning)} depth={depth} />
        ),
      )}
      {(level.next || level.problem) && (
        <tr class={`more-row d${Math.min(depth, 6)}`}>
          <td colSpan={4}>
            {level.problem ? (
              <FailedMore why={level.problem} again={level.items.length > 0 ? level.more : level.again} />
            ) : (
              <button type="button" class="quiet" disabled={level.busy} onClick={level.more}>
                {level.busy ? 'Loading…' : `Show more${under ? ` of ${under}` : ''}`}
              </button>
            )}
          </td>
        </tr>
      )}
    </>
  );
}

function FolderRow({
  folder,
  label,
  depth,
}: {
  folder: Extract<Entry, { kind: 'folder' }>;
  label: string;
  depth: number;
}) {
  const { name, repositories, more, bytes, pushed } = folder;
  const isOpen = opened.value.has(name);
  const holds = `${count(repositories)}${more ? '+' : ''} ${repositories === 1 && !more ? 'repository' : 'repositories'}`;
  const toggle = () => {
    const next = new Set(opened.value);
    if (isOpen) next.delete(name);
    else next.add(name);
    opened.value = next;
  };
  return (
    <>
      <tr class={`folder d${Math.min(depth, 6)}`}>
        <th scope="row">
          <span class="name">
            <button
              type="button"
              class={`quiet icon twist${isOpen ? ' is-open' : ''}`}
              aria-expanded={isOpen}
              aria-label={`${name}/`}
              onClick={toggle}
            >
              <Icon name="open" size={14} />
            </button>
            <Icon name="folder" />
            <a href={to.repositories({ under: name })}>{label}</a>
            <span class="muted small">{holds}</span>
          </span>
        </th>
        <td class="number wide" />
        <td class="number wide">{bytes !== undefined && size(bytes)}</td>
        <td class="wide">{pushed && <Time at={pushed} />}</td>
      </tr>
      {isOpen && <Inside under={name} depth={depth + 1} />}
    </>
  );
}

function Inside({ under, depth }: { under: string; depth: number }) {
  const level = useLevel(under);
  if (level.busy && level.items.length === 0)
    return (
      <tr class={`d${Math.min(depth, 6)}`}>
        <td colSpan={4} class="muted late">
          Loading…
        </td>
      </tr>
    );
  return <Level level={level} under={under} depth={depth} />;
}

function Row({ repository, label, depth }: { repository: Repository; label: string; depth?: number }) {
  const { name, tags, bytes, pushed, mirror, may = [] } = repository;
  const isOpen = may.includes('pull');
  const meta = [
    tags !== undefined && some(tags, 'tag'),
    bytes !== undefined && size(bytes),
    pushed && ago(pushed),
  ].filter(Boolean);
  return (
    <tr class={depth === undefined ? '' : `d${Math.min(depth, 6)}`}>
      <th scope="row">
        <span class="name">
          {depth !== undefined && <span class="twist" />}
          <Icon name="box" />
          {isOpen ? <a href={to.tags(name)}>{label}</a> : <span>{label}</span>}
          {mirror && <Badge title="Its images are fetched from another registry">mirror</Badge>}
          {!isOpen && <Badge title="You may see that it is there, but not what is in it">no access</Badge>}
        </span>
        {meta.length > 0 && <span class="narrow muted small">{meta.join(' · ')}</span>}
      </th>
      <td class="number wide">{tags === undefined ? <span class="muted">–</span> : count(tags)}</td>
      <td class="number wide">{bytes === undefined ? <span class="muted">–</span> : size(bytes)}</td>
      <td class="wide">
        <Time {...(pushed && { at: pushed })} />
      </td>
    </tr>
  );
}

/** All of them in one list, as far as the user goes on. */
function List({ of: { under, q, sort, order } }: { of: Of }) {
  const parameters = { ...(under && { under }), ...(q && { q }), n: '100', sort, order };
  const list = usePages<Listed, Repository>(
    `/api/v1/repositories?${new URLSearchParams(parameters)}`,
    ({ repositories }) => repositories,
  );
  if (list.items.length === 0) {
    if (list.problem) return <Failed why={list.problem} what="list of repositories" again={list.again} />;
    if (list.busy) return <Coming what="repositories" />;
    if (q)
      return (
        <Empty title={`No repository has “${q}” in its name`}>
          <p>
            <a href={to.repositories({ under })}>Show all{under && ` of ${under}`}</a>
          </p>
        </Empty>
      );
    return <Nothing />;
  }
  return (
    <>
      <div class="panel">
        <table class="rows">
          <caption class="hidden">Repositories</caption>
          <Head />
          <tbody>
            {list.items.map((repository) => (
              <Row key={repository.name} repository={repository} label={repository.name} />
            ))}
          </tbody>
        </table>
      </div>
      {list.problem && <FailedMore why={list.problem} again={list.more} />}
      {list.next && !list.problem && (
        <p class="more">
          <button type="button" disabled={list.busy} onClick={list.more}>
            {list.busy ? 'Loading…' : 'Show more'}
          </button>
        </p>
      )}
    </>
  );
}

/** No repository at all: how one comes into being, or how one sees more. */
function Nothing() {
  const user = session.value?.user;
  if (!user && canSignIn())
    return (
      <Empty title="No repository is open to everybody">
        <p>Sign in to see those that you may see.</p>
        <div class="actions">
          <a class="button primary" href={to.signIn()}>
            Sign in
          </a>
        </div>
      </Empty>
    );
  const { host } = pulled({ repository: 'app' });
  const lines = [`docker tag app ${host}/app:v1`, `docker push ${host}/app:v1`];
  return (
    <Empty title={user ? 'There is no repository that you may see' : 'There is no repository yet'}>
      {user && (
        <p>
          <a href={to.access()}>Why not?</a> tells what the rules let {user} do.
        </p>
      )}
      <p>A repository is there as soon as something is pushed to it:</p>
      {lines.map((line) => (
        <Line key={line} text={line} what="command" />
      ))}
    </Empty>
  );
}
