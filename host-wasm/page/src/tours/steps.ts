/** Steps of tours: a request, what the specification says of it, and a check of the answer. */
import { isServer } from '../state.js';
import type { Which, WireRequest, WireResponse } from '../wire.js';
import type { Manifest } from './image.js';

/** What a tour remembers from step to step. */
export type Notes = Record<string, string>;

/** What a check finds: nothing, or what is wrong. */
type Found = string | undefined;

export interface Step {
  title: string;
  /** What is done here and why. */
  about: string;
  /** What the specification says, in short, and in which section. */
  spec: { section: string; says: string };
  request: (notes: Notes) => WireRequest | Promise<WireRequest>;
  /** Which registry of the tab it goes to, if not the one that the page drives. */
  to?: Which;
  /** What the answer must be. `notes` may be written. */
  check: (answer: WireResponse, notes: Notes) => Found | Promise<Found>;
  expects: string;
}

export interface Tour {
  id: string;
  title: string;
  about: string;
  /** The repositories that it pushes to. */
  repositories: string[];
  /** Whether it needs the upstream, which only the registry in the tab has. */
  upstream?: true;
  steps: Step[];
}

export const STREAM: [string, string] = ['Content-Type', 'application/octet-stream'];

export function header(answer: WireResponse, name: string): string | undefined {
  return answer.headers.find(([given]) => given.toLowerCase() === name.toLowerCase())?.[1];
}

export async function textOf(answer: WireResponse): Promise<string> {
  return answer.body instanceof Blob ? answer.body.text() : new TextDecoder().decode(answer.body);
}

export async function jsonOf(answer: WireResponse): Promise<Record<string, unknown>> {
  return JSON.parse(await textOf(answer)) as Record<string, unknown>;
}

export function status(answer: WireResponse, ...wanted: number[]): Found {
  return wanted.includes(answer.status) ? undefined : `the status is ${answer.status}, not ${wanted.join(' or ')}`;
}

export function field(answer: WireResponse, name: string, wanted: string): Found {
  const given = header(answer, name);
  return given === wanted ? undefined : `${name} is ${given ?? 'missing'}, not ${wanted}`;
}

export async function code(answer: WireResponse, wanted: string): Promise<Found> {
  const { errors } = (await jsonOf(answer)) as { errors?: { code: string }[] };
  const codes = errors?.map((error) => error.code).join(', ');
  return codes === wanted ? undefined : `the code is ${codes ?? 'missing'}, not ${wanted}`;
}

/** A step that pushes a blob by one POST. */
export function pushes(
  repository: string,
  blob: (notes: Notes) => Promise<{ digest: string; text: string }>,
  title: string,
  about: string,
): Step {
  return {
    title,
    about,
    spec: {
      section: 'Pushing a blob monolithically › Single POST',
      says: 'A registry may take the whole blob with the POST that would open a session. Then it answers 201.',
    },
    request: async (notes) => {
      const { digest, text } = await blob(notes);
      return {
        method: 'POST',
        target: `/v2/${repository}/blobs/uploads/?digest=${digest}`,
        headers: [STREAM],
        body: text,
      };
    },
    check: (answer) => status(answer, 201),
    expects: '201 Created, with the place of the blob in Location',
  };
}

/** A step that pushes a manifest. */
export function puts(
  repository: string,
  reference: (notes: Notes) => string | Promise<string>,
  manifest: () => Promise<Manifest>,
  title: string,
  about: string,
): Step {
  return {
    title,
    about,
    spec: {
      section: 'Pushing Manifests',
      says: 'The Content-Type must be that of the manifest. The registry answers 201 with Docker-Content-Digest, and keeps the manifest byte for byte.',
    },
    request: async (notes) => {
      const { text, mediaType } = await manifest();
      return {
        method: 'PUT',
        target: `/v2/${repository}/manifests/${await reference(notes)}`,
        headers: [['Content-Type', mediaType]],
        body: text,
      };
    },
    check: async (answer) => status(answer, 201) ?? field(answer, 'Docker-Content-Digest', (await manifest()).digest),
    expects: '201 Created, with the digest of exactly these bytes',
  };
}

export function opens(repository: string, about: string): Step {
  return {
    title: 'Open a session',
    about,
    spec: {
      section: 'Pushing a blob monolithically › POST then PUT',
      says: 'On success the answer is 202, and Location says where the bytes go. The client must use that URL as it is.',
    },
    request: () => ({ method: 'POST', target: `/v2/${repository}/blobs/uploads/` }),
    check: (answer, notes) => {
      notes['session'] = header(answer, 'Location') ?? '';
      return status(answer, 202) ?? (notes['session'] ? undefined : 'Location is missing');
    },
    expects: '202 Accepted, with Location',
  };
}

export function sends(
  range: string,
  body: string,
  title: string,
  about: string,
  wanted: number,
  more: Partial<WireRequest> = {},
): Step {
  return {
    title,
    about,
    spec: {
      section: 'Pushing a blob in chunks',
      says:
        wanted === 416
          ? 'Chunks must be uploaded in order. One that is out of order is refused with 416.'
          : 'Content-Range gives the first and last byte of the chunk. The answer is 202, and its Range says how much there is.',
    },
    request: (notes) => ({
      method: 'PATCH',
      target: notes['session']!,
      headers: [STREAM, ...(range ? [['Content-Range', range] as [string, string]] : [])],
      body,
      ...more,
    }),
    check: (answer, notes) => {
      notes['session'] = header(answer, 'Location') ?? notes['session']!;
      // A browser cannot break its connection to a server at a byte: there the piece is sent as a whole.
      return status(answer, isServer.value && more.cutAfter !== undefined ? 202 : wanted);
    },
    expects: `${wanted}${more.cutAfter === undefined ? '' : '; 202 by a server, to which a browser can only send the three bytes as a whole'}`,
  };
}

export function stands(range: string, about: string): Step {
  return {
    title: 'Ask where the session stands',
    about,
    spec: {
      section: 'Pushing a blob in chunks',
      says: 'GET on the session answers 204, and Range tells the first and last byte that arrived.',
    },
    request: (notes) => ({ method: 'GET', target: notes['session']! }),
    check: (answer) => status(answer, 204) ?? field(answer, 'Range', range),
    expects: `204 No Content, Range: ${range}`,
  };
}

export function finishes(text: string, digest: string): Step {
  return {
    title: 'Finish with the digest',
    about:
      'The last request says what the whole must be. The registry has hashed each byte on its way in and compares.',
    spec: {
      section: 'Pushing a blob in chunks',
      says: 'The final PUT has the digest of the whole blob as parameter, and is answered 201.',
    },
    request: (notes) => ({
      method: 'PUT',
      target: `${notes['session']}?digest=${digest}`,
      headers: [STREAM],
      body: text,
    }),
    check: (answer) => status(answer, 201),
    expects: '201 Created',
  };
}

export const HELLO = 'sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9';
