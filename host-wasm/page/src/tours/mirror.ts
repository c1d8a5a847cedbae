/** The tour of the mirror: one registry of the tab in front of the other. */
import { registry } from '../remote.js';
import type { WireRequest } from '../wire.js';
import { OCI_MANIFEST, manifestOf, pushAll } from './image.js';
import type { Manifest } from './image.js';
import { header, status, textOf } from './steps.js';
import type { Notes, Step, Tour } from './steps.js';

/** The repository at the upstream, and by its name here. */
const THERE = '/v2/team/app';
const HERE = '/v2/mirror/team/app';

/** An image that no tour has pushed before, with a layer that is too large to lie among the records. */
export const freshImage = () => manifestOf('amd64', `built at ${new Date().toISOString()}\n`.repeat(1000));

/** Pushes the blobs of an image to the upstream. */
export function pushToUpstream(image: Manifest): Promise<void> {
  return pushAll((request) => registry().send(request, 'upstream'), 'team/app', image);
}

const pulls = (tag: string): WireRequest => ({
  method: 'GET',
  target: `${HERE}/manifests/${tag}`,
  headers: [['Accept', OCI_MANIFEST]],
});

/** What the upstream was asked since the image was pushed. */
async function asked(notes: Notes): Promise<string[]> {
  const all = (await registry().upstream()).asked.map(({ request }) => request);
  return all.slice(Number(notes['before']));
}

/** A step that pulls a tag, and says how the mirror came to its answer and what it asked the upstream for that. */
function answers(step: Omit<Step, 'request' | 'check' | 'expects'>, tag: string, cache: string, asks: string[]): Step {
  return {
    ...step,
    request: async (notes) => {
      notes['asked'] = String((await asked(notes)).length);
      return pulls(tag);
    },
    check: async (answer, notes) => {
      const given = header(answer, 'X-Cache');
      const questions = (await asked(notes)).slice(Number(notes['asked']));
      if (given !== cache) return status(answer, 200) ?? `X-Cache is ${given ?? 'missing'}, not ${cache}`;
      if (questions.join() !== asks.join()) return `the upstream was asked ${questions.join(', ') || 'nothing'}`;
      return status(answer, 200);
    },
    expects: `200 OK, X-Cache: ${cache}, and ${asks.length === 0 ? 'no question to the upstream' : `the upstream is asked ${asks.join(', ')}`}`,
  };
}

