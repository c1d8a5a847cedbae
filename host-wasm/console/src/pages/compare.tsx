/** Two images of a repository, side by side. */
import { useEffect, useState } from 'preact/hooks';
import { size } from '../../../parts/size.js';
import { useAnswer } from '../api.js';
import type { Image, Layer, Tags } from '../answers.js';
import { asStep, readConfig } from '../config.js';
import { layers, pairs, settings } from '../difference.js';
import type { Difference } from '../difference.js';
import { Crumbs } from '../parts/small.js';
import { Coming, Empty, Failed } from '../parts/states.js';
import { go, isReference, to } from '../route.js';
import type { Route } from '../route.js';
import { short, some } from '../words.js';
import { chosenOf, platformsOf } from './platforms.js';

type Of = Extract<Route, { page: 'compare' }>;

export function Compare({ of }: { of: Of }) {
  const { repository, a, b, platform } = of;
  const first = useImage(repository, a, platform);
  const second = useImage(repository, b, platform);
  const both = [...new Set([...first.platforms, ...second.platforms])];
  return (
    <>
      <Crumbs name={repository} last="Compare" />
      <div class="title">
        <h1 tabIndex={-1}>Compare two images</h1>
        <p class="muted">{repository}</p>
      </div>
      <Choose of={of} platforms={both} chosen={first.platform ?? second.platform ?? ''} />
      {!a || !b ? (
        <Empty title="Which two?">
          <p>Type or choose two tags or digests of {repository}.</p>
        </Empty>
      ) : first.problem ? (
        <Failed why={first.problem} what={`image ${a}`} again={first.again} />
      ) : second.problem ? (
        <Failed why={second.problem} what={`image ${b}`} again={second.again} />
      ) : first.image && second.image ? (
        <Both a={first.image} b={second.image} names={[a, b]} />
      ) : (
        <Coming what="both images" />
      )}
    </>
  );
}

/** An image; of an index the image for the platform that is asked for, or for the first. */
function useImage(repository: string, reference: string, platform: string) {
  const path = (reference: string) => `/api/v1/repositories/${repository}/images/${reference}`;
  const whole = useAnswer<Image>(isReference(reference) ? path(reference) : undefined);
  const children = whole.data ? platformsOf(whole.data) : [];
  const child = whole.data && chosenOf(whole.data, platform);
  const part = useAnswer<Image>(child ? path(child.digest) : undefined);
  const bad = reference !== '' && !isReference(reference);
  return {
    image: child ? part.data : whole.data,
    problem: bad ? unknown(reference) : (whole.problem ?? (child && part.problem)),
    platforms: children.map(({ platform }) => platform!),
    platform: child?.platform,
    again: whole.problem ? whole.again : part.again,
  };
}

const unknown = (reference: string) => ({
  name: 'Problem',
  status: 400,
  code: 'TAG_INVALID',
  message: `“${reference}” is neither a tag nor a digest`,
});

