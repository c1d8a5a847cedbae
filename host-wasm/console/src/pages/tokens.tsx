/** The API tokens of whoever is signed in. */
import { useState } from 'preact/hooks';
import { ask as confirm } from '../../../parts/ask.js';
import { Dialog } from '../../../parts/dialog.js';
import type { Deed, Token, Tokens as Listed } from '../answers.js';
import { ask, problem, send, usePages } from '../api.js';
import { Line } from '../parts/pull.js';
import { Time } from '../parts/small.js';
import { Coming, Empty, Failed, FailedMore, SignInFirst } from '../parts/states.js';
import { tell } from '../parts/told.js';
import { canChange, session } from '../session.js';
import { until, when } from '../words.js';

const PATH = '/api/v1/tokens';

export function Tokens() {
  const user = session.value?.user;
  return (
    <>
      <div class="title">
        <h1 tabIndex={-1}>API tokens</h1>
      </div>
      {user ? <Mine user={user} /> : <SignInFirst title="Sign in to see your tokens" />}
    </>
  );
}

function Mine({ user }: { user: string }) {
  const list = usePages<Listed, Token>(`${PATH}?n=100`, ({ tokens }) => tokens);
  const [making, putMaking] = useState(false);
  const [made, putMade] = useState<Token>();
  const make = canChange() && (
    <button type="button" class="primary" onClick={() => putMaking(true)}>
      New token…
    </button>
  );
  const revoke = async (token: Token) => {
    const yes = await confirm({
      title: `Revoke the token ${token.name}?`,
      says: ['Whatever signs in with it is refused from then on. It cannot be taken back.'],
      does: 'Revoke',
      danger: true,
    });
    if (!yes) return;
    try {
      await send(`${PATH}/${encodeURIComponent(token.id)}`, { method: 'DELETE' });
      tell(`The token ${token.name} is revoked`);
    } catch (error) {
      tell(`It is not revoked: ${problem(error).message}.`, true);
    }
    list.again();
  };
  return (
    <>
      <p class="lead">
        A token takes the place of your password in a script or a pipeline: it may do what you may, or less, and can be
        revoked alone.{' '}
        <code>
          docker login -u {user} -p TOKEN {location.host}
        </code>
      </p>
      {list.items.length > 0 ? (
        <>
          {make && <div class="controls">{make}</div>}
          <div class="panel">
            <table class="rows">
              <caption class="hidden">Your tokens</caption>
              <thead>
                <tr>
                  <th scope="col">Name</th>
                  <th scope="col" class="wide">
                    May
                  </th>
                  <th scope="col" class="wider">
                    Made
                  </th>
                  <th scope="col" class="wide">
                    Last used
                  </th>
                  <th scope="col">Expires</th>
                  <td />
                </tr>
              </thead>
              <tbody>
                {list.items.map((token) => (
                  <Row key={token.id} token={token} revoke={() => void revoke(token)} />
                ))}
              </tbody>
            </table>
          </div>
          {list.problem && <FailedMore why={list.problem} again={list.more} />}
          {list.next && !list.problem && (
            <p class="more">
              <button type="button" disabled={list.busy} onClick={list.more}>
                Show more
              </button>
            </p>
          )}
        </>
      ) : list.problem ? (
        <Failed why={list.problem} what="list of tokens" again={list.again} />
      ) : list.busy ? (
        <Coming what="tokens" rows={3} />
      ) : (
        <Empty title="You have no token yet">
          <div class="actions">{make}</div>
        </Empty>
      )}
      {making && (
        <Make
          close={() => putMaking(false)}
          made={(token) => {
            putMaking(false);
            putMade(token);
            list.again();
          }}
        />
      )}
      {made && <Made user={user} token={made} close={() => putMade(undefined)} />}
    </>
  );
}

