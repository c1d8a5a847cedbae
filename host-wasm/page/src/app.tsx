import { useEffect, useRef } from 'preact/hooks';
import { Clients } from './panels/clients.js';
import { Conformance } from './panels/conformance.js';
import { Effects } from './panels/effects.js';
import { Images } from './panels/images.js';
import { Requests } from './panels/requests.js';
import { Scenarios } from './panels/scenarios.js';
import { Store } from './panels/store.js';
import { Asking } from '../../parts/ask.js';
import { PANELS, SERVER, calls, failure, isServer, notice, ready, route, serverThere, target } from './state.js';
import type { PanelName, Target } from './state.js';
import { theme } from '../../parts/stored.js';
import type { Theme } from '../../parts/stored.js';

const VIEWS: Record<PanelName, () => preact.JSX.Element> = {
  requests: Requests,
  effects: Effects,
  store: Store,
  scenarios: Scenarios,
  conformance: Conformance,
  images: Images,
  clients: Clients,
};

export function App() {
  const { panel } = route.value;
  const current = PANELS.find(({ name }) => name === panel)!;
  const View = VIEWS[panel];
  const heading = useRef<HTMLHeadingElement>(null);
  const first = useRef(true);
  useEffect(() => {
    document.title = `${current.title} · Orlop playground`;
    // Whoever goes to another panel by the keyboard goes on from there.
    if (!first.current) heading.current?.focus({ preventScroll: true });
    first.current = false;
  }, [panel]);
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          heading.current?.focus();
        }}
      >
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href="#/requests">
          <img src="./icon.svg" alt="" width="28" height="28" />
          <span>
            Orlop <span class="muted">playground</span>
          </span>
        </a>
        <nav aria-label="Panels">
          <ul>
            {PANELS.map(({ name, title }) => (
              <li key={name}>
                <a href={`#/${name}`} aria-current={name === panel ? 'page' : undefined}>
                  {title}
                  {name === 'effects' && calls.value.length > 0 && (
                    <span class="count" aria-label={`${calls.value.length} calls`}>
                      {calls.value.length}
                    </span>
                  )}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <div class="switches">
          <label>
            <span class="hidden">Registry</span>
            <select
              value={isServer.value ? 'server' : 'tab'}
              onChange={(event) => (target.value = event.currentTarget.value as Target)}
            >
              <option value="tab">In this tab</option>
              <option value="server" disabled={!serverThere.value}>
                {serverThere.value ? `Server ${SERVER}` : 'No server here'}
              </option>
            </select>
          </label>
          <label>
            <span class="hidden">Theme</span>
            <select value={theme.value} onChange={(event) => (theme.value = event.currentTarget.value as Theme)}>
              <option value="auto">Auto</option>
              <option value="light">Light</option>
              <option value="dark">Dark</option>
            </select>
          </label>
        </div>
      </header>
      <main id="main">
        <div class="title">
          <h1 ref={heading} tabIndex={-1}>
            {current.title}
          </h1>
          <p class="muted">{current.about}</p>
        </div>
        {failure.value ? (
          <Broken why={failure.value} />
        ) : ready.value ? (
          <View />
        ) : (
          <p class="empty" role="status">
            Opening the registry…
          </p>
        )}
      </main>
      <Asking />
      <div class="notices" aria-live="assertive">
        {notice.value && (
          <p class={notice.value.bad ? 'notice bad' : 'notice'}>
            {notice.value.text}{' '}
            <button type="button" class="quiet icon" aria-label="Close" onClick={() => (notice.value = undefined)}>
              ×
            </button>
          </p>
        )}
      </div>
    </>
  );
}

/** The registry of the tab could not be opened. */
function Broken({ why }: { why: string }) {
  const advice = /another tab or worker/.test(why)
    ? 'Close the other tab, or use the page there.'
    : /WebAssembly|wasm/.test(why)
      ? 'Use a browser that has WebAssembly, and allow it for this site: hardened profiles and some extensions switch it off.'
      : 'Load the page again. If that does not help, the site data may be damaged: clear it in the settings of the browser.';
  return (
    <section class="note bad" role="alert">
      <h2>The registry in this tab could not be opened</h2>
      <p>{why}.</p>
      <p>
        {advice} {serverThere.value && 'The server that this page came from is not affected.'}
      </p>
      <button type="button" onClick={() => location.reload()}>
        Load again
      </button>
    </section>
  );
}
