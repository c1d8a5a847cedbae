/** The registry that the one in the tab mirrors: whether it works, and what it was asked. */
import { registry } from '../remote.js';
import { upstream } from '../state.js';
import { short } from '../words.js';

export function UpstreamBar() {
  const { broken, asked } = upstream.value;
  return (
    <section class="card upstream" aria-label="The upstream">
      <p class="line">
        <strong>Upstream</strong>
        <span class={broken ? 'badge bad' : 'badge good'}>{broken ? 'fails' : 'works'}</span>
        <span class="muted">A second registry in this tab. What is pulled below mirror/ comes from there.</span>
        <button type="button" class="quiet" onClick={() => void registry().breakUpstream(!broken)}>
          {broken ? 'Mend it' : 'Break it'}
        </button>
      </p>
      {asked.length === 0 ? (
        <p class="muted">The mirror has asked it nothing yet.</p>
      ) : (
        <details>
          <summary>
            The mirror has asked it {asked.length === 1 ? 'once' : `${asked.length} times`}; last:{' '}
            <span class="path">{short(asked.at(-1)!.request)}</span>
          </summary>
          <ol>
            {asked.map(({ request, status }, i) => (
              <li key={i}>
                <span class="path">{short(request)}</span> → {status}
              </li>
            ))}
          </ol>
        </details>
      )}
    </section>
  );
}