export const MIRROR: Tour = {
  id: 'mirror',
  title: 'A mirror of another registry',
  about:
    'A second registry in this tab is the upstream. What you pull below mirror/ is fetched from there once, checked against its digest, and served from here from then on, even while the upstream fails.',
  repositories: [],
  upstream: true,
  steps: [
    {
      title: 'Push an image to the upstream',
      about:
        'The blobs are pushed first, without being shown here. The manifest gets two tags with one request: v1 and latest. What an earlier tour has left in the mirror is deleted.',
      spec: {
        section: 'Pushing Manifests',
        says: 'A registry may make tags for a manifest that is pushed by its digest, and lists them in OCI-Tag.',
      },
      to: 'upstream',
      request: async (notes) => {
        await registry().breakUpstream(false);
        for (const tag of ['v1', 'latest']) {
          await registry().send({ method: 'DELETE', target: `${HERE}/manifests/${tag}` });
        }
        const image = await freshImage();
        await pushToUpstream(image);
        notes['before'] = String((await registry().upstream()).asked.length);
        notes['manifest'] = image.text;
        notes['layer'] = image.layers[0]!.digest;
        notes['bytes'] = image.layers[0]!.text;
        return {
          method: 'PUT',
          target: `${THERE}/manifests/${image.digest}?tag=v1&tag=latest`,
          headers: [['Content-Type', image.mediaType]],
          body: image.text,
        };
      },
      check: (answer) => status(answer, 201),
      expects: '201 Created, by the upstream',
    },
    {
      title: 'Pull the manifest through the mirror',
      about:
        'The mirror does not have it. It asks the upstream (Inquire), checks the digest, and keeps manifest and tag with one Commit.',
      spec: {
        section: 'RFC 9110, 7.6.3 (Via)',
        says: 'A gateway says in Via that a request went through it. A registry that reads its own name there does not go on: mirrors of each other notice it.',
      },
      request: () => pulls('v1'),
      check: async (answer, notes) => {
        const fetched = (await asked(notes)).filter((request) => request === `GET ${THERE}/manifests/v1`);
        if (fetched.length !== 1) return `the upstream was asked ${fetched.length} times for the manifest`;
        if ((await textOf(answer)) !== notes['manifest']) return 'the manifest is not the one that was pushed';
        return status(answer, 200);
      },
      expects: '200 OK, X-Cache: MISS (HIT if you have run its effects before), and one question to the upstream',
    },
    {
      title: 'Pull the layer through the mirror',
      about:
        'The call follows a fetch of the blob (Follow), a call of its own: others that want the blob follow the same one. Its bytes go past a hash into an object (Fetch) and to the client as they come; the last byte goes out only when the digest is right.',
      spec: {
        section: 'Pulling blobs',
        says: 'A GET by digest must return the blob that has this digest.',
      },
      request: (notes) => ({ method: 'GET', target: `${HERE}/blobs/${notes['layer']}` }),
      check: async (answer, notes) =>
        status(answer, 200) ?? ((await textOf(answer)) === notes['bytes'] ? undefined : 'these are other bytes'),
      expects: '200 OK, with the bytes of the layer',
    },
    answers(
      {
        title: 'Pull the manifest again',
        about:
          'This mirror is set to take tags such as v1 as fixed: once they are here, it answers without a question.',
        spec: {
          section: 'RFC 9111, 4.2 (Freshness)',
          says: 'A fresh response can be used without contacting the origin server.',
        },
      },
      'v1',
      'HIT',
      [],
    ),
    answers(
      {
        title: 'Pull another tag',
        about: 'The mirror was never asked for latest, so it asks the upstream what that is.',
        spec: { section: 'Pulling manifests', says: 'The reference is a tag or a digest.' },
      },
      'latest',
      'MISS',
      [`GET ${THERE}/manifests/latest`],
    ),
    answers(
      {
        title: 'Pull that tag again',
        about:
          'latest may move, so the mirror asks where it is: by HEAD, which registries do not count as a pull. The digest is the one that is here.',
        spec: {
          section: 'RFC 9111, 4.3 (Validation)',
          says: 'A stored response that is not fresh can be used after the origin server has said that it still holds.',
        },
      },
      'latest',
      'HIT',
      [`HEAD ${THERE}/manifests/latest`],
    ),
    (() => {
      const stale = answers(
        {
          title: 'Break the upstream, and pull once more',
          about:
            'From now on the upstream answers 500 to everything. The mirror asks, gets no answer, and serves what it has. By default it does so for 30 days.',
          spec: {
            section: 'RFC 9111, 4.2.4 (Serving Stale Responses)',
            says: 'A cache may use a stale response when it cannot reach the origin server.',
          },
        },
        'latest',
        'STALE',
        [`HEAD ${THERE}/manifests/latest`],
      );
      const request: Step['request'] = async (notes) => {
        await registry().breakUpstream(true);
        return stale.request(notes);
      };
      return { ...stale, request };
    })(),
    {
      title: 'Ask for what was never here',
      about: 'The mirror cannot know whether there is such an image, so it says that the upstream has failed.',
      spec: {
        section: 'RFC 9110, 15.6.3 (502 Bad Gateway)',
        says: 'A gateway that gets an invalid response from the server behind it answers 502.',
      },
      request: () => ({ method: 'GET', target: '/v2/mirror/team/other/manifests/v1' }),
      check: async (answer) => {
        await registry().breakUpstream(false);
        return status(answer, 502);
      },
      expects: '502 Bad Gateway. Then the upstream works again',
    },
  ],
};
