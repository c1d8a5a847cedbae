/** Why somebody may do something, or may not. */
import { useEffect, useState } from 'preact/hooks';
import type { Explained } from '../../administration.js';
import { ask, problem } from '../../api.js';
import type { Problem } from '../../api.js';
import { Icon } from '../../parts/icons.js';
import { Coming, Failed, SignInFirst } from '../../parts/states.js';
import { go, to } from '../../route.js';
import type { Asked } from '../../route.js';
import { session } from '../../session.js';

const ACTIONS = ['pull', 'push', 'delete', 'list', 'upload', 'create-tag', 'overwrite-tag', 'all'] as const;

export function Access({ of }: { of: Asked }) {
  const { user, administrator } = session.value!;
  return (
    <>
      <div class="title">
        <h1 tabIndex={-1}>Why not?</h1>
      </div>
      {user ? (
        <>
          <p class="lead">
            What the rules let {administrator ? 'somebody' : 'you'} do in a repository, and because of what.
          </p>
          <Form of={of} everybody={administrator} />
          {of.repository && <Answer of={of} everybody={administrator} />}
        </>
      ) : (
        <SignInFirst title="Sign in to see what you may do" />
      )}
    </>
  );
}

function Form({ of, everybody }: { of: Asked; everybody: boolean }) {
  const standard = { ...of, action: of.action || 'push' };
  const [now, put] = useState(standard);
  useEffect(() => put(standard), [JSON.stringify(of)]);
  const field = (name: keyof Asked, says: string, hint: string, required = false) => (
    <div class="field">
      <label for={`why-${name}`}>
        {says} {!required && <span class="optional">optional</span>}
      </label>
      <input
        id={`why-${name}`}
        value={now[name]}
        required={required}
        placeholder={hint}
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
        onInput={(event) => put({ ...now, [name]: event.currentTarget.value })}
      />
    </div>
  );
  return (
    <form
      class="panel padded why"
      onSubmit={(event) => {
        event.preventDefault();
        const trimmed = Object.entries(now).map(([name, value]) => [name, value.trim()]);
        go(to.access(Object.fromEntries(trimmed) as Partial<Asked>));
      }}
    >
      {everybody && field('user', 'User', session.value?.user ?? '')}
      {everybody && field('groups', 'Groups', 'as known')}
      <div class="field">
        <label for="why-action">Wants to</label>
        <select
          id="why-action"
          value={now.action}
          onChange={(event) => put({ ...now, action: event.currentTarget.value })}
        >
          {ACTIONS.map((action) => (
            <option key={action}>{action}</option>
          ))}
        </select>
      </div>
      {field('repository', 'Repository', 'team/app', true)}
      {field('tag', 'Tag', 'v1')}
      <div class="actions">
        <button type="submit" class="primary">
          Explain
        </button>
      </div>
    </form>
  );
}

function Answer({ of, everybody }: { of: Asked; everybody: boolean }) {
  const [told, put] = useState<{ answer?: Explained; why?: Problem }>({});
  const [times, again] = useState(0);
  const { repository, action, tag } = of;
  useEffect(() => {
    const stop = new AbortController();
    put({});
    const groups = everybody ? of.groups.split(/[\s,]+/).filter(Boolean) : [];
    const json = {
      // Groups go with a user.
      user: (everybody && (of.user || (groups.length > 0 && session.value?.user))) || null,
      groups,
      repository,
      action: action || 'push',
      tag: tag || null,
    };
    ask<Explained>('/api/v1/rules/explain', { method: 'POST', json, signal: stop.signal }).then(
      (answer) => put({ answer }),
      (error: unknown) => stop.signal.aborted || put({ why: problem(error) }),
    );
    return () => stop.abort();
  }, [JSON.stringify(of), times]);
  const { answer, why } = told;
  if (why && (why.status === 400 || why.status === 404))
    return (
      <p class="note bad" role="alert">
        {why.message}.
      </p>
    );
  if (why) return <Failed why={why} what="answer" again={() => again(times + 1)} />;
  if (!answer) return <Coming what="the answer" rows={3} />;
  const { allowed, user, explanation } = answer;
  const what = `${action || 'push'} ${repository}${tag ? `:${tag}` : ''}`;
  return (
    <section class="answer" role="status">
      <h2 class={allowed ? 'yes' : 'no'}>
        <Icon name={allowed ? 'check' : 'warn'} /> {user} may{allowed ? '' : ' not'} {what}
      </h2>
      <ul class="panel list">
        {explanation.map((line, at) => (
          <li key={at}>{line.startsWith(' ') ? <code class="break">{line.trim()}</code> : line}</li>
        ))}
      </ul>
    </section>
  );
}
