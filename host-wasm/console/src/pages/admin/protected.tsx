/** Marks that keep tags from being deleted. */
import { useState } from 'preact/hooks';
import { ask as confirm } from '../../../../parts/ask.js';
import { Dialog } from '../../../../parts/dialog.js';
import type { Mark } from '../../administration.js';
import { ask, forget, problem, send, usePages } from '../../api.js';
import { meaning } from '../../marks.js';
import { Time } from '../../parts/small.js';
import { Empty } from '../../parts/states.js';
import { tell } from '../../parts/told.js';
import { canChange } from '../../session.js';
import { Listing } from './listing.js';

const PATH = '/api/v1/protected';

export function Protected() {
  const list = usePages<{ protected: Mark[]; next?: string }, Mark>(`${PATH}?n=100`, (answer) => answer.protected);
  const [adding, put] = useState(false);
  const changed = () => {
    forget();
    list.again();
  };
  const add = canChange() && (
    <button type="button" class="primary" onClick={() => put(true)}>
      New mark…
    </button>
  );
  const remove = async ({ what }: Mark) => {
    const yes = await confirm({
      title: `Remove the mark ${what}?`,
      says: [`What it speaks of can be deleted again: ${meaning(what)}.`],
      does: 'Remove',
      danger: true,
    });
    if (!yes) return;
    try {
      await send(`${PATH}?${new URLSearchParams({ what })}`, { method: 'DELETE' });
      tell(`The mark ${what} is removed`);
    } catch (error) {
      tell(`It is not removed: ${problem(error).message}.`, true);
    }
    changed();
  };
  return (
    <>
      <p class="lead">
        What a mark speaks of is not deleted: by nobody, and by no retention rule, until the mark is removed.
      </p>
      <Listing
        of={list}
        what="list of marks"
        none={
          <Empty title="Nothing is protected">
            <div class="actions">{add}</div>
          </Empty>
        }
      >
        {add && <div class="controls">{add}</div>}
        <div class="panel">
          <table class="rows">
            <caption class="hidden">Protect marks</caption>
            <thead>
              <tr>
                <th scope="col">Mark</th>
                <th scope="col" class="wide">
                  Keeps
                </th>
                <th scope="col" class="wide">
                  Since
                </th>
                <td />
              </tr>
            </thead>
            <tbody>
              {list.items.map((mark) => (
                <tr key={mark.what}>
                  <th scope="row">
                    <code class="break">{mark.what}</code>
                    <span class="narrow muted small">{meaning(mark.what)}</span>
                  </th>
                  <td class="wide wraps">{meaning(mark.what)}</td>
                  <td class="wide">
                    <Time at={mark.since} />
                  </td>
                  <td class="act">
                    {canChange() && (
                      <button
                        type="button"
                        class="quiet danger"
                        aria-label={`Remove ${mark.what}`}
                        onClick={() => void remove(mark)}
                      >
                        Remove
                      </button>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Listing>
      {adding && <Add close={() => put(false)} changed={changed} />}
    </>
  );
}

function Add({ close, changed }: { close: () => void; changed: () => void }) {
  const [what, put] = useState('');
  const [busy, putBusy] = useState(false);
  const [wrong, putWrong] = useState<string>();
  const add = async () => {
    putBusy(true);
    putWrong(undefined);
    try {
      const mark = await ask<Mark>(PATH, { method: 'POST', json: { what: what.trim() } });
      changed();
      close();
      tell(
        mark.matches === false
          ? `The mark ${mark.what} is set. There is nothing yet that it speaks of`
          : `The mark ${mark.what} is set`,
      );
    } catch (error) {
      putWrong(problem(error).message);
      putBusy(false);
    }
  };
  return (
    <Dialog title="New protect mark" close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!busy) void add();
        }}
      >
        <div class="field">
          <label for="mark">What to keep</label>
          <input
            id="mark"
            value={what}
            required
            autofocus
            autocomplete="off"
            autocapitalize="none"
            spellcheck={false}
            onInput={(event) => put(event.currentTarget.value)}
          />
          <p class="hint">
            Such as <code>team/app:v1</code>, <code>team/*:v*</code> or <code>team/app</code>.
          </p>
        </div>
        <div id="dialog-says">
          <p aria-live="polite">{what.trim() ? <>It keeps {meaning(what)}.</> : ' '}</p>
          {wrong && (
            <p class="note bad" role="alert">
              {wrong}.
            </p>
          )}
        </div>
        <div class="actions">
          <button type="submit" class="primary" disabled={busy || !what.trim()}>
            {busy ? 'Protecting…' : 'Protect'}
          </button>
          <button type="button" class="quiet" onClick={close}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}
