/** An image, or whatever else a tag or a digest names. */
import { useState } from 'preact/hooks';
import { size } from '../../../parts/size.js';
import { useAnswer } from '../api.js';
import type { Image as Whole } from '../answers.js';
import { readChart } from '../config.js';
import { Configuration } from '../parts/configuration.js';
import { DeleteImage } from '../parts/delete-image.js';
import { Files, Readme } from '../parts/files.js';
import { Icon } from '../parts/icons.js';
import { Layers } from '../parts/layers.js';
import { Manifest } from '../parts/manifest.js';
import { Pull } from '../parts/pull.js';
import { Referrers } from '../parts/referrers.js';
import { Badge, Copy, Crumbs, Facts, Outward, Time } from '../parts/small.js';
import { Coming, Failed } from '../parts/states.js';
import { Unpacked } from '../parts/unpacked.js';
import { isDigest, to } from '../route.js';
import type { Route, View } from '../route.js';
import { canChange } from '../session.js';
import { ago, count, isImage, kindName, short } from '../words.js';
import { chosenOf, othersOf, platformsOf } from './platforms.js';

type Of = Extract<Route, { page: 'image' }>;

/** How many tags of an image the server lists. */
const LISTED = 100;

export function Image({ of }: { of: Of }) {
  const { repository, reference } = of;
  const { data, problem, again } = useAnswer<Whole>(`/api/v1/repositories/${repository}/images/${reference}`);
  const label = isDigest(reference) ? short(reference) : reference;
  if (!data)
    return (
      <>
        <Crumbs name={repository} last={label} />
        <div class="title">
          <h1 tabIndex={-1}>{label}</h1>
        </div>
        {problem ? <Failed why={problem} what="image" again={again} /> : <Coming what="the image" rows={8} />}
      </>
    );
  return <Shown of={of} whole={data} label={label} />;
}

function Shown({ of, whole, label }: { of: Of; whole: Whole; label: string }) {
  const { repository, reference } = of;
  const [deleting, putDeleting] = useState(false);
  const platforms = platformsOf(whole);
  const chosen = chosenOf(whole, of.platform);
  const part = useAnswer<Whole>(chosen && `/api/v1/repositories/${repository}/images/${chosen.digest}`);
  /** What the sections below are about: of an index the image for the chosen platform. */
  const image = chosen ? part.data : whole;
  const { kind, digest, annotations } = whole;
  const bytes = whole.bytes ?? sum(platforms.map(({ bytes }) => bytes));
  const tag = isDigest(reference) ? undefined : reference;
  return (
    <>
      <Crumbs name={repository} last={label} />
      <div class="title">
        <h1 tabIndex={-1}>
          <span class="muted of">{repository.split('/').at(-1)}</span>
          <span class="muted">{tag ? ':' : '@'}</span>
          {label}
        </h1>
        {!isImage(kind) && <Badge kind="kind">{kindName(kind)}</Badge>}
        {whole.signed && (
          <Badge kind="good" title="A signature refers to it. The registry has not verified it">
            <Icon name="check" size={11} /> signed
          </Badge>
        )}
        {whole.protected && (
          <Badge title="A protect mark keeps it from being deleted">
            <Icon name="shield" size={11} /> protected
          </Badge>
        )}
        <span class="spring" />
        <a class="button" href={to.compare(repository, { a: reference })}>
          Compare
        </a>
        {whole.may.includes('delete') && canChange() && !whole.protected && (
          <button type="button" class="danger" onClick={() => putDeleting(true)}>
            Delete…
          </button>
        )}
      </div>
      {annotations['org.opencontainers.image.description'] && (
        <p class="lead">{annotations['org.opencontainers.image.description']}</p>
      )}
      <Pull
        of={{
          repository,
          kind,
          digest,
          ...(tag && { tag }),
          ...(chosen && of.platform && { platform: of.platform }),
        }}
      />
      <Facts
        of={[
          [
            'Digest',
            <span class="digest whole">
              <code>{digest}</code>
              <Copy text={digest} what="digest" />
            </span>,
          ],
          ['Size', bytes > 0 && `${size(bytes)}${platforms.length > 1 ? ' in all' : ''}`],
          ['Pushed', <Time at={whole.pushed} />],
          ['Imported', whole.imported && <Time at={whole.imported} />],
          ['Last pulled', whole.pulled ? <Time at={whole.pulled} /> : 'not noted'],
          ['Pulls', whole.pulls !== undefined && count(whole.pulls)],
          [
            'Lately pulled by',
            whole.pulledBy && (
              <span class="chips">
                {whole.pulledBy.map(({ user, pulled }) => (
                  <span class="chip" key={user} title={`last ${ago(pulled)}`}>
                    {user}
                  </span>
                ))}
              </span>
            ),
          ],
          ['Type', whole.artifactType ?? whole.mediaType],
          ['Refers to', whole.subject && <Reference repository={repository} digest={whole.subject} />],
          [
            'Also tagged',
            whole.tags.some((name) => name !== tag) && (
              <span class="chips">
                {whole.tags
                  .filter((name) => name !== tag)
                  .slice(0, 20)
                  .map((name) => (
                    <a class="chip" key={name} href={to.image(repository, name)}>
                      {name}
                    </a>
                  ))}
                {whole.tags.length > 21 && (
                  <span class="muted">
                    and {whole.tags.length < LISTED ? count(whole.tags.length - 21) : 'many'} more
                  </span>
                )}
              </span>
            ),
          ],
          [
            'Part of',
            whole.listedBy.length > 0 && (
              <span class="chips">
                {whole.listedBy.slice(0, 8).map((digest) => (
                  <Reference key={digest} repository={repository} digest={digest} />
                ))}
              </span>
            ),
          ],
        ]}
      />
      {platforms.length > 0 && <Platforms of={of} whole={whole} chosen={chosen?.digest} />}
      {image ? (
        <Sections of={of} whole={whole} image={image} />
      ) : part.problem ? (
        part.problem.status === 404 ? (
          <p class="note">The image for {chosen?.platform} is not here. It was never pushed, or it was deleted.</p>
        ) : (
          <Failed why={part.problem} what="image" again={part.again} />
        )
      ) : (
        <Coming what="the image" />
      )}
      {deleting && <DeleteImage image={whole} tag={tag} close={() => putDeleting(false)} />}
    </>
  );
}

