/** Every endpoint of the distribution API, as a template with its parameters explained. */

/** A parameter of a template. */
export interface Parameter {
  name: string;
  about: string;
  /** What stands there at first. */
  standard: string;
  /** What it may be taken from: names in the store, or the digest of the body. */
  from?: 'repository' | 'reference' | 'blob' | 'manifest' | 'session' | 'body';
}

/** A template of a request. */
export interface Endpoint {
  id: string;
  title: string;
  group: 'Base' | 'Pull' | 'Push' | 'Lists' | 'Delete';
  method: string;
  /** Parameters in braces; the query is made of those that are not empty. */
  path: string;
  query?: string[];
  parameters: Parameter[];
  headers?: [string, string][];
  body?: 'manifest' | 'bytes';
  about: string;
  /** Where the specification speaks of it. */
  spec: string;
}

const name: Parameter = {
  name: 'name',
  about: 'The repository: small letters, digits, . _ - and / between components.',
  standard: 'app',
  from: 'repository',
};
const reference: Parameter = { name: 'reference', about: 'A tag, or a digest.', standard: 'v1', from: 'reference' };
const digest: Parameter = {
  name: 'digest',
  about: 'The digest of the blob: algorithm:hex.',
  standard: '',
  from: 'blob',
};
const own: Parameter = {
  name: 'digest',
  about: 'The digest of the whole blob. Left empty, it is worked out from the body.',
  standard: '',
  from: 'body',
};
const session: Parameter = {
  name: 'session',
  about: 'The session, from the Location that its POST answered.',
  standard: '',
  from: 'session',
};
const n: Parameter = { name: 'n', about: 'How many results at most.', standard: '' };
const last: Parameter = { name: 'last', about: 'Start after this name.', standard: '' };
const STREAM: [string, string] = ['Content-Type', 'application/octet-stream'];
const ANY =
  'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json';

