/** The command that pulls something, to be copied. */
import { useState } from 'preact/hooks';
import { stored } from '../../../parts/stored.js';
import type { Kind } from '../answers.js';
import { CLIENTS, clientsFor, command } from '../commands.js';
import type { Client, Pulled } from '../commands.js';
import { Copy } from './small.js';

/** The client that was chosen last. */
export const client = stored<Client>('orlop-client', 'docker', CLIENTS);

/** What is pulled from this server. */
export function pulled(of: Omit<Pulled, 'host' | 'plain'>): Pulled {
  return { host: location.host, plain: location.protocol !== 'https:', ...of };
}

/** The client by which something of that kind is pulled: the one chosen last, if it can. */
export function chosen(kind: Kind | undefined): Client {
  const all = clientsFor(kind);
  return all.includes(client.value) ? client.value : all[0]!;
}

/** A line to be copied. */
export function Line({ text, what }: { text: string; what: string }) {
  return (
    <div class="command">
      <code tabIndex={0} role="group" aria-label={what}>
        {text}
      </code>
      <Copy text={text} what={what} label="Copy" />
    </div>
  );
}

export function Pull({ of }: { of: Omit<Pulled, 'host' | 'plain'> }) {
  const [byDigest, put] = useState(false);
  const can = clientsFor(of.kind);
  const now = chosen(of.kind);
  const both = of.tag !== undefined && of.digest !== undefined;
  const { digest, ...byTag } = of;
  const text = command(now, pulled(both && !byDigest ? byTag : { ...of, ...(digest && { digest }) }));
  return (
    <section class="pull" aria-label="Pull">
      <div class="choices-line">
        <div class="tabs" role="group" aria-label="Client">
          {can.map((name) => (
            <button
              type="button"
              key={name}
              class={name === now ? 'chosen' : ''}
              aria-pressed={name === now}
              onClick={() => (client.value = name)}
            >
              {name}
            </button>
          ))}
        </div>
        {both && (
          <div class="tabs" role="group" aria-label="Reference">
            <button type="button" class={byDigest ? '' : 'chosen'} aria-pressed={!byDigest} onClick={() => put(false)}>
              by tag
            </button>
            <button type="button" class={byDigest ? 'chosen' : ''} aria-pressed={byDigest} onClick={() => put(true)}>
              by digest
            </button>
          </div>
        )}
      </div>
      <Line text={text} what="command" />
    </section>
  );
}
