/** The search in the top bar: as one types, on the server (a combobox after the patterns of WAI-ARIA). */
import { useEffect, useRef, useState } from 'preact/hooks';
import { ask, problem } from '../api.js';
import type { Problem } from '../api.js';
import type { Found, Results } from '../answers.js';
import { go, route, to } from '../route.js';
import { Icon } from './icons.js';

/** How long to wait for the next key, in ms. */
const PAUSE = 120;
const SHOWN = 8;

export const hrefOf = ({ repository, tag }: Found): string => (tag ? to.image(repository, tag) : to.tags(repository));

/** A text with the part that was searched for marked in it. */
export function Marked({ text, part }: { text: string; part: string }) {
  const at = part ? text.toLowerCase().indexOf(part.toLowerCase()) : -1;
  if (at < 0) return <>{text}</>;
  return (
    <>
      {text.slice(0, at)}
      <mark>{text.slice(at, at + part.length)}</mark>
      {text.slice(at + part.length)}
    </>
  );
}

/** What of a search is marked in names of repositories, and what in tags. */
export function partsOf(q: string): [repository: string, tag: string] {
  const at = q.indexOf(':');
  return at < 0 ? [q, q] : [q.slice(0, at), q.slice(at + 1)];
}

export function SearchBox() {
  const now = route.value;
  const [q, put] = useState(now.page === 'search' ? now.q : '');
  const [found, putFound] = useState<{ q: string; results: Found[]; problem?: Problem }>();
  const [open, putOpen] = useState(false);
  const [active, putActive] = useState(-1);
  const field = useRef<HTMLInputElement>(null);

  useEffect(() => {
    const focus = (event: KeyboardEvent) => {
      const inField = (event.target as Element).closest('input, textarea, select, [contenteditable]');
      if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || inField) return;
      if (document.querySelector('dialog[open]')) return;
      event.preventDefault();
      field.current?.focus();
      field.current?.select();
    };
    addEventListener('keydown', focus);
    return () => removeEventListener('keydown', focus);
  }, []);
  useEffect(() => {
    // The field is for a new search once the user is elsewhere.
    if (now.page === 'search') put(now.q);
    else put('');
    putOpen(false);
  }, [now]);
  const wanted = q.trim();
  useEffect(() => {
    if (!open || !wanted) return;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      const path = `/api/v1/search?${new URLSearchParams({ q: wanted, n: String(SHOWN) })}`;
      ask<Results>(path, { signal: stop.signal }).then(
        ({ results }) => {
          putFound({ q: wanted, results });
          putActive(-1);
        },
        (error: unknown) => {
          if (!stop.signal.aborted) putFound({ q: wanted, results: [], problem: problem(error) });
        },
      );
    }, PAUSE);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [wanted, open]);

  const shown = open && wanted !== '' && found !== undefined;
  const results = shown ? found.results : [];
  const [name, tag] = partsOf(found?.q ?? '');
  const submit = () => {
    const chosen = results[active];
    putOpen(false);
    field.current?.blur();
    if (chosen) go(hrefOf(chosen));
    else if (wanted) go(to.search(wanted));
  };
  const key = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && results.length > 0) {
      event.preventDefault();
      // Past the last one is the field itself, at -1.
      const places = results.length + 1;
      putActive(((active + 1 + step + places) % places) - 1);
    } else if (event.key === 'Escape') {
      if (shown) event.preventDefault();
      putOpen(false);
    }
  };
  return (
    <search>
      <form
        class="search"
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
        onFocusOut={(event) => {
          if (!event.currentTarget.contains(event.relatedTarget as Node | null)) putOpen(false);
        }}
      >
        <Icon name="search" />
        <input
          ref={field}
          type="text"
          enterkeyhint="search"
          role="combobox"
          aria-label="Search repositories and tags"
          aria-expanded={shown}
          aria-controls="found"
          aria-autocomplete="list"
          aria-activedescendant={shown && active >= 0 ? `found-${active}` : undefined}
          aria-keyshortcuts="/"
          placeholder="Search repositories and tags"
          autocomplete="off"
          autocapitalize="none"
          spellcheck={false}
          value={q}
          onFocus={() => putOpen(true)}
          onInput={(event) => {
            put(event.currentTarget.value);
            putOpen(true);
          }}
          onKeyDown={key}
        />
        <kbd aria-hidden="true">/</kbd>
        <div class="found" hidden={!shown}>
          <ul id="found" role="listbox" aria-label="Found">
            {results.map((one, at) => (
              <li
                key={`${one.repository}:${one.tag ?? ''}`}
                id={`found-${at}`}
                role="option"
                aria-selected={at === active}
                onMouseDown={(event) => event.preventDefault()}
                onClick={() => {
                  putOpen(false);
                  go(hrefOf(one));
                }}
              >
                <Icon name={one.tag ? 'tag' : 'box'} />
                <span>
                  <Marked text={one.repository} part={name} />
                  {one.tag && (
                    <span class="of-tag">
                      :<Marked text={one.tag} part={tag} />
                    </span>
                  )}
                </span>
              </li>
            ))}
          </ul>
          {shown && (
            <p class="muted" role="status">
              {found.problem
                ? found.problem.message
                : results.length === 0
                  ? `Nothing has “${found.q}” in its name`
                  : results.length < SHOWN
                    ? `${results.length} found`
                    : 'Enter shows all'}
            </p>
          )}
        </div>
      </form>
    </search>
  );
}
