import { render } from 'preact';
import { applyTheme } from '../../parts/stored.js';
import { App } from './app.js';
import { follow } from './route.js';
import { learn } from './session.js';
import { watch } from './watch.js';

/** The service worker of the playground when it was at the root answered for the whole server. */
async function removeEarlierWorker(): Promise<void> {
  if (!('serviceWorker' in navigator)) return;
  for (const registration of await navigator.serviceWorker.getRegistrations())
    if (registration.scope === `${location.origin}/` && registration.active?.scriptURL === `${location.origin}/sw.js`)
      await registration.unregister();
}

applyTheme();
follow();
void removeEarlierWorker().catch(() => undefined);
void learn();
watch();
render(<App />, document.getElementById('app')!);