export const ENDPOINTS: Endpoint[] = [
  {
    id: 'base',
    title: 'Is it a registry?',
    group: 'Base',
    method: 'GET',
    path: '/v2/',
    parameters: [],
    about: 'Answers 200 if this is a registry and you have access.',
    spec: 'Determining Support',
  },
  {
    id: 'manifest-get',
    title: 'Pull a manifest',
    group: 'Pull',
    method: 'GET',
    path: '/v2/{name}/manifests/{reference}',
    parameters: [name, reference],
    headers: [['Accept', ANY]],
    about: 'The manifest, byte for byte as it was pushed.',
    spec: 'Pulling manifests',
  },
  {
    id: 'manifest-head',
    title: 'Check a manifest',
    group: 'Pull',
    method: 'HEAD',
    path: '/v2/{name}/manifests/{reference}',
    parameters: [name, reference],
    headers: [['Accept', ANY]],
    about: 'The same answer without its body: how clients ask for the digest of a tag.',
    spec: 'Checking if content exists in the registry',
  },
  {
    id: 'blob-get',
    title: 'Pull a blob',
    group: 'Pull',
    method: 'GET',
    path: '/v2/{name}/blobs/{digest}',
    parameters: [name, digest],
    about: 'The bytes of a layer or configuration. Add a Range header for a part of them.',
    spec: 'Pulling blobs',
  },
  {
    id: 'blob-head',
    title: 'Check a blob',
    group: 'Pull',
    method: 'HEAD',
    path: '/v2/{name}/blobs/{digest}',
    parameters: [name, digest],
    about: 'What a client asks before it uploads a layer.',
    spec: 'Checking if content exists in the registry',
  },
  {
    id: 'post-blob',
    title: 'Push a blob by one POST',
    group: 'Push',
    method: 'POST',
    path: '/v2/{name}/blobs/uploads/',
    query: ['digest'],
    parameters: [name, own],
    headers: [STREAM],
    body: 'bytes',
    about: 'The whole blob in one request.',
    spec: 'Single POST',
  },
  {
    id: 'open',
    title: 'Open an upload session',
    group: 'Push',
    method: 'POST',
    path: '/v2/{name}/blobs/uploads/',
    parameters: [name],
    about: 'Answers 202 and, in Location, where to send the bytes.',
    spec: 'POST then PUT',
  },
  {
    id: 'patch',
    title: 'Send a chunk',
    group: 'Push',
    method: 'PATCH',
    path: '/v2/{name}/blobs/uploads/{session}',
    parameters: [name, session],
    headers: [STREAM, ['Content-Range', '0-4']],
    body: 'bytes',
    about: 'The next bytes of the blob. Content-Range says where they belong, first and last byte.',
    spec: 'Pushing a blob in chunks',
  },
  {
    id: 'status',
    title: 'Get the state of an upload',
    group: 'Push',
    method: 'GET',
    path: '/v2/{name}/blobs/uploads/{session}',
    parameters: [name, session],
    about: 'Range tells how much has arrived: where to go on after a broken connection.',
    spec: 'Pushing a blob in chunks',
  },
  {
    id: 'finish',
    title: 'Finish a session',
    group: 'Push',
    method: 'PUT',
    path: '/v2/{name}/blobs/uploads/{session}',
    query: ['digest'],
    parameters: [name, session, own],
    headers: [STREAM],
    body: 'bytes',
    about: 'Ends the upload with the digest of all its bytes. The body may bring the last of them.',
    spec: 'POST then PUT',
  },
  {
    id: 'cancel',
    title: 'Cancel an upload',
    group: 'Push',
    method: 'DELETE',
    path: '/v2/{name}/blobs/uploads/{session}',
    parameters: [name, session],
    about: 'Deletes the session and what it has received.',
    spec: 'Cancelling an upload (unreleased)',
  },
  {
    id: 'mount',
    title: 'Mount a blob from another repository',
    group: 'Push',
    method: 'POST',
    path: '/v2/{name}/blobs/uploads/',
    query: ['mount', 'from'],
    parameters: [
      name,
      { ...digest, name: 'mount', about: 'The digest of the blob to mount.' },
      {
        name: 'from',
        about: 'The repository that has it. Without it, any repository.',
        standard: '',
        from: 'repository',
      },
    ],
    about: 'Links a blob that the registry already has: 201. If it cannot, a session is opened instead: 202.',
    spec: 'Mounting a blob from another repository',
  },
  {
    id: 'manifest-put',
    title: 'Push a manifest',
    group: 'Push',
    method: 'PUT',
    path: '/v2/{name}/manifests/{reference}',
    query: ['tag'],
    parameters: [
      name,
      reference,
      { name: 'tag', about: 'With a digest in the path: a tag to make as well.', standard: '' },
    ],
    headers: [['Content-Type', 'application/vnd.oci.image.manifest.v1+json']],
    body: 'manifest',
    about: 'Everything that it names must have been pushed before.',
    spec: 'Pushing Manifests',
  },
  {
    id: 'tags',
    title: 'List tags',
    group: 'Lists',
    method: 'GET',
    path: '/v2/{name}/tags/list',
    query: ['n', 'last'],
    parameters: [name, n, last],
    about: 'The tags of a repository, in order. Link leads to the next page.',
    spec: 'Listing Tags',
  },
  {
    id: 'referrers',
    title: 'List referrers',
    group: 'Lists',
    method: 'GET',
    path: '/v2/{name}/referrers/{digest}',
    query: ['artifactType'],
    parameters: [
      name,
      { ...digest, about: 'The digest of the subject.', from: 'manifest' },
      { name: 'artifactType', about: 'Only referrers of this type.', standard: '' },
    ],
    about:
      'Manifests that refer to another one: signatures, bills of materials. Always an index, empty if there are none.',
    spec: 'Listing Referrers',
  },
  {
    id: 'catalog',
    title: 'List repositories',
    group: 'Lists',
    method: 'GET',
    path: '/v2/_catalog',
    query: ['n', 'last'],
    parameters: [n, last],
    about: 'Docker’s catalog: all repositories, in order.',
    spec: 'Docker Registry HTTP API V2, Listing Repositories',
  },
  {
    id: 'delete-tag',
    title: 'Delete a tag or manifest',
    group: 'Delete',
    method: 'DELETE',
    path: '/v2/{name}/manifests/{reference}',
    parameters: [name, reference],
    about: 'With a tag, deletes the tag; with a digest, deletes the manifest and all its tags.',
    spec: 'Deleting Manifests',
  },
  {
    id: 'delete-blob',
    title: 'Delete a blob',
    group: 'Delete',
    method: 'DELETE',
    path: '/v2/{name}/blobs/{digest}',
    parameters: [name, digest],
    about: 'Removes the blob from the repository. Garbage collection frees its bytes later.',
    spec: 'Deleting Blobs',
  },
  {
    id: 'other',
    title: 'Any other request',
    group: 'Base',
    method: 'GET',
    path: '{path}',
    parameters: [{ name: 'path', about: 'Path and query, as they are sent.', standard: '/v2/' }],
    body: 'bytes',
    about: 'Any method and path, to see how the registry answers.',
    spec: 'Error Codes',
  },
];

/** The target of a request: the path with its parameters, and the query of those that are not empty. */
export function targetOf(endpoint: Endpoint, values: Record<string, string>): string {
  const raw = endpoint.id === 'other';
  const path = endpoint.path.replace(/\{(\w+)\}/g, (_, key: string) => {
    const value = values[key] ?? '';
    return raw
      ? value
      : value
          .split('/')
          .map((part) => encodeURIComponent(part).replaceAll('%3A', ':'))
          .join('/');
  });
  const query = (endpoint.query ?? [])
    .filter((key) => values[key])
    .map((key) => `${key}=${encodeURIComponent(values[key]!).replaceAll('%3A', ':').replaceAll('%2F', '/')}`);
  return query.length > 0 ? `${path}?${query.join('&')}` : path;
}

/** The same request for a terminal. */
export function curlOf(method: string, url: string, headers: [string, string][], body: string | undefined): string {
  const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
  const lines = [method === 'HEAD' ? 'curl --head' : `curl --include --request ${method}`];
  for (const [name, value] of headers) lines.push(`--header ${quoted(`${name}: ${value}`)}`);
  if (body !== undefined) lines.push(`--data-binary ${body}`);
  lines.push(quoted(url));
  return lines.join(' \\\n  ');
}

/** A body as an argument of curl. */
export function curlBody(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
