/** What refers to an image, as a tree: signatures, bills of materials, attestations, and what refers to those. */
import { useState } from 'preact/hooks';
import { size } from '../../../parts/size.js';
import { useAnswer } from '../api.js';
import type { Child, Image, Kind, Referrer } from '../answers.js';
import { othersOf, subjectOf } from '../pages/platforms.js';
import { to } from '../route.js';
import { kindName, short } from '../words.js';
import { Icon } from './icons.js';
import { Badge, Digest, Time } from './small.js';

/** How deep the tree goes. */
const DEPTH = 8;

export function Referrers({ whole, image }: { whole: Image; image: Image }) {
  const { repository } = whole;
  const listed = othersOf(whole).filter(
    (child) => image === whole || !subjectOf(child) || subjectOf(child) === image.digest,
  );
  const tag = `${whole.digest.replace(':', '-')}.sig`;
  const byTag = whole.signed && !whole.referrers.some(({ kind }) => kind === 'signature');
  const none = whole.referrers.length + listed.length + (image === whole ? 0 : image.referrers.length) === 0 && !byTag;
  if (none)
    return (
      <p class="muted">
        Nothing refers to it: no signature, no bill of materials, no attestation. <code>cosign</code>,{' '}
        <code>notation</code> and <code>oras attach</code> add some.
      </p>
    );
  return (
    <>
      {byTag && (
        <p class="note">
          A signature lies under the tag <a href={to.image(repository, tag)}>{tag.slice(0, 20)}….sig</a>. The registry
          has not verified it.
        </p>
      )}
      {whole.referrers.length > 0 && <Tree repository={repository} of={whole.referrers} depth={0} />}
      {image !== whole && image.referrers.length > 0 && (
        <>
          <h2>Of the image for this platform</h2>
          <Tree repository={repository} of={image.referrers} depth={0} />
        </>
      )}
      {listed.length > 0 && (
        <>
          <h2>Listed beside the images</h2>
          <ul class="tree panel">
            {listed.map((child) => (
              <li key={child.digest}>
                <Listed repository={repository} child={child} />
              </li>
            ))}
          </ul>
        </>
      )}
      <p class="muted small after">Nobody has verified what you see here: the registry tells what refers to what.</p>
    </>
  );
}

function Tree({ repository, of, depth }: { repository: string; of: readonly Referrer[]; depth: number }) {
  return (
    <ul class={`tree${depth === 0 ? ' panel' : ''}`}>
      {of.map((referrer) => (
        <Node key={referrer.digest} repository={repository} referrer={referrer} depth={depth} />
      ))}
    </ul>
  );
}

function Node({ repository, referrer, depth }: { repository: string; referrer: Referrer; depth: number }) {
  const { digest, kind, artifactType, size: bytes, annotations } = referrer;
  const [open, put] = useState(false);
  const made = annotations?.['org.opencontainers.image.created'];
  return (
    <li>
      <div class="file">
        {depth < DEPTH ? (
          <button
            type="button"
            class={`quiet icon twist${open ? ' is-open' : ''}`}
            aria-expanded={open}
            aria-label={`What refers to ${kindName(kind)} ${short(digest)}`}
            onClick={() => put(!open)}
          >
            <Icon name="open" size={14} />
          </button>
        ) : (
          <span class="twist" />
        )}
        <span class="what">
          <a href={to.image(repository, digest)}>{kindName(kind)}</a>
          <span class="muted small">{artifactType}</span>
        </span>
        {made && (
          <span class="muted small">
            <Time at={made} />
          </span>
        )}
        <span class="bytes muted small">{size(bytes)}</span>
        <Digest digest={digest} />
      </div>
      {open && <Below repository={repository} digest={digest} depth={depth + 1} />}
    </li>
  );
}

function Below({ repository, digest, depth }: { repository: string; digest: string; depth: number }) {
  const { data, problem } = useAnswer<Image>(`/api/v1/repositories/${repository}/images/${digest}`);
  if (problem) return <p class="muted below">{problem.message}</p>;
  if (!data) return <p class="muted below late">Loading…</p>;
  if (data.referrers.length === 0) return <p class="muted below">Nothing refers to it.</p>;
  return <Tree repository={repository} of={data.referrers} depth={depth} />;
}

/** What an index lists that is for no platform: BuildKit lists attestations so. */
function Listed({ repository, child }: { repository: string; child: Child }) {
  const type = child.annotations?.['vnd.docker.reference.type'];
  const kind: Kind = type === 'attestation-manifest' ? 'attestation' : 'artifact';
  const about = subjectOf(child);
  return (
    <div class="file">
      <span class="what">
        <a href={to.image(repository, child.digest)}>{kindName(kind)}</a>
        <span class="muted small">{child.artifactType ?? child.mediaType}</span>
      </span>
      {about && <Badge title={about}>for {short(about)}</Badge>}
      <span class="bytes muted small">{size(child.bytes ?? child.size)}</span>
      <Digest digest={child.digest} />
    </div>
  );
}