function Row({ token, revoke }: { token: Token; revoke: () => void }) {
  const { name, actions, repositories, created, expires, last_used: used } = token;
  const left = expires && until(expires);
  const scope = repositories.join(', ') === '**' ? 'all repositories' : repositories.join(', ');
  return (
    <tr>
      <th scope="row">
        {name}
        <span class="narrow muted small">
          {actions.join(', ')} · {scope}
        </span>
      </th>
      <td class="wide">
        {actions.join(', ')} <span class="muted small block">{scope}</span>
      </td>
      <td class="wider">
        <Time at={created} />
      </td>
      <td class="wide">{used ? <Time at={used} /> : <span class="muted">never</span>}</td>
      <td>
        {expires ? (
          <time dateTime={expires} title={when(expires)} class={left === 'over' ? 'warn' : ''}>
            {left === 'over' ? 'expired' : left}
          </time>
        ) : (
          <span class="muted">never</span>
        )}
      </td>
      <td class="act">
        {canChange() && (
          <button type="button" class="quiet danger" aria-label={`Revoke ${name}`} onClick={revoke}>
            Revoke
          </button>
        )}
      </td>
    </tr>
  );
}

const LASTING: [days: number | null, says: string][] = [
  [7, '7 days'],
  [30, '30 days'],
  [90, '90 days'],
  [365, 'a year'],
  [null, 'for ever'],
];

function Make({ close, made }: { close: () => void; made: (token: Token) => void }) {
  const [name, putName] = useState('');
  const [where, putWhere] = useState('**');
  const [actions, putActions] = useState<ReadonlySet<Deed>>(new Set(['pull']));
  const [days, putDays] = useState<number | null>(90);
  const [busy, putBusy] = useState(false);
  const [wrong, putWrong] = useState<string>();
  const repositories = where.split(/[\s,]+/).filter(Boolean);
  const submit = async () => {
    putBusy(true);
    putWrong(undefined);
    try {
      const json = { name: name.trim(), repositories, actions: [...actions], expires_in_days: days };
      made(await ask<Token>(PATH, { method: 'POST', json }));
    } catch (error) {
      putWrong(problem(error).message);
      putBusy(false);
    }
  };
  return (
    <Dialog title="New token" close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <div class="field">
          <label for="token-name">Name</label>
          <input
            id="token-name"
            value={name}
            required
            autofocus
            autocomplete="off"
            maxLength={64}
            onInput={(event) => putName(event.currentTarget.value)}
          />
          <p class="hint">What it is for, such as “build server”.</p>
        </div>
        <fieldset class="field">
          <legend>It may</legend>
          {(['pull', 'push', 'delete'] as const).map((deed) => (
            <label class="check" key={deed}>
              <input
                type="checkbox"
                checked={actions.has(deed)}
                onChange={(event) => {
                  const next = new Set(actions);
                  if (event.currentTarget.checked) next.add(deed);
                  else next.delete(deed);
                  putActions(next);
                }}
              />
              {deed}
            </label>
          ))}
        </fieldset>
        <div class="field">
          <label for="token-where">In these repositories</label>
          <input
            id="token-where"
            value={where}
            required
            autocomplete="off"
            autocapitalize="none"
            spellcheck={false}
            onInput={(event) => putWhere(event.currentTarget.value)}
          />
          <p class="hint">
            <code>**</code> is all that you may use; <code>team/**</code> those below team.
          </p>
        </div>
        <div class="field">
          <label for="token-days">It lasts</label>
          <select
            id="token-days"
            value={String(days)}
            onChange={(event) =>
              putDays(event.currentTarget.value === 'null' ? null : Number(event.currentTarget.value))
            }
          >
            {LASTING.map(([days, says]) => (
              <option key={says} value={String(days)}>
                {says}
              </option>
            ))}
          </select>
        </div>
        {wrong && (
          <p class="note bad" role="alert">
            {wrong}.
          </p>
        )}
        <div class="actions">
          <button type="submit" class="primary" disabled={busy || actions.size === 0 || repositories.length === 0}>
            {busy ? 'Making it…' : 'Make the token'}
          </button>
          <button type="button" class="quiet" onClick={close}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** The secret, once. */
function Made({ user, token, close }: { user: string; token: Token; close: () => void }) {
  const secret = token.secret ?? '';
  return (
    <Dialog title={`The token ${token.name}`} close={close}>
      <div id="dialog-says">
        <p>Copy it now: it is shown this once, and the registry does not keep it.</p>
        <Line text={secret} what="token" />
        <p class="muted">
          Sign in with it as {user}:{' '}
          <code>
            docker login -u {user} --password-stdin {location.host}
          </code>
        </p>
      </div>
      <div class="actions">
        <button type="button" class="primary" onClick={close}>
          I have it
        </button>
      </div>
    </Dialog>
  );
}
