/** What was deleted and can be got back: of all repositories for administrators, of one for whoever may delete there. */
import { useEffect, useState } from 'preact/hooks';
import { Dialog } from '../../../../parts/dialog.js';
import { size } from '../../../../parts/size.js';
import type { Deleted as One, DeletedPage, Purged, Undeleted } from '../../administration.js';
import { ask, forget, problem, usePages } from '../../api.js';
import { TypeToConfirm } from '../../parts/confirm.js';
import { RepositoryHead } from '../../parts/repository.js';
import { Digest, Time } from '../../parts/small.js';
import { Empty } from '../../parts/states.js';
import { tell } from '../../parts/told.js';
import { go, to } from '../../route.js';
import { canChange, session } from '../../session.js';
import { short, some, until, when } from '../../words.js';
import { Listing } from './listing.js';

export function DeletedOf({ repository }: { repository: string }) {
  return (
    <>
      <RepositoryHead repository={repository} tab="deleted" />
      <List repository={repository} />
    </>
  );
}

export function Deleted({ repository }: { repository: string }) {
  const [q, put] = useState(repository);
  useEffect(() => put(repository), [repository]);
  return (
    <>
      <form
        class="controls"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          go(to.admin('deleted', { repository: q.trim() }));
        }}
      >
        <input
          type="search"
          class="filter"
          aria-label="Repository"
          placeholder="Repository"
          autocapitalize="none"
          spellcheck={false}
          value={q}
          onInput={(event) => put(event.currentTarget.value)}
        />
        <button type="submit">Show</button>
        {repository && (
          <a class="button quiet" href={to.admin('deleted')}>
            Show all
          </a>
        )}
      </form>
      <List repository={repository} wide />
    </>
  );
}

const nameOf = ({ repository, tag, digest }: One) => (tag ? `${repository}:${tag}` : `${repository}@${short(digest)}`);