const sum = (all: (number | undefined)[]) => all.reduce<number>((sum, one) => sum + (one ?? 0), 0);

export function Reference({ repository, digest }: { repository: string; digest: string }) {
  return (
    <a href={to.image(repository, digest)} title={digest}>
      <code>{short(digest)}</code>
    </a>
  );
}

function Platforms({ of, whole, chosen }: { of: Of; whole: Whole; chosen: string | undefined }) {
  const { repository, reference, view } = of;
  return (
    <nav class="platforms" aria-label="Platforms">
      <ul>
        {platformsOf(whole).map(({ platform, digest, bytes }) => (
          <li key={digest}>
            <a href={to.image(repository, reference, { platform: platform!, view })} aria-current={digest === chosen}>
              <strong>{platform}</strong>
              <span class="muted small">{bytes === undefined ? 'not here' : size(bytes)}</span>
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

/** Sections of which one is shown, and which of them there are. */
function sectionsOf(whole: Whole, image: Whole): [view: View, title: string, number?: number][] {
  const layers = image.layers.filter(({ digest }) => digest).length;
  const referrers = whole.referrers.length + othersOf(whole).length + (image === whole ? 0 : image.referrers.length);
  const said: Record<string, string> =
    image === whole ? whole.annotations : { ...image.annotations, ...whole.annotations };
  const notes = Object.keys(said).length;
  const all: [View, string, number?][] = [];
  const runs = image.kind === 'image';
  if (runs || image.kind === 'chart') all.push(['config', image.kind === 'chart' ? 'Chart' : 'Configuration']);
  if (runs) all.push(['layers', 'Layers', layers]);
  else if (layers > 0) all.push(['files', 'Files', layers]);
  if (referrers > 0 || isImage(whole.kind)) all.push(['referrers', 'Signatures and more', referrers]);
  if (notes > 0) all.push(['annotations', 'Annotations', notes]);
  all.push(['manifest', 'Manifest']);
  return all;
}

function Sections({ of, whole, image }: { of: Of; whole: Whole; image: Whole }) {
  const { repository, reference, platform } = of;
  const all = sectionsOf(whole, image);
  const [first] = all[0]!;
  const now = all.find(([view]) => view === of.view)?.[0] ?? first;
  return (
    <>
      <nav class="sections" aria-label="About the image">
        <ul>
          {all.map(([view, title, number]) => (
            <li key={view}>
              <a
                href={to.image(repository, reference, { platform, view: view === first ? '' : view })}
                aria-current={view === now}
              >
                {title}
                {number !== undefined && <span class="count">{count(number)}</span>}
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <section class="part" aria-label={all.find(([view]) => view === now)![1]}>
        {now === 'config' && image.kind !== 'chart' && <Configuration image={image} />}
        {now === 'config' && image.kind === 'chart' && (
          <>
            <ChartFacts image={image} />
            <Unpacked image={image} key={image.digest} />
          </>
        )}
        {now === 'layers' && <Layers image={image} />}
        {now === 'files' && <Files image={image} />}
        {now === 'referrers' && <Referrers whole={whole} image={image} />}
        {now === 'annotations' && <Annotations whole={whole} image={image} />}
        {now === 'manifest' && <Manifest whole={whole} image={image} />}
      </section>
      {now === first && <Readme image={image} />}
    </>
  );
}

function ChartFacts({ image }: { image: Whole }) {
  const chart = readChart(image.config);
  return (
    <Facts
      of={[
        ['Chart', chart.name],
        ['Version', chart.version],
        ['App version', chart.appVersion],
        ['Kind', chart.type],
        ['Description', chart.description],
        ['Home', chart.home && <Outward text={chart.home} />],
        ['Sources', chart.sources.length > 0 && <Lines of={chart.sources} />],
        ['Maintainers', chart.maintainers.join(', ')],
        ['Keywords', chart.keywords.join(', ')],
        ['Depends on', chart.dependencies.length > 0 && <Lines of={chart.dependencies} />],
      ]}
    />
  );
}

function Lines({ of }: { of: readonly string[] }) {
  return (
    <ul class="lines">
      {of.map((line) => (
        <li key={line}>
          <Outward text={line} />
        </li>
      ))}
    </ul>
  );
}

function Annotations({ whole, image }: { whole: Whole; image: Whole }) {
  return (
    <>
      <Pairs of={whole.annotations} />
      {image !== whole && Object.keys(image.annotations).length > 0 && (
        <>
          <h2>Of the image for this platform</h2>
          <Pairs of={image.annotations} />
        </>
      )}
    </>
  );
}

function Pairs({ of }: { of: Record<string, string> }) {
  const all = Object.entries(of).sort(([a], [b]) => (a < b ? -1 : 1));
  return <Facts long of={all.map(([name, value]) => [name, <Outward text={value} />])} />;
}
