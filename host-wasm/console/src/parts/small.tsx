/** Small parts of many pages. */
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { Icon } from './icons.js';
import type { IconName } from './icons.js';
import { copy } from './told.js';
import { to } from '../route.js';
import { ago, short, when } from '../words.js';

/** A time: how long ago, and in full where the pointer rests. */
export function Time({ at }: { at?: string }) {
  if (!at) return <span class="muted">–</span>;
  return (
    <time dateTime={at} title={when(at)}>
      {ago(at)}
    </time>
  );
}

/** A button that copies a text. */
export function Copy({
  text,
  what,
  label,
  icon = 'copy',
}: {
  text: string;
  what: string;
  label?: string;
  icon?: IconName;
}) {
  const [done, put] = useState(false);
  return (
    <button
      type="button"
      class={label ? 'copy' : 'copy quiet icon'}
      aria-label={label ? undefined : `Copy ${what}`}
      title={label ? undefined : `Copy ${what}`}
      onClick={async () => {
        if (!(await copy(text, what[0]!.toUpperCase() + what.slice(1)))) return;
        put(true);
        setTimeout(() => put(false), 1500);
      }}
    >
      <Icon name={done ? 'check' : icon} />
      {label}
    </button>
  );
}

/** A digest in short, which copies the whole. */
export function Digest({ digest, href }: { digest: string; href?: string }) {
  return (
    <span class="digest">
      {href ? (
        <a href={href} title={digest}>
          <code>{short(digest)}</code>
        </a>
      ) : (
        <code title={digest}>{short(digest)}</code>
      )}
      <Copy text={digest} what="digest" />
    </span>
  );
}

export function Badge({ kind = '', title, children }: { kind?: string; title?: string; children: ComponentChildren }) {
  return (
    <span class={`badge ${kind}`} title={title}>
      {children}
    </span>
  );
}

/** The folders that lead to a repository, or to a folder. */
export function Crumbs({ name, last, within }: { name: string; last?: string; within?: boolean }) {
  const parts = name ? name.split('/') : [];
  const folders = within ? parts : parts.slice(0, -1);
  return (
    <nav class="crumbs" aria-label="Where you are">
      <ol>
        <li>
          <a href={to.repositories()}>Repositories</a>
        </li>
        {folders.map((part, at) => {
          const under = folders.slice(0, at + 1).join('/');
          const isHere = within && at === folders.length - 1;
          return (
            <li key={under}>
              {isHere ? <span aria-current="page">{part}</span> : <a href={to.repositories({ under })}>{part}</a>}
            </li>
          );
        })}
        {!within && parts.length > 0 && (
          <li>{last ? <a href={to.tags(name)}>{parts.at(-1)}</a> : <span aria-current="page">{parts.at(-1)}</span>}</li>
        )}
        {last && (
          <li>
            <span aria-current="page">{last}</span>
          </li>
        )}
      </ol>
    </nav>
  );
}

/** A link of somebody else: only where it leads to a page over https. All else is text. */
export function Outward({ text }: { text: string }) {
  const safe = /^https:\/\/[^\s<>"'`\\]+$/i.test(text) && URL.canParse(text) && !new URL(text).username;
  return safe ? (
    <a href={text} target="_blank" rel="noopener noreferrer nofollow">
      {text}
    </a>
  ) : (
    <>{text}</>
  );
}

/** A table of names and what they are. */
export function Facts({
  of,
  long,
}: {
  of: [name: string, value: ComponentChildren][];
  /** The names are. */ long?: boolean;
}) {
  const said = of.filter(([, value]) => value !== undefined && value !== null && value !== '' && value !== false);
  return (
    <dl class={`facts${long ? ' long' : ''}`}>
      {said.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