function List({ repository, wide }: { repository: string; /** With the names of repositories. */ wide?: boolean }) {
  const list = usePages<DeletedPage, One>(
    `/api/v1/deleted?${new URLSearchParams({ ...(repository && { repository }), n: '100' })}`,
    ({ deleted }) => deleted,
  );
  const [back, putBack] = useState<One>();
  const [purging, putPurging] = useState<One>();
  const damaged = list.first?.damaged ?? [];
  const administrator = session.value?.administrator;
  const changed = () => {
    forget();
    list.again();
  };
  return (
    <>
      {damaged.length > 0 && (
        <p class="note bad">
          {some(damaged.length, 'record')} of what was deleted {damaged.length === 1 ? 'does' : 'do'} not read, and
          cannot be shown: <code>orlop check</code> tells more.
        </p>
      )}
      <Listing
        of={list}
        what="list of what was deleted"
        none={
          <Empty
            title={
              repository
                ? `Nothing that was deleted in ${repository} can be got back`
                : 'Nothing that was deleted can be got back'
            }
          >
            <p>
              What is deleted stays for as long as the setting <code>undelete-within</code> says, and can be got back
              here until then.
            </p>
          </Empty>
        }
      >
        <div class="panel">
          <table class="rows">
            <caption class="hidden">What was deleted</caption>
            <thead>
              <tr>
                <th scope="col">{wide ? 'Image' : 'Tag'}</th>
                <th scope="col" class="wider">
                  Digest
                </th>
                <th scope="col" class="wide">
                  Deleted
                </th>
                <th scope="col" class="wide">
                  By
                </th>
                <th scope="col" class="wide">
                  Gone for good
                </th>
                <td />
              </tr>
            </thead>
            <tbody>
              {list.items.map((one) => {
                const { tag, digest, deleted, until: end, by } = one;
                return (
                  <tr key={`${one.repository} ${tag} ${digest} ${deleted}`}>
                    <th scope="row">
                      <span class="name">
                        <span class="image-name">
                          {wide && <a href={to.tags(one.repository)}>{one.repository}</a>}
                          {tag && `${wide ? ':' : ''}${tag}`}
                        </span>
                        {!tag && <span class="muted small">{wide ? 'without a tag' : 'An image without a tag'}</span>}
                      </span>
                      <span class="narrow muted small">
                        {!tag && `${short(digest)} · `}gone {until(end)}
                        {by && ` · by ${by}`}
                      </span>
                    </th>
                    <td class="wider">
                      <Digest digest={digest} />
                    </td>
                    <td class="wide">
                      <Time at={deleted} />
                    </td>
                    <td class="wide">{by || <span class="muted">–</span>}</td>
                    <td class="wide">
                      <time dateTime={end} title={when(end)}>
                        {until(end)}
                      </time>
                    </td>
                    <td class="act">
                      {canChange() && (
                        <button
                          type="button"
                          class="quiet"
                          aria-label={`Undelete ${nameOf(one)}`}
                          onClick={() => putBack(one)}
                        >
                          Undelete
                        </button>
                      )}
                      {canChange() && administrator && (
                        <button
                          type="button"
                          class="quiet danger"
                          aria-label={`Purge ${nameOf(one)}`}
                          onClick={() => putPurging(one)}
                        >
                          Purge…
                        </button>
                      )}
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      </Listing>
      {back && <Undelete of={back} close={() => putBack(undefined)} changed={changed} />}
      {purging && <Purge of={purging} close={() => putPurging(undefined)} changed={changed} />}
    </>
  );
}

function Undelete({ of, close, changed }: { of: One; close: () => void; changed: () => void }) {
  const { repository, tag, digest } = of;
  const [as, put] = useState(tag ?? '');
  const [busy, putBusy] = useState(false);
  const [taken, putTaken] = useState(false);
  const [wrong, putWrong] = useState<string>();
  const [result, putResult] = useState<Undeleted>();
  const undelete = async (force: boolean) => {
    putBusy(true);
    putWrong(undefined);
    const name = as.trim();
    try {
      const json = {
        repository,
        reference: tag ?? digest,
        as: tag !== undefined && name && name !== tag ? name : null,
        force,
      };
      const back = await ask<Undeleted>('/api/v1/deleted/undelete', { method: 'POST', json });
      changed();
      if (back.taken?.length || back.missing?.length) return putResult(back);
      close();
      tell(`${tag === undefined ? nameOf(of) : `${repository}:${name || tag}`} is back`, false, {
        href: to.tags(repository),
        text: 'Show it',
      });
    } catch (error) {
      const why = problem(error);
      // The server names the parameters of the API; here these are a field and a button.
      const isTaken = why.status === 409 && why.message.includes('"force"');
      putTaken(isTaken);
      putWrong(
        isTaken
          ? `${repository}:${name || tag} was pushed again since. Give another name, or overwrite it`
          : why.message,
      );
      putBusy(false);
    }
  };
  if (result)
    return (
      <Dialog title={`${nameOf(of)} is back`} close={close}>
        <div id="dialog-says">
          {result.taken && result.taken.length > 0 && (
            <p>These tags were pushed again since, and stay as they are: {result.taken.join(', ')}.</p>
          )}
          {result.missing && result.missing.length > 0 && (
            <p class="note bad">
              {some(result.missing.length, 'part')} of it {result.missing.length === 1 ? 'was' : 'were'} deleted by{' '}
              {result.missing.length === 1 ? 'itself' : 'themselves'} and did not come back:{' '}
              {result.missing.slice(0, 5).map(short).join(', ')}
              {result.missing.length > 5 && ' and more'}. Pulls of it may fail.
            </p>
          )}
        </div>
        <div class="actions">
          <button type="button" class="primary" autofocus onClick={close}>
            Close
          </button>
        </div>
      </Dialog>
    );
  return (
    <Dialog title={`Undelete ${nameOf(of)}`} close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!busy) void undelete(false);
        }}
      >
        <div id="dialog-says">
          <p>
            {tag === undefined
              ? 'The image comes back, with the tags that went with it.'
              : 'The tag comes back, with the image that it named.'}
          </p>
          {wrong && (
            <p class="note bad" role="alert">
              {wrong}.
            </p>
          )}
        </div>
        {tag !== undefined && (
          <div class="field">
            <label for="undelete-as">As the tag</label>
            <input
              id="undelete-as"
              value={as}
              required
              autocomplete="off"
              autocapitalize="none"
              spellcheck={false}
              onInput={(event) => {
                put(event.currentTarget.value);
                putTaken(false);
              }}
            />
          </div>
        )}
        <div class="actions">
          <button type="submit" class="primary" disabled={busy || taken}>
            {busy ? 'Undeleting…' : 'Undelete'}
          </button>
          {taken && (
            <button type="button" class="danger" disabled={busy} onClick={() => void undelete(true)}>
              Overwrite the tag
            </button>
          )}
          <button type="button" class="quiet" onClick={close}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function Purge({ of, close, changed }: { of: One; close: () => void; changed: () => void }) {
  const { repository, tag, digest } = of;
  const name = nameOf(of);
  const [typed, put] = useState('');
  const [busy, putBusy] = useState(false);
  const [wrong, putWrong] = useState<string>();
  const [kept, putKept] = useState(false);
  const [left, putLeft] = useState<Purged>();
  const purge = async () => {
    putBusy(true);
    putWrong(undefined);
    try {
      const json = { repository, reference: tag ?? digest, force: kept };
      const gone = await ask<Purged>('/api/v1/deleted/purge', { method: 'POST', json });
      changed();
      if (gone.remaining?.length || gone.fault) return putLeft(gone);
      close();
      tell(`${name} is purged, ${size(gone.bytes)} freed`);
    } catch (error) {
      const { status, message } = problem(error);
      putKept(status === 403 && message.includes('"force"'));
      putWrong(message.replace(/[;,]? (?:or )?send `"force".*$/, ''));
      putBusy(false);
    }
  };
  if (left)
    return (
      <Dialog title={`${name} is purged`} close={close}>
        <div id="dialog-says">
          <p>{size(left.bytes)} freed.</p>
          {left.remaining.length > 0 && (
            <ul class="going" aria-label="What stays">
              {left.remaining.slice(0, 10).map(({ digest, why }) => (
                <li key={digest}>
                  <code title={digest}>{short(digest)}</code> stays: {why}
                </li>
              ))}
              {left.remaining.length > 10 && <li class="muted">and {left.remaining.length - 10} more</li>}
            </ul>
          )}
          {left.fault && <p class="note bad">{left.fault}</p>}
        </div>
        <div class="actions">
          <button type="button" class="primary" autofocus onClick={close}>
            Close
          </button>
        </div>
      </Dialog>
    );
  return (
    <Dialog title={`Purge ${name}`} close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!busy && typed === name) void purge();
        }}
      >
        <div id="dialog-says">
          <p>It is erased at once, with what only it needs, and cannot be got back.</p>
          {wrong && (
            <p class="note bad" role="alert">
              It is not purged: {wrong}.
            </p>
          )}
        </div>
        <TypeToConfirm name={name} typed={typed} type={put} autofocus />
        <div class="actions">
          <button type="submit" class="danger" disabled={busy || typed !== name}>
            {busy ? 'Purging…' : kept ? 'Purge it all the same' : 'Purge'}
          </button>
          <button type="button" class="quiet" onClick={close}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}
