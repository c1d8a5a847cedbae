/** The images of the server: repositories page by page, the tags of one when it is opened. */
import { signal } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import { SignInNeeded, listed } from '../lists.js';
import type { Page } from '../lists.js';
import { SERVER, reason, server } from '../state.js';
import { SignInForm } from './server.js';

/** How many names a page of a list has. */
const PAGE = 100;

/** A list that is read page by page. */
interface List extends Page {
  state: 'loading' | 'listed' | 'sign-in' | 'failed';
  why?: string;
}

/** Counts what changed the server's images: lists are read again. */
export const changes = signal(0);

type Field = 'repositories' | 'tags';

/** Reads a list from its beginning, and more of it on demand. */
function useList(first: string, field: Field): { list: List; more: () => void; again: () => void } {
  const [list, setList] = useState<List>({ state: 'loading', names: [] });
  const [turn, setTurn] = useState(0);
  const read = async (target: string, before: string[], wanted: () => boolean) => {
    setList({ state: 'loading', names: before });
    try {
      const { names, next } = await listed(server.value, target, field);
      if (wanted()) setList({ state: 'listed', names: [...before, ...names], ...(next && { next }) });
    } catch (error) {
      const state = error instanceof SignInNeeded ? 'sign-in' : 'failed';
      // Where the next page failed it can be asked for again.
      if (wanted()) setList({ state, names: before, why: reason(error), ...(before.length > 0 && { next: target }) });
    }
  };
  useEffect(() => {
    let wanted = true;
    void read(first, [], () => wanted);
    return () => void (wanted = false);
  }, [first, server.value, changes.value, turn]);
  return {
    list,
    more: () => list.next && void read(list.next, list.names, () => true),
    again: () => setTurn(turn + 1),
  };
}

interface Image {
  repository: string;
  tag: string;
}

export function Repositories({ busy, give }: { busy: boolean; give: (image: Image) => void }) {
  const { list, more, again } = useList(`/v2/_catalog?n=${PAGE}`, 'repositories');
  if (list.state === 'sign-in' && list.names.length === 0) {
    return (
      <>
        <p>
          <strong>{SERVER}</strong> lists its repositories to signed-in users only.
        </p>
        {server.value.signIn.how === 'none' ? (
          <SignInForm />
        ) : (
          <p class="note bad" role="alert">
            The server refuses this sign-in: {list.why}. Sign out, and sign in again.
          </p>
        )}
        <ByName busy={busy} give={give} />
      </>
    );
  }
  return (
    <>
      {list.state === 'listed' && list.names.length === 0 && (
        <p class="empty">The server has no repository that you may see.</p>
      )}
      <ul class="plain repositories" aria-label="Repositories">
        {list.names.map((repository) => (
          <li key={repository}>
            <Repository repository={repository} busy={busy} give={give} />
          </li>
        ))}
      </ul>
      <Foot list={list} what="repositories" more={more} again={again} />
      {list.state === 'failed' && list.names.length === 0 && <ByName busy={busy} give={give} />}
    </>
  );
}

/** What follows a list: the button for more, or what is wrong. */
function Foot({ list, what, more, again }: { list: List; what: string; more: () => void; again: () => void }) {
  if (list.state === 'loading')
    return (
      <p class="muted" role="status">
        Loading {what}…
      </p>
    );
  if (list.state !== 'listed') {
    return (
      <div class="note bad" role="alert">
        <p>
          The server did not list {list.names.length > 0 ? 'more ' : 'its '}
          {what}: {list.why}.
        </p>
        <button type="button" onClick={list.names.length > 0 ? more : again}>
          Try again
        </button>
      </div>
    );
  }
  if (!list.next) return null;
  return (
    <p class="actions">
      <button type="button" onClick={more}>
        More {what}
      </button>
      <span class="muted">{list.names.length} are shown.</span>
    </p>
  );
}

/** A repository: its tags are asked for when it is opened. */
function Repository({ repository, busy, give }: { repository: string; busy: boolean; give: (image: Image) => void }) {
  const [open, setOpen] = useState(false);
  return (
    <details open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary class="break">{repository}</summary>
      {open && <Tags repository={repository} busy={busy} give={give} />}
    </details>
  );
}

function Tags({ repository, busy, give }: { repository: string; busy: boolean; give: (image: Image) => void }) {
  const { list, more, again } = useList(`/v2/${repository}/tags/list?n=${PAGE}`, 'tags');
  return (
    <>
      {list.state === 'listed' && list.names.length === 0 && <p class="muted">No tags.</p>}
      <ul class="plain tags" aria-label={`Tags of ${repository}`}>
        {list.names.map((tag) => (
          <li key={tag}>
            <span class="break">
              {repository}:<strong>{tag}</strong>
            </span>
            <button
              type="button"
              disabled={busy}
              aria-label={`Download ${repository}:${tag}`}
              onClick={() => give({ repository, tag })}
            >
              Download
            </button>
          </li>
        ))}
      </ul>
      <Foot list={list} what="tags" more={more} again={again} />
    </>
  );
}

/** Opens a repository by its name, for those who may pull from it but not list all. */
function ByName({ busy, give }: { busy: boolean; give: (image: Image) => void }) {
  const [typed, setTyped] = useState('');
  const [shown, setShown] = useState('');
  return (
    <>
      <form
        class="by-name"
        onSubmit={(event) => {
          event.preventDefault();
          setShown(typed.trim());
        }}
      >
        <div class="field">
          <label for="by-name">Or open a repository by its name</label>
          <div class="with-button">
            <input
              id="by-name"
              value={typed}
              required
              pattern="[a-z0-9]+(([._]|__|-+|/)[a-z0-9]+)*"
              title="Small letters and digits, with . _ - and / between them"
              spellcheck={false}
              autocapitalize="none"
              onInput={(event) => setTyped(event.currentTarget.value)}
            />
            <button type="submit">Open</button>
          </div>
        </div>
      </form>
      {shown && <Tags key={shown} repository={shown} busy={busy} give={give} />}
    </>
  );
}
