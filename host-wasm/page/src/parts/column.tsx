/** A call as a column of effects. */
import { useState } from 'preact/hooks';
import { registry } from '../remote.js';
import { calls, keep, reason, tell } from '../state.js';
import type { CallState, Performed } from '../wire.js';
import { asks, came, short, troubles } from '../words.js';
import { Answer } from './answer.js';

export function Column({ call }: { call: CallState }) {
  const [busy, setBusy] = useState(false);
  /** It follows the fetch of a blob, which is a call of its own. */
  const waits = busy && call.effect.effect === 'Follow';
  const ended = call.effect.effect === 'Respond' || call.effect.effect === 'Over';

  const act = async (what: () => Promise<CallState>) => {
    setBusy(true);
    try {
      keep(await what());
    } catch (error) {
      // A call that was removed while it waited has nothing to tell.
      if (calls.value.some(({ id }) => id === call.id)) tell(reason(error), true);
    } finally {
      setBusy(false);
    }
  };
  const api = registry();
  const step = () => void act(() => api.step(call.id));
  const run = () => void act(() => api.run(call.id));
  const crash = () => void act(() => api.crash(call.id));
  const fail = (options: { full?: boolean; afterwards?: boolean }) => void act(() => api.fault(call.id, options));
  const drop = () => {
    calls.value = calls.value.filter(({ id }) => id !== call.id);
    void api.drop(call.id);
  };
  const keys = (event: KeyboardEvent) => {
    if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey) return;
    const does = { s: step, r: run, c: crash, f: () => fail({}) }[event.key];
    if (does && !ended && !busy) {
      event.preventDefault();
      does();
    }
  };

  return (
    <section class="column" aria-label={`Call ${call.id}: ${call.title}`} tabIndex={0} onKeyDown={keys}>
      <header>
        <h2>
          <span class="call-number">{call.id}</span> {short(call.title)}
        </h2>
        <button type="button" class="quiet icon" onClick={drop} aria-label={`Remove call ${call.id}`}>
          ×
        </button>
      </header>
      <div class="controls">
        <button type="button" class="primary" disabled={ended || busy} onClick={step}>
          Step
        </button>
        <button type="button" disabled={ended || busy} onClick={run}>
          Run
        </button>
        <button type="button" disabled={ended || (busy && !waits)} onClick={crash}>
          Crash here
        </button>
        {ended ? (
          <button type="button" disabled>
            Fail this effect
          </button>
        ) : (
          <details class="menu">
            <summary class="button">Fail this effect</summary>
            <div class="choices">
              <button type="button" disabled={busy} onClick={() => fail({})}>
                The storage fails before it is done
              </button>
              <button type="button" disabled={busy} onClick={() => fail({ afterwards: true })}>
                It is done, but the storage says it failed
              </button>
              <button type="button" disabled={busy} onClick={() => fail({ full: true })}>
                The disk is full
              </button>
            </div>
          </details>
        )}
      </div>
      <ol class="effects">
        {call.performed.map((performed, i) => (
          <Done key={i} performed={performed} />
        ))}
        <li class={`effect next ${call.effect.effect.toLowerCase()}`} aria-current="step">
          <p class="what">
            <span class="name">
              {call.effect.effect === 'Respond'
                ? call.fetches
                  ? 'Over'
                  : 'Response'
                : call.effect.effect === 'Over'
                  ? 'Crashed'
                  : call.effect.effect}
            </span>
            {call.effect.altered && <span class="badge bad">altered by the planted bug</span>}
          </p>
          {call.effect.effect !== 'Respond' && <p>{asks(call.effect)}</p>}
          {call.response && !ended && <p class="muted">The client has its response by now: this is clean-up.</p>}
          {waits && <p class="muted">It waits for the fetch, a call of its own. Step that one.</p>}
          {call.fetches && call.effect.effect === 'Respond' && (
            <p>Every call that waits for the blob has its result.</p>
          )}
          {!ended && <Detail value={call.effect} />}
          {call.response && <Answer response={call.response} timed={false} />}
          {call.report && <Report report={call.report} />}
        </li>
      </ol>
    </section>
  );
}

function Done({ performed }: { performed: Performed }) {
  const { effect, outcome } = performed;
  return (
    <li class={`effect done ${troubles(outcome) ? 'trouble' : ''}`}>
      <p class="what">
        <span class="name">{effect.effect}</span>
        {effect.altered && <span class="badge bad">altered by the planted bug</span>}
      </p>
      <p>{asks(effect)}</p>
      <p class="came">
        <span aria-hidden="true">→ </span>
        {came(performed)}
      </p>
      <Detail value={{ ...effect, outcome }} />
    </li>
  );
}

function Detail({ value }: { value: object }) {
  return (
    <details class="detail">
      <summary>Detail</summary>
      <pre tabIndex={0} aria-label="The effect in detail">
        {JSON.stringify(value, null, 2)}
      </pre>
    </details>
  );
}

export function Report({ report }: { report: Record<string, unknown> }) {
  const rows = Object.entries(report).filter(([, value]) => value !== null && value !== 0);
  if (rows.length === 0) return <p class="muted">There was nothing to remove.</p>;
  return (
    <dl class="headers">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name.replaceAll('_', ' ')}</dt>
          <dd>{String(value)}</dd>
        </div>
      ))}
    </dl>
  );
}
