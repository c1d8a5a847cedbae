/** The guided tours: requests in order, each with what the specification says of it and a check of the answer. */
import { registry } from '../remote.js';
import { isServer } from '../state.js';
import { OCI_INDEX, artifactOf, manifestOf } from './image.js';
import { MIRROR } from './mirror.js';
import {
  HELLO,
  STREAM,
  code,
  field,
  finishes,
  jsonOf,
  opens,
  pushes,
  puts,
  sends,
  stands,
  status,
  textOf,
} from './steps.js';
import type { Step, Tour } from './steps.js';

const pulled = () => manifestOf('amd64', 'the only layer');
const part = (architecture: string) => () => manifestOf(architecture, `built for ${architecture}`);
const signed = () => manifestOf('amd64', 'to be signed');
const signature = async () => artifactOf('application/vnd.example.signature', 'signed by nobody', await signed());
const sbom = async () => artifactOf('application/spdx+json', '{"spdxVersion":"SPDX-2.3"}', await signed());
const removed = () => manifestOf('amd64', 'soon to go');

export const TOURS: Tour[] = [
  {
    id: 'push-pull',
    title: 'Push and pull an image',
    about:
      'The requests of `docker push` and `docker pull`: the blobs first, then the manifest that names them, then the way back.',
    repositories: ['tour/image'],
    steps: [
      {
        title: 'Is this a registry?',
        about: 'Every client asks this first.',
        spec: {
          section: 'Determining Support',
          says: 'GET /v2/ is answered 200 by a registry that implements the specification, or 401 if it requires authentication.',
        },
        request: () => ({ method: 'GET', target: '/v2/' }),
        check: (answer) => status(answer, 200),
        expects: '200 OK',
      },
      {
        title: 'Is the layer there already?',
        about: 'A client checks before it uploads, because most layers are already there.',
        spec: {
          section: 'Checking if content exists in the registry',
          says: 'HEAD answers 200 with the size if the blob is there, else 404.',
        },
        request: async () => ({ method: 'HEAD', target: `/v2/tour/image/blobs/${(await pulled()).layers[0]!.digest}` }),
        check: (answer) => status(answer, 200, 404),
        expects: '404 Not Found, or 200 if you have taken this tour before',
      },
      pushes(
        'tour/image',
        async () => (await pulled()).layers[0]!,
        'Push the layer',
        'The bytes of the layer under their digest.',
      ),
      pushes(
        'tour/image',
        async () => (await pulled()).config,
        'Push the configuration',
        'A small JSON blob: for which platform the image is, and how it starts.',
      ),
      puts(
        'tour/image',
        () => 'v1',
        pulled,
        'Push the manifest',
        'It names configuration and layers by digest. One commit makes manifest and tag visible.',
      ),
      {
        title: 'Pull the manifest by its tag',
        about: 'A pull begins with the tag.',
        spec: {
          section: 'Pulling manifests',
          says: 'The answer has the manifest as it was pushed, and Docker-Content-Digest should say its digest.',
        },
        request: () => ({
          method: 'GET',
          target: '/v2/tour/image/manifests/v1',
          headers: [['Accept', 'application/vnd.oci.image.manifest.v1+json']],
        }),
        check: async (answer) =>
          status(answer, 200) ??
          ((await textOf(answer)) === (await pulled()).text
            ? undefined
            : 'the manifest is not the one that was pushed'),
        expects: '200 OK, with exactly the bytes that were pushed',
      },
      {
        title: 'Pull the layer',
        about: 'Then the client pulls each blob that the manifest names.',
        spec: { section: 'Pulling blobs', says: 'A GET by digest must return the blob that has this digest.' },
        request: async () => ({ method: 'GET', target: `/v2/tour/image/blobs/${(await pulled()).layers[0]!.digest}` }),
        check: async (answer) =>
          status(answer, 200) ?? ((await textOf(answer)) === 'the only layer' ? undefined : 'these are other bytes'),
        expects: '200 OK, with the bytes of the layer',
      },
    ],
  },
  {
    id: 'chunks',
    title: 'A chunked upload, cut off and resumed',
    about:
      'The connection breaks in the middle of a chunk. What arrived is kept; the client asks how much that is and goes on.',
    repositories: ['tour/chunks'],
    steps: [
      opens('tour/chunks', 'A session is a place where bytes gather until they are whole.'),
      sends('0-4', 'hello', 'Send the first chunk', 'Five bytes, from 0 to 4.', 202),
      sends(
        '',
        ' world',
        'Send the next, and lose the connection',
        'The client wants to send “ world”, but after three bytes the connection breaks. A real client never sees this answer.',
        400,
        { cutAfter: 3, chunked: true },
      ),
      stands('0-7', 'The three bytes that arrived count: the session is at 8 bytes now.'),
      sends('8-10', 'rld', 'Go on from there', 'Only what is missing.', 202),
      finishes('', HELLO),
    ],
  },
  {
    id: 'out-of-order',
    title: 'A chunk out of order',
    about: 'Chunks may not leave a gap or overlap. One that does is refused and changes nothing.',
    repositories: ['tour/order'],
    steps: [
      opens('tour/order', 'An empty session.'),
      sends('0-4', 'hello', 'Send bytes 0 to 4', 'All is well so far.', 202),
      sends(
        '6-10',
        'world',
        'Send bytes 6 to 10',
        'Byte 5 is missing: this chunk does not begin where the session ends.',
        416,
      ),
      stands('0-4', 'The refused chunk has changed nothing.'),
      sends(
        '0-4',
        'HELLO',
        'Send bytes 0 to 4 once more',
        'These bytes have arrived already, so the chunk is refused.',
        416,
      ),
      sends('5-10', ' world', 'Send bytes 5 to 10', 'The right ones.', 202),
      finishes('', HELLO),
    ],
  },
  {
    id: 'mount',
    title: 'Mount a blob from another repository',
    about: 'A layer that the registry already has does not need to be uploaded again.',
    repositories: ['tour/base', 'tour/mounted'],
    steps: [
      pushes(
        'tour/base',
        async () => (await pulled()).layers[0]!,
        'Push a layer to the base image',
        'It belongs to the repository tour/base.',
      ),
      {
        title: 'Other repositories do not have it',
        about: 'A repository shows only what was pushed or mounted into it.',
        spec: { section: 'Pulling blobs', says: 'A blob that is not in the repository is answered 404.' },
        request: async () => ({ method: 'GET', target: `/v2/tour/never/blobs/${(await pulled()).layers[0]!.digest}` }),
        check: async (answer) => status(answer, 404) ?? code(answer, 'BLOB_UNKNOWN'),
        expects: '404 Not Found, BLOB_UNKNOWN',
      },
      {
        title: 'Mount it',
        about: 'No bytes are copied: the registry only writes a record.',
        spec: {
          section: 'Mounting a blob from another repository',
          says: 'If the mount succeeds the answer is 201, with the place of the blob in its new repository.',
        },
        request: async () => ({
          method: 'POST',
          target: `/v2/tour/mounted/blobs/uploads/?mount=${(await pulled()).layers[0]!.digest}&from=tour/base`,
        }),
        check: (answer) => status(answer, 201),
        expects: '201 Created',
      },
      {
        title: 'Now it is there',
        about: 'The same bytes, in another repository.',
        spec: { section: 'Checking if content exists in the registry', says: 'HEAD answers 200 if the blob is there.' },
        request: async () => ({
          method: 'HEAD',
          target: `/v2/tour/mounted/blobs/${(await pulled()).layers[0]!.digest}`,
        }),
        check: (answer) => status(answer, 200),
        expects: '200 OK',
      },
      {
        title: 'Mount a blob that does not exist',
        about: 'The registry cannot mount it, so it opens an upload session instead.',
        spec: {
          section: 'Mounting a blob from another repository',
          says: 'If the blob cannot be mounted, the registry should answer 202 with a session.',
        },
        request: () => ({
          method: 'POST',
          target: `/v2/tour/mounted/blobs/uploads/?mount=sha256:${'0'.repeat(64)}&from=tour/base`,
        }),
        check: (answer) => status(answer, 202),
        expects: '202 Accepted',
      },
    ],
  },
  {
    id: 'platforms',
    title: 'An image for several platforms, put together by the registry',
    about:
      'Two build jobs push amd64 and arm64 to one tag. In repositories below multi/ the tag becomes the list of both. (A server does so with `--assemble`.)',
    repositories: ['multi/app'],
    steps: [
      pushes(
        'multi/app',
        async () => (await part('amd64')()).layers[0]!,
        'Push the layer for amd64',
        'The first job begins.',
      ),
      pushes(
        'multi/app',
        async () => (await part('amd64')()).config,
        'Push its configuration',
        'It says linux/amd64: from there the registry knows the platform.',
      ),
      puts('multi/app', () => 'v1', part('amd64'), 'Push the manifest as v1', 'So far v1 is a plain image.'),
      pushes(
        'multi/app',
        async () => (await part('arm64')()).layers[0]!,
        'Push the layer for arm64',
        'The second job, perhaps at the same time.',
      ),
      pushes('multi/app', async () => (await part('arm64')()).config, 'Push its configuration', 'linux/arm64.'),
      puts(
        'multi/app',
        () => 'v1',
        part('arm64'),
        'Push the manifest, as v1 too',
        'With any other registry the first image would have lost its tag now.',
      ),
      {
        title: 'Pull v1',
        about: 'It is an index of both platforms. A client picks its own.',
        spec: {
          section: 'Pulling manifests',
          says: 'The client says in Accept what it understands. An index is a manifest like any other.',
        },
        request: () => ({
          method: 'GET',
          target: '/v2/multi/app/manifests/v1',
          headers: [['Accept', `${OCI_INDEX}, application/vnd.oci.image.manifest.v1+json`]],
        }),
        check: async (answer) => {
          const { manifests } = (await jsonOf(answer)) as { manifests?: { platform?: { architecture: string } }[] };
          const platforms = manifests
            ?.map(({ platform }) => platform?.architecture)
            .sort()
            .join(', ');
          return (
            status(answer, 200) ??
            (platforms === 'amd64, arm64'
              ? undefined
              : `it is for ${platforms ?? 'one platform'}${isServer.value ? '; was the server started with --assemble "multi/**"?' : ''}`)
          );
        },
        expects: '200 OK, an index of amd64 and arm64',
      },
    ],
  },
  {
    id: 'referrers',
    title: 'Referrers: a signature and a bill of materials',
    about:
      'Manifests can refer to another one, their subject. The registry lists them, so clients need not know their names.',
    repositories: ['tour/signed'],
    steps: [
      pushes('tour/signed', async () => (await signed()).layers[0]!, 'Push a layer', 'The image that is to be signed.'),
      pushes('tour/signed', async () => (await signed()).config, 'Push its configuration', 'As always.'),
      puts('tour/signed', () => 'v1', signed, 'Push the image', 'Its digest is the subject of what follows.'),
      pushes(
        'tour/signed',
        async () => (await signature()).config,
        'Push the empty configuration',
        'Artifacts that need none have {}.',
      ),
      pushes('tour/signed', async () => (await signature()).layers[0]!, 'Push the signature', 'A blob like any other.'),
      {
        ...puts(
          'tour/signed',
          async () => (await signature()).digest,
          signature,
          'Push the manifest of the signature',
          'Its `subject` names the image.',
        ),
        spec: {
          section: 'Pushing Manifests with Subject',
          says: 'A registry with the referrers API must answer OCI-Subject with the digest of the subject.',
        },
        check: async (answer) => status(answer, 201) ?? field(answer, 'OCI-Subject', (await signed()).digest),
        expects: '201 Created, with OCI-Subject',
      },
      pushes(
        'tour/signed',
        async () => (await sbom()).layers[0]!,
        'Push a bill of materials',
        'Another artifact about the same image.',
      ),
      puts(
        'tour/signed',
        async () => (await sbom()).digest,
        sbom,
        'Push its manifest',
        'It has another artifact type.',
      ),
      {
        title: 'List the referrers',
        about: 'Both are there.',
        spec: {
          section: 'Listing Referrers',
          says: 'The answer is an image index, with an entry for each manifest that has this subject.',
        },
        request: async () => ({ method: 'GET', target: `/v2/tour/signed/referrers/${(await signed()).digest}` }),
        check: async (answer) =>
          status(answer, 200) ??
          (((await jsonOf(answer))['manifests'] as unknown[]).length === 2 ? undefined : 'there are not two of them'),
        expects: '200 OK, an index of two',
      },
      {
        title: 'Only the signatures',
        about: 'The list can be filtered by artifact type.',
        spec: { section: 'Listing Referrers', says: 'If the registry filters, it must say so in OCI-Filters-Applied.' },
        request: async () => ({
          method: 'GET',
          target: `/v2/tour/signed/referrers/${(await signed()).digest}?artifactType=application/vnd.example.signature`,
        }),
        check: async (answer) =>
          status(answer, 200) ??
          field(answer, 'OCI-Filters-Applied', 'artifactType') ??
          (((await jsonOf(answer))['manifests'] as unknown[]).length === 1 ? undefined : 'there is not one of them'),
        expects: '200 OK, an index of one',
      },
    ],
  },
  {
    id: 'delete',
    title: 'Delete, and collect garbage',
    about: 'A delete removes names. Garbage collection removes the bytes later, when nothing refers to them.',
    repositories: ['tour/gone'],
    steps: [
      pushes('tour/gone', async () => (await removed()).layers[0]!, 'Push a layer', 'Something to delete.'),
      pushes('tour/gone', async () => (await removed()).config, 'Push its configuration', ''),
      puts('tour/gone', () => 'v1', removed, 'Push the image as v1', ''),
      {
        title: 'Delete the tag',
        about: 'Only the tag: the manifest can still be pulled by its digest.',
        spec: { section: 'Deleting tags', says: 'DELETE with a tag must delete the tag only, and answers 202.' },
        request: () => ({ method: 'DELETE', target: '/v2/tour/gone/manifests/v1' }),
        check: (answer) => status(answer, 202),
        expects: '202 Accepted',
      },
      {
        title: 'Pull it by the digest',
        about: 'It is still there.',
        spec: { section: 'Pulling manifests', says: 'A manifest can be pulled by digest as well.' },
        request: async () => ({ method: 'GET', target: `/v2/tour/gone/manifests/${(await removed()).digest}` }),
        check: (answer) => status(answer, 200),
        expects: '200 OK',
      },
      {
        title: 'Delete the manifest',
        about: 'The manifest is deleted together with every tag that names it.',
        spec: { section: 'Deleting Manifests', says: 'DELETE with a digest deletes the manifest and answers 202.' },
        request: async () => ({ method: 'DELETE', target: `/v2/tour/gone/manifests/${(await removed()).digest}` }),
        check: (answer) => status(answer, 202),
        expects: '202 Accepted',
      },
      {
        title: 'It is gone',
        about:
          'Its blobs are still there, because another manifest could need them. The Store panel marks them, and garbage collection there can run as if two days had passed.',
        spec: { section: 'Deleting Manifests', says: 'A GET of what was deleted is answered 404.' },
        request: async () => ({ method: 'GET', target: `/v2/tour/gone/manifests/${(await removed()).digest}` }),
        check: async (answer) => status(answer, 404) ?? code(answer, 'MANIFEST_UNKNOWN'),
        expects: '404 Not Found, MANIFEST_UNKNOWN',
      },
      {
        title: 'Collect garbage, and look for the layer',
        about: 'Garbage collection runs in this tab as if two days had passed. Then nothing is left.',
        spec: { section: 'Content Management', says: 'The registry decides how and when it frees the space.' },
        request: async () => {
          if (!isServer.value) {
            const { id } = await registry().beginGc(Date.now() + 48 * 3600_000);
            await registry().run(id);
            await registry().drop(id);
          }
          return { method: 'HEAD', target: `/v2/tour/gone/blobs/${(await removed()).layers[0]!.digest}` };
        },
        check: (answer) => status(answer, ...(isServer.value ? [200, 404] : [404])),
        expects: '404 Not Found; a server keeps them for a day first',
      },
    ],
  },
  MIRROR,
  {
    id: 'errors',
    title: 'Error codes',
    about: 'Every error has an HTTP status, a code for clients, and a message for people.',
    repositories: [],
    steps: [
      ...(
        [
          [
            'An invalid name',
            'GET',
            '/v2/UPPER/tags/list',
            400,
            'NAME_INVALID',
            'Repository names have no capital letters.',
          ],
          [
            'An unknown repository',
            'GET',
            '/v2/tour/nowhere/tags/list',
            404,
            'NAME_UNKNOWN',
            'The name is valid, but nothing was ever pushed to it.',
          ],
          ['An unknown manifest', 'GET', '/v2/tour/nowhere/manifests/v1', 404, 'MANIFEST_UNKNOWN', ''],
          [
            'An invalid digest',
            'GET',
            '/v2/tour/nowhere/blobs/sha256:short',
            400,
            'DIGEST_INVALID',
            'A SHA-256 digest has 64 digits.',
          ],
          [
            'An unknown upload session',
            'GET',
            '/v2/tour/nowhere/blobs/uploads/00000000-0000-4000-8000-000000000000',
            404,
            'BLOB_UPLOAD_UNKNOWN',
            'It may have been cancelled, or expired after a week.',
          ],
          ['A page size of minus one', 'GET', '/v2/tour/nowhere/tags/list?n=-1', 400, 'PAGINATION_NUMBER_INVALID', ''],
          ['An unknown endpoint', 'GET', '/v2/tour/', 404, 'UNSUPPORTED', ''],
          [
            'A method that is not allowed',
            'POST',
            '/v2/tour/nowhere/tags/list',
            405,
            'UNSUPPORTED',
            'The Allow header lists those that are.',
          ],
        ] as [string, string, string, number, string, string][]
      ).map(([title, method, target, wanted, wantedCode, about]): Step => ({
        title,
        about,
        spec: {
          section: 'Error Codes',
          says: 'An error of 4xx may have a JSON body with a list of errors, each with a code of the table, in capital letters.',
        },
        request: () => ({ method, target }),
        check: async (answer) => status(answer, wanted) ?? code(answer, wantedCode),
        expects: `${wanted}, ${wantedCode}`,
      })),
      {
        title: 'A manifest without its blobs',
        about: 'The registry says which are missing, one error each.',
        spec: {
          section: 'Error Codes',
          says: 'MANIFEST_BLOB_UNKNOWN: a manifest or blob that the manifest references is unknown to the registry.',
        },
        request: async () => ({
          method: 'PUT',
          target: '/v2/tour/incomplete/manifests/v1',
          headers: [['Content-Type', 'application/vnd.oci.image.manifest.v1+json']],
          body: (await manifestOf('amd64', `never pushed ${Math.random()}`)).text,
        }),
        check: async (answer) => status(answer, 400) ?? code(answer, 'MANIFEST_BLOB_UNKNOWN, MANIFEST_BLOB_UNKNOWN'),
        expects: '400, MANIFEST_BLOB_UNKNOWN for the configuration and for the layer',
      },
      {
        title: 'Bytes with another digest',
        about: 'The digest does not match “hello”. Nothing is stored.',
        spec: {
          section: 'Error Codes',
          says: 'DIGEST_INVALID: the provided digest did not match the uploaded content.',
        },
        request: () => ({
          method: 'POST',
          target: `/v2/tour/wrong/blobs/uploads/?digest=${HELLO}`,
          headers: [STREAM],
          body: 'hello',
        }),
        check: async (answer) => status(answer, 400) ?? code(answer, 'DIGEST_INVALID'),
        expects: '400, DIGEST_INVALID',
      },
    ],
  },
];
