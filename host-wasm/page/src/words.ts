/** Keys, effects and outcomes in plain words. The map of the keys is `core/src/keys.rs`. */
import { size } from '../../parts/size.js';
import type { Effect, Outcome, Performed } from './wire.js';

export { size };

/** A digest or UUID as people can tell it from others: the whole is in the detail. */
export function short(text: string): string {
  return text
    .replace(/(sha(?:256|512)):([0-9a-f]{8})[0-9a-f]+/g, '$1:$2…')
    .replace(/([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, '$1…');
}

/** What a record is about. */
export function about(key: string): string {
  const at = key.indexOf('/');
  const [family, rest] = [key.slice(0, at), key.slice(at + 1)];
  const [repository, target = ''] = rest.split(/[@:](.*)/s) as [string, string?];
  const [first, second = ''] = target.split('/') as [string, string?];
  switch (family) {
    case 'repo':
      return `the repository ${rest}`;
    case 'tag':
      return `the tag ${repository}:${target}`;
    case 'pulled':
      return `when the blob ${short(target)} in ${repository} was last pulled`;
    case 'mirrored':
      return `when the upstream was last asked for ${repository}:${target}`;
    case 'platforms':
      return `the list of platforms of ${repository}:${target}`;
    case 'tagged':
      return second
        ? `the entry that tag ${second} points to ${short(first)}`
        : `the tags that point to ${short(first)}`;
    case 'left':
      return `since when ${short(target)} is unreferenced`;
    case 'manifest':
      return target ? `the manifest ${short(target)} in ${repository}` : `the manifests of ${repository}`;
    case 'payload':
      return `the text of the manifest ${short(target)}`;
    case 'referrer':
      return second ? `${short(second)} as a referrer of ${short(first)}` : `the referrers of ${short(first)}`;
    case 'link':
      return target ? `the blob ${short(target)} in ${repository}` : `the blobs of ${repository}`;
    case 'holder': {
      const [blob = '', ...holder] = rest.split('/');
      return holder.join('/')
        ? `the entry that ${holder.join('/')} has ${short(blob)}`
        : `the repositories that have ${short(blob)}`;
    }
    case 'use':
      return second ? `the entry that ${short(second)} needs ${short(first)}` : `what needs ${short(first)}`;
    case 'blob':
      return rest ? `where the bytes of ${short(rest)} are` : 'all blobs';
    case 'upload':
      return rest ? `the upload session ${short(rest)}` : 'the upload sessions';
    case 'event':
      return `an event for ${rest.split('/')[0]}`;
    case 'chunk': {
      const [upload = '', offset] = rest.split('/');
      return offset
        ? `the chunk at byte ${Number(offset)} of session ${short(upload)}`
        : `the chunks of session ${short(upload)}`;
    }
    case 'finished':
      return rest ? `what the upload session ${short(rest)} became` : 'the upload sessions that were finished';
    case 'object':
      return `what the object ${short(rest)} belongs to`;
    case 'bytes':
      return `the bytes of the small object ${short(rest)}`;
    case 'queue':
      return `how many events there are for ${rest}`;
    case 'usage':
      return `how many bytes ${rest} uses`;
    default:
      return key;
  }
}

function list(things: string[], most = 4): string {
  const shown = things.slice(0, most);
  const more = things.length - shown.length;
  return shown.join(', ') + (more > 0 ? ` and ${more} more` : '');
}

function objects(names: string[]): string {
  return names.length === 1 ? `the object ${short(names[0]!)}` : `${names.length} objects`;
}

/** What an effect asks for. */
export function asks(effect: Effect): string {
  return unstuttered(asked(effect));
}

/** What came of an effect. */
export function came(performed: Performed): string {
  return unstuttered(told(performed));
}

/** What was shortened at the end of a sentence needs no full stop. */
function unstuttered(text: string): string {
  return text.replaceAll('….', '…');
}

function asked(effect: Effect): string {
  switch (effect.effect) {
    case 'Collect':
      return `Read the body into memory, ${size(effect.limit ?? Infinity)} at most.`;
    case 'Receive':
      return `Stream the body into a new object, counting and hashing each byte (${effect.meter.algorithm}${effect.meter.count > 0 ? `, after ${size(effect.meter.count)}` : ''}).${effect.keep > 0 ? ` ${size(effect.keep)} or less make no object.` : ''}`;
    case 'Join':
      return `Join ${effect.from.length} objects into the new object ${short(effect.into)}.`;
    case 'Load':
      return `Read ${objects(effect.objects)} whole.`;
    case 'Measure':
      return `Read ${objects(effect.objects)} past a ${effect.meter.algorithm} hash.`;
    case 'Erase':
      return `Remove ${objects(effect.objects)}.`;
    case 'Inventory':
      return 'List all objects in the storage, with their ages.';
    case 'Get':
      return `Look up ${list(effect.keys.map(about))}.`;
    case 'Scan':
      return `List ${about(effect.prefix)}.`;
    case 'Commit': {
      const changes = [
        effect.put.length > 0 && `write ${effect.put.length} ${effect.put.length === 1 ? 'record' : 'records'}`,
        effect.add.length > 0 && `count in ${effect.add.length}`,
        effect.delete.length > 0 && `delete ${effect.delete.length}`,
      ].filter(Boolean);
      const expects = effect.expect.length;
      return `In one transaction: ${changes.join(', ') || 'change nothing'}${expects > 0 ? `, if ${expects} ${expects === 1 ? 'expectation holds' : 'expectations hold'}` : ''}. ${effect.durability === 'durable' ? 'It must survive a power cut.' : 'It may be lost in a power cut.'}`;
    }
    case 'Inquire': {
      const { upstream, method, repository, resource } = effect.wanted;
      return `Ask ${upstream}: ${method} /v2/${repository}/${short(resource)}.`;
    }
    case 'Fetch':
      return `Stream the blob ${short(effect.source.digest)} from ${effect.source.upstream} into a new object, counting and hashing each byte${effect.meter.count > 0 ? `, from byte ${effect.meter.count} on` : ''}.`;
    case 'Follow':
      return `Begin to fetch the blob ${short(effect.fetching.digest)}, unless another call has, and wait until its bytes come or it is over.`;
    case 'Relay':
      return `Ask ${effect.source.upstream} for ${effect.range ? `the bytes ${effect.range[0]} to ${effect.range[1] - 1} of ` : ''}the blob ${short(effect.source.digest)}, to be sent on and not to be kept.`;
    case 'Respond':
      return 'The call is over.';
    case 'Over':
      return 'The call crashed here. Completed effects stay; the client gets no answer.';
  }
}

function told({ effect, outcome }: Performed): string {
  if (outcome && typeof outcome === 'object' && 'fault' in outcome) return `Fault: ${outcome.fault}`;
  if (outcome && typeof outcome === 'object' && 'unmet' in outcome) return `Not answered: ${outcome.reason}.`;
  switch (effect.effect) {
    case 'Get': {
      const found = (outcome as unknown[]).filter((value) => value !== null).length;
      const all = effect.keys.length;
      if (all === 1) return found ? 'It exists.' : 'It does not exist.';
      return found === 0 ? 'None of them exists.' : found === all ? 'All exist.' : `${found} of ${all} exist.`;
    }
    case 'Scan': {
      const count = (outcome as unknown[]).length;
      return count === 0 ? 'There are none.' : `There ${count === 1 ? 'is 1' : `are ${count}`}.`;
    }
    case 'Commit':
      return outcome === 'Conflict' ? 'Conflict: an expectation no longer holds. Nothing was changed.' : 'Done.';
    case 'Collect':
    case 'Fetch':
    case 'Receive': {
      const { end, meter, digest, kept } = outcome as {
        end: string;
        meter?: { count: number };
        digest?: string;
        kept?: unknown;
      };
      const ends = {
        whole: 'The body is whole',
        'too-large': 'The body is too large',
        cut: 'The connection broke',
        later: 'The body is still coming',
        'no-room': 'There is no memory for it now',
      }[end];
      return `${ends}${meter ? `: ${size(meter.count)}${digest ? `, ${short(digest)}` : ''}` : ''}${kept ? '; it is so small that it goes into the records' : ''}.`;
    }
    case 'Inquire': {
      const { digest, length } = outcome as { digest: string | null; length: number | null };
      return `It answers${digest ? ` ${short(digest)}` : ''}${length === null ? '' : `, ${size(length)}`}.`;
    }
    case 'Follow': {
      const followed = outcome as { end: string; size?: number; status?: number };
      if (followed.end === 'coming') return `The bytes come, ${size(followed.size ?? 0)} in all.`;
      return followed.end === 'kept' ? 'The blob is here.' : `The fetch failed: ${followed.status}.`;
    }
    case 'Relay':
      return `The bytes come, of a blob of ${size((outcome as { size: number }).size)}.`;
    case 'Join':
      return outcome === false ? 'One of them is not there.' : 'Done.';
    case 'Load':
    case 'Measure':
      return outcome === null ? 'It does not exist.' : 'It was read.';
    case 'Inventory':
      return `${(outcome as unknown[]).length} listed.`;
    default:
      return 'Done.';
  }
}

/** Whether an outcome deserves attention. */
export function troubles(outcome: Outcome): boolean {
  if (outcome === 'Conflict') return true;
  return typeof outcome === 'object' && outcome !== null && ('fault' in outcome || 'unmet' in outcome);
}

/** What response headers are for. */
export const HEADERS: Record<string, string> = {
  accept: 'The media types that the client understands, for manifests.',
  allow: 'The methods that this endpoint allows.',
  'content-length': 'How many bytes the body has.',
  'content-range': 'Which bytes of the whole these are.',
  'content-type': 'The media type of the body; for a manifest, the one it was pushed with.',
  'accept-ranges': 'The blob can be asked for in parts, by bytes.',
  'docker-content-digest': 'The digest of the content.',
  'docker-distribution-api-version': 'Says that this is a registry that speaks Docker’s API V2.',
  'docker-upload-uuid': 'The name of the upload session. Clients go by Location instead.',
  etag: 'The digest again, for If-None-Match.',
  link: 'Where the next page is (RFC 8288).',
  location: 'The URL of what was created, or where the upload continues. Never build this URL yourself.',
  'oci-chunk-min-length': 'The minimum size of a chunk, except the last one.',
  'oci-filters-applied': 'The filter of the request was honoured.',
  'oci-subject': 'The subject was understood: the referrers API lists this manifest.',
  'oci-tag': 'A tag that this push made.',
  range: 'How much of the upload has arrived: first and last byte. 0-0 for an empty session, too.',
  'retry-after': 'How many seconds to wait before the next try.',
  'www-authenticate': 'How to authenticate.',
  'x-cache':
    'What a mirror did: HIT, it had this; MISS, it has fetched it; STALE, it had this and could not ask the upstream whether it still holds.',
  'x-content-type-options': 'Tells the browser not to guess the media type.',
};