function Choose({ of, platforms, chosen }: { of: Of; platforms: string[]; chosen: string }) {
  const { repository } = of;
  const [a, putA] = useState(of.a);
  const [b, putB] = useState(of.b);
  useEffect(() => {
    putA(of.a);
    putB(of.b);
  }, [of.a, of.b]);
  const { data } = useAnswer<Tags>(`/api/v1/repositories/${repository}/tags?n=100&sort=pushed&order=desc`);
  const show = (given: Partial<Of>) =>
    go(to.compare(repository, { a, b, platform: of.platform, ...given }), { replace: true });
  return (
    <form
      class="controls"
      onSubmit={(event) => {
        event.preventDefault();
        show({ a: a.trim(), b: b.trim() });
      }}
    >
      <datalist id="tags-here">
        {data?.tags.map(({ name }) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      <input
        class="filter"
        aria-label="The one"
        placeholder="Tag or digest"
        list="tags-here"
        autocapitalize="none"
        spellcheck={false}
        value={a}
        onInput={(event) => putA(event.currentTarget.value)}
      />
      <button
        type="button"
        class="quiet icon plain"
        aria-label="Swap"
        title="Swap"
        onClick={() => show({ a: b.trim(), b: a.trim() })}
      >
        ⇄
      </button>
      <input
        class="filter"
        aria-label="The other"
        placeholder="Tag or digest"
        list="tags-here"
        autocapitalize="none"
        spellcheck={false}
        value={b}
        onInput={(event) => putB(event.currentTarget.value)}
      />
      {platforms.length > 1 && (
        <select
          class="short"
          aria-label="Platform"
          value={chosen}
          onChange={(event) => show({ platform: event.currentTarget.value })}
        >
          {platforms.map((platform) => (
            <option key={platform}>{platform}</option>
          ))}
        </select>
      )}
      <button type="submit" class="primary">
        Compare
      </button>
    </form>
  );
}

function Both({ a, b, names }: { a: Image; b: Image; names: [string, string] }) {
  const [x, y] = [readConfig(a.config), readConfig(b.config)];
  const stacks = layers(a.layers, b.layers);
  const known = a.config !== undefined && b.config !== undefined;
  const heads = names.map((name) => (name.includes(':') ? short(name) : name)) as [string, string];
  const sizes: Difference[] = pairs(
    [
      ['Digest', a.digest],
      ['Size', size(a.bytes ?? 0)],
      ['Layers', String(a.layers.filter(({ digest }) => digest).length)],
    ],
    [
      ['Digest', b.digest],
      ['Size', size(b.bytes ?? 0)],
      ['Layers', String(b.layers.filter(({ digest }) => digest).length)],
    ],
    true,
  );
  if (a.digest === b.digest)
    return (
      <Empty title="They are the same image">
        <p>
          <code class="break">{a.digest}</code>
        </p>
      </Empty>
    );
  return (
    <>
      <Sides title="Overview" heads={heads} rows={sizes} />
      <Sides title="Configuration" heads={heads} rows={pairs(settings(x), settings(y))} none={known} />
      <Sides title="Environment" heads={heads} rows={pairs(x.env, y.env)} none={known} />
      <Sides title="Labels" heads={heads} rows={pairs(x.labels, y.labels)} none={known} />
      <Sides
        title="Annotations"
        heads={heads}
        rows={pairs(Object.entries(a.annotations), Object.entries(b.annotations))}
      />
      <section class="part" aria-labelledby="layers-heading">
        <h2 id="layers-heading">Layers</h2>
        <p class="muted">
          {stacks.shared > 0
            ? `The lowest ${some(stacks.shared, 'layer')} (${size(stacks.sharedBytes)}) ${stacks.shared === 1 ? 'is' : 'are'} the same. `
            : 'No layer at the bottom is the same. '}
          Only {heads[0]} has {size(stacks.onlyA)}, only {heads[1]} has {size(stacks.onlyB)}.
        </p>
        <div class="sides">
          <Stack name={heads[0]} layers={stacks.a} />
          <Stack name={heads[1]} layers={stacks.b} />
        </div>
      </section>
    </>
  );
}

function Stack({ name, layers }: { name: string; layers: Layer[] }) {
  return (
    <div class="panel">
      <h3>{name}</h3>
      {layers.length === 0 && <p class="muted none">Nothing above that.</p>}
      <ol class="stack">
        {layers.map((layer, at) => (
          <li key={at}>
            <code class="step">{layer.command ? asStep(layer.command) : short(layer.digest ?? '')}</code>
            <span class="muted small">{size(layer.size ?? 0)}</span>
          </li>
        ))}
      </ol>
    </div>
  );
}

function Sides({
  title,
  heads,
  rows,
  none,
}: {
  title: string;
  heads: [string, string];
  rows: Difference[];
  /** Says so where there is no difference. */
  none?: boolean;
}) {
  if (rows.length === 0 && !none) return null;
  return (
    <section class="part">
      <h2>{title}</h2>
      {rows.length === 0 ? (
        <p class="muted">No difference.</p>
      ) : (
        <div class="panel scroll" tabIndex={0} role="group" aria-label={title}>
          <table class="sides-table">
            <caption class="hidden">{title}</caption>
            <thead>
              <tr>
                <td />
                <th scope="col">{heads[0]}</th>
                <th scope="col">{heads[1]}</th>
              </tr>
            </thead>
            <tbody>
              {rows.map(({ name, a, b }) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td class={a === b ? '' : a === undefined ? 'absent' : 'minus'}>{a ?? '–'}</td>
                  <td class={a === b ? '' : b === undefined ? 'absent' : 'plus'}>{b ?? '–'}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
