import { signal, useComputed } from '@preact/signals';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { Answer, Status } from '../parts/answer.js';
import { Editor, jsonProblem } from '../parts/editor.js';
import { ENDPOINTS, curlBody, curlOf, targetOf } from '../endpoints.js';
import type { Endpoint, Parameter } from '../endpoints.js';
import { known, learnRepositories, learnTags } from '../known.js';
import { ask } from '../../../parts/ask.js';
import { ServerBar } from '../parts/server.js';
import { registry } from '../remote.js';
import {
  SERVER,
  copy,
  digestOf,
  go,
  isServer,
  keep,
  packed,
  reason,
  route,
  send,
  server,
  snapshot,
  tell,
  unpacked,
} from '../state.js';
import type { WireRequest, WireResponse } from '../wire.js';
import { short, size } from '../words.js';
import { TOURS } from '../tours/tours.js';

/** A request as it is being built. */
interface Draft {
  endpoint: string;
  method: string;
  values: Record<string, string>;
  headers: [string, string][];
  /** Where the body comes from. */
  kind: 'none' | 'json' | 'text' | 'file';
  text: string;
  cutAfter?: number;
}

const MANIFEST = `{
  "schemaVersion": 2,
  "mediaType": "application/vnd.oci.image.manifest.v1+json",
  "config": {
    "mediaType": "application/vnd.oci.empty.v1+json",
    "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    "size": 2
  },
  "layers": []
}`;

function draftOf(endpoint: Endpoint): Draft {
  return {
    endpoint: endpoint.id,
    method: endpoint.method,
    values: Object.fromEntries(endpoint.parameters.map(({ name, standard }) => [name, standard])),
    headers: endpoint.headers ?? [],
    kind: endpoint.body === 'manifest' ? 'json' : endpoint.body === 'bytes' ? 'text' : 'none',
    text: endpoint.body === 'manifest' ? MANIFEST : endpoint.body === 'bytes' && endpoint.id !== 'other' ? 'hello' : '',
  };
}

const draft = signal<Draft>(draftOf(ENDPOINTS[0]!));
const file = signal<File | undefined>(undefined);
const answer = signal<WireResponse | undefined>(undefined);
const sending = signal(false);
const past = signal<{ draft: Draft; method: string; target: string; status: number; at: Date }[]>([]);

/** Counts the drafts that did not come of editing the last one. */
const revision = signal(0);

function take(taken: Draft): void {
  draft.value = taken;
  revision.value++;
}

const change = (some: Partial<Draft>) => (draft.value = { ...draft.value, ...some });

export function Requests() {
  const linked = route.value.parameters.get('request');
  useEffect(() => {
    const given = linked && (unpacked(linked) as Draft | undefined);
    if (given && ENDPOINTS.some(({ id }) => id === given.endpoint)) {
      take(given);
      answer.value = undefined;
    } else if (linked) {
      tell('The link does not hold a request. It may have been cut short.', true);
    }
  }, [linked]);
  const endpoint = ENDPOINTS.find(({ id }) => id === draft.value.endpoint)!;
  return (
    <>
      {isServer.value && <ServerBar />}
      <div class="split">
        <section class="pane" aria-label="The request">
          <Builder endpoint={endpoint} />
        </section>
        <section class="pane" aria-label="The answer" aria-live="polite">
          <h2>Answer</h2>
          {answer.value ? <Answer response={answer.value} /> : <Welcome />}
          <History />
        </section>
      </div>
    </>
  );
}

function Builder({ endpoint }: { endpoint: Endpoint }) {
  const { method, values, headers, kind, text } = draft.value;
  const computed = useBodyDigest();
  const missing = endpoint.parameters.filter(
    ({ name, from }) => endpoint.path.includes(`{${name}}`) && from !== 'body' && !values[name],
  );
  const filled = { ...values };
  for (const { name, from } of endpoint.parameters) if (from === 'body' && !values[name]) filled[name] = computed;
  const target = targetOf(endpoint, filled);
  const body = kind === 'none' ? null : kind === 'file' ? (file.value ?? null) : text;

  const request: WireRequest = {
    method,
    target,
    headers,
    body,
    ...(draft.value.cutAfter !== undefined && { cutAfter: draft.value.cutAfter, chunked: true }),
  };
  const run = async () => {
    if (missing.length > 0) {
      tell(`Fill in the ${missing.map(({ name }) => name).join(' and the ')} first.`, true);
      return;
    }
    try {
      if (isServer.value && !(await mayAct(method, target, body))) return;
      sending.value = true;
      const response = await send(request);
      answer.value = response;
      past.value = [
        { draft: draft.value, method, target, status: response.status, at: new Date() },
        ...past.value,
      ].slice(0, 50);
    } catch (error) {
      tell(
        `There was no answer: ${reason(error)}. ${isServer.value ? 'Check that the server is running.' : 'Load the page again.'}`,
        true,
      );
    } finally {
      sending.value = false;
    }
  };
  const stepThrough = async () => {
    try {
      keep(await registry().begin(request));
      go('#/effects');
    } catch (error) {
      tell(reason(error), true);
    }
  };

  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void run();
      }}
      onKeyDown={(event) => {
        if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void run();
      }}
    >
      <div class="field">
        <label for="endpoint">Endpoint</label>
        <select
          id="endpoint"
          value={endpoint.id}
          onChange={(event) => {
            take(draftOf(ENDPOINTS.find(({ id }) => id === event.currentTarget.value)!));
            answer.value = undefined;
          }}
        >
          {['Base', 'Pull', 'Push', 'Lists', 'Delete'].map((group) => (
            <optgroup key={group} label={group}>
              {ENDPOINTS.filter((one) => one.group === group).map((one) => (
                <option key={one.id} value={one.id}>
                  {one.id === 'other' ? one.title : `${one.method} · ${one.title}`}
                </option>
              ))}
            </optgroup>
          ))}
        </select>
        <p class="hint">
          {endpoint.about} <span class="spec">Distribution specification: {endpoint.spec}.</span>
        </p>
      </div>
      {endpoint.id === 'other' && (
        <div class="field">
          <label for="method">Method</label>
          <select id="method" value={method} onChange={(event) => change({ method: event.currentTarget.value })}>
            {['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'].map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </div>
      )}
      {endpoint.parameters.map((parameter) => (
        <ParameterField
          key={`${endpoint.id}-${parameter.name}`}
          parameter={parameter}
          optional={!endpoint.path.includes(`{${parameter.name}}`)}
          computed={computed}
        />
      ))}
      <p class="target" aria-label="The request line">
        <span class="method">{method}</span> <span>{target}</span>
      </p>
      <HeaderFields headers={headers} />
      {!['GET', 'HEAD'].includes(method) && <BodyField kind={kind} text={text} digest={computed} />}
      <div class="actions">
        <button type="submit" class="primary" disabled={sending.value}>
          {sending.value ? 'Sending…' : isServer.value ? 'Send to the server' : 'Send'}
        </button>
        <button
          type="button"
          onClick={() => void stepThrough()}
          disabled={isServer.value}
          title={isServer.value ? 'Only the registry in this tab can be stepped' : undefined}
        >
          Step through
        </button>
        <button
          type="button"
          class="quiet"
          onClick={() => {
            const url = isServer.value ? location.origin : 'http://127.0.0.1:5000';
            const data =
              kind === 'none' || ['GET', 'HEAD'].includes(method)
                ? undefined
                : kind === 'file'
                  ? `@${file.value?.name ?? 'FILE'}`
                  : curlBody(text);
            void copy(curlOf(method, url + target, headers, data), 'The curl command is');
          }}
        >
          Copy as curl
        </button>
        <button
          type="button"
          class="quiet"
          onClick={() => {
            const { href } = new URL(`#/requests?request=${packed(draft.value)}`, location.href);
            history.replaceState(null, '', href);
            void copy(href, 'A link to this request is');
          }}
        >
          Copy link
        </button>
      </div>
    </form>
  );
}

/** Asks before a request removes something from the server: a delete, or a push that moves a tag. */
async function mayAct(method: string, target: string, body: WireRequest['body']): Promise<boolean> {
  const path = decodeURIComponent(new URL(target, location.origin).pathname);
  const [, repository = '', kind = '', name = ''] =
    /^\/v2\/(.+)\/(manifests|blobs\/uploads|blobs)\/(.+)$/.exec(path) ?? [];
  if (method === 'DELETE') return ask(deletion(repository, kind, name, target));
  if (method !== 'PUT' || kind !== 'manifests' || name.includes(':')) return true;
  const now = await send({ method: 'HEAD', target: path, headers: [['Accept', '*/*']] });
  const names = now.headers.find(([given]) => given.toLowerCase() === 'docker-content-digest')?.[1];
  const pushed = body instanceof Blob ? new Uint8Array(await body.arrayBuffer()) : typeof body === 'string' ? body : '';
  if (now.status !== 200 || !names || names === (await digestOf(pushed))) return true;
  return ask({
    title: `Move the tag ${repository}:${name}?`,
    says: [
      <>
        On <strong>{SERVER}</strong> it names <code>{names}</code> now, and would name the manifest that you push.
      </>,
      'Whoever pulls the tag gets the new image from then on.',
    ],
    does: `Move ${repository}:${name}`,
    danger: true,
  });
}

/** Asks about a delete, and says what it removes. */
function deletion(repository: string, kind: string, name: string, target: string): Parameters<typeof ask>[0] {
  const from = (
    <>
      It is deleted from <strong>{repository}</strong> on <strong>{SERVER}</strong>. This cannot be undone.
    </>
  );
  const asked = (what: string, consequence: string) => ({
    title: `Delete the ${what}?`,
    says: [<code class="break">{name}</code>, from, consequence],
    does: `Delete the ${what}`,
    danger: true,
  });
  if (kind === 'blobs/uploads')
    return asked('upload session', 'What it has received so far is lost, and its client has to start again.');
  if (kind === 'blobs') return asked('blob', `Images in ${repository} that need it can no longer be pulled.`);
  if (kind === 'manifests' && name.includes(':'))
    return asked('manifest', `Every tag in ${repository} that names it is deleted too.`);
  if (kind === 'manifests') {
    const tag = `${repository}:${name}`;
    return {
      title: `Delete the tag ${tag}?`,
      says: [from, 'The image stays until garbage collection removes it, and can be pulled by its digest until then.'],
      does: `Delete ${tag}`,
      danger: true,
    };
  }
  return {
    title: 'Send this DELETE?',
    says: [
      <code class="break">{target}</code>,
      <>
        It goes to <strong>{SERVER}</strong>, and cannot be undone.
      </>,
    ],
    does: 'Send it',
    danger: true,
  };
}

/** The digest of the body, as it is being written. */
function useBodyDigest(): string {
  const { kind, text } = draft.value;
  const [digest, setDigest] = useState('');
  const given = file.value;
  useEffect(() => {
    let wanted = true;
    const compute = async () => {
      if (kind === 'none') return digestOf('');
      if (kind !== 'file') return digestOf(text);
      return given ? digestOf(new Uint8Array(await given.arrayBuffer())) : '';
    };
    compute().then(
      (made) => wanted && setDigest(made),
      () => setDigest(''),
    );
    return () => void (wanted = false);
  }, [kind, text, given]);
  return digest;
}

function ParameterField({
  parameter,
  optional,
  computed,
}: {
  parameter: Parameter;
  optional: boolean;
  computed: string;
}) {
  const { name, about, from } = parameter;
  const names = useComputed(() => candidates(from, draft.value.values['name'] ?? ''));
  const learn = useLearning(from);
  const id = `parameter-${name}`;
  return (
    <div class="field">
      <label for={id}>
        {name}
        {optional && from !== 'body' && <span class="optional"> optional</span>}
      </label>
      <input
        id={id}
        list={`${id}-known`}
        value={draft.value.values[name] ?? ''}
        placeholder={from === 'body' ? computed : from === 'session' && names.value[0] ? 'choose one' : ''}
        autocomplete="off"
        spellcheck={false}
        aria-describedby={`${id}-about`}
        onFocus={(event) => learn(event.currentTarget.value)}
        onInput={(event) => {
          change({ values: { ...draft.value.values, [name]: event.currentTarget.value } });
          learn(event.currentTarget.value);
        }}
      />
      <datalist id={`${id}-known`}>
        {names.value.map((one) => (
          <option key={one} value={one} />
        ))}
      </datalist>
      <p class="hint" id={`${id}-about`}>
        {about}
      </p>
    </div>
  );
}

/** How long a field rests before the server is asked for names, in milliseconds. */
const REST = 250;

/** Asks the server for names that fit what is typed in a field. */
function useLearning(from: Parameter['from']): (typed: string) => void {
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  return (typed) => {
    clearTimeout(timer.current);
    if (!isServer.value || (from !== 'repository' && from !== 'reference')) return;
    timer.current = setTimeout(() => {
      const repository = draft.value.values['name'] ?? '';
      const learning =
        from === 'repository'
          ? learnRepositories(server.value, typed)
          : repository
            ? learnTags(server.value, repository, typed.includes(':') ? '' : typed)
            : undefined;
      // Without them there are no suggestions: what is wrong, the request itself will show.
      learning?.catch(() => undefined);
    }, REST);
  };
}

/** Names that a parameter may mean: of what the server holds, or of what the tab holds. */
function candidates(from: Parameter['from'], repository: string): string[] {
  if (isServer.value) {
    const { repositories, tags, manifests, blobs, sessions } = known.value;
    const [tagged, named] = [tags[repository] ?? [], manifests[repository] ?? []];
    switch (from) {
      case 'repository':
        return repositories;
      case 'reference':
        return [...tagged, ...named];
      case 'manifest':
        return named;
      case 'blob':
        return blobs[repository] ?? [];
      case 'session':
        return sessions;
      default:
        return [];
    }
  }
  const under = (prefix: string) =>
    snapshot.value.records
      .filter(([key]) => key.startsWith(prefix))
      .map(([key]) => key.slice(prefix.length))
      .slice(0, 200);
  switch (from) {
    case 'repository':
      return under('repo/');
    case 'reference':
      return [...under(`tag/${repository}:`), ...under(`manifest/${repository}@`)];
    case 'manifest':
      return under(`manifest/${repository}@`);
    case 'blob':
      return under(`link/${repository}@`);
    case 'session':
      return under('upload/');
    default:
      return [];
  }
}

function HeaderFields({ headers }: { headers: [string, string][] }) {
  const put = (i: number, pair: [string, string]) =>
    change({ headers: headers.map((old, at) => (at === i ? pair : old)) });
  return (
    <fieldset class="field">
      <legend>Headers</legend>
      {headers.map(([name, value], i) => (
        <div class="header-row" key={i}>
          <input
            value={name}
            aria-label={`Name of header ${i + 1}`}
            spellcheck={false}
            onInput={(event) => put(i, [event.currentTarget.value, value])}
          />
          <input
            value={value}
            aria-label={`Value of header ${i + 1}`}
            spellcheck={false}
            onInput={(event) => put(i, [name, event.currentTarget.value])}
          />
          <button
            type="button"
            class="quiet icon"
            aria-label={`Remove header ${i + 1}`}
            onClick={() => change({ headers: headers.filter((_, at) => at !== i) })}
          >
            ×
          </button>
        </div>
      ))}
      <button type="button" class="quiet" onClick={() => change({ headers: [...headers, ['', '']] })}>
        Add a header
      </button>
    </fieldset>
  );
}

const KINDS: [Draft['kind'], string][] = [
  ['none', 'None'],
  ['json', 'JSON'],
  ['text', 'Text'],
  ['file', 'File'],
];

function BodyField({ kind, text, digest }: { kind: Draft['kind']; text: string; digest: string }) {
  const problem = useMemo(() => (kind === 'json' ? jsonProblem(text) : undefined), [kind, text]);
  const length = kind === 'file' ? (file.value?.size ?? 0) : new TextEncoder().encode(text).length;
  const cut = draft.value.cutAfter;
  return (
    <fieldset class="field">
      <legend>Body</legend>
      <div class="tabs" role="group" aria-label="Kind of body">
        {KINDS.map(([value, label]) => (
          <button
            type="button"
            key={value}
            class={kind === value ? 'chosen' : ''}
            aria-pressed={kind === value}
            onClick={() => change({ kind: value })}
          >
            {label}
          </button>
        ))}
      </div>
      {(kind === 'json' || kind === 'text') && (
        <Editor
          label="Body of the request"
          value={text}
          revision={revision.value}
          isJson={kind === 'json'}
          onChange={(value) => change({ text: value })}
        />
      )}
      {kind === 'file' && (
        <input
          type="file"
          aria-label="File to send"
          onChange={(event) => (file.value = event.currentTarget.files?.[0])}
        />
      )}
      {kind !== 'none' && (
        <>
          <p class={problem ? 'hint bad' : 'hint'}>
            {problem ? `This is not JSON yet: ${problem}` : `${size(length)}, ${digest || 'no digest yet'}`}
          </p>
          {!isServer.value && (
            <label class="check">
              <input
                type="checkbox"
                checked={cut !== undefined}
                onChange={(event) => {
                  const { cutAfter: _, ...rest } = draft.value;
                  draft.value = event.currentTarget.checked ? { ...rest, cutAfter: Math.floor(length / 2) } : rest;
                }}
              />
              The connection breaks after
              <input
                type="number"
                min={0}
                class="number"
                aria-label="Bytes before the connection breaks"
                value={cut ?? ''}
                disabled={cut === undefined}
                onInput={(event) => change({ cutAfter: event.currentTarget.valueAsNumber || 0 })}
              />
              bytes
            </label>
          )}
        </>
      )}
    </fieldset>
  );
}

/** What is shown before the first answer. */
function Welcome() {
  return (
    <div class="welcome">
      <p class="muted">Send a request, and its answer appears here.</p>
      <p>New to registries? These tours take two minutes each:</p>
      <ul class="plain">
        {TOURS.slice(0, 3).map(({ id, title }) => (
          <li key={id}>
            <a href={`#/scenarios/${id}`}>{title}</a>
          </li>
        ))}
      </ul>
      {!isServer.value && (
        <p class="muted">
          Everything happens in this tab: no request leaves it, and what you push is kept until you reset it.
        </p>
      )}
    </div>
  );
}

function History() {
  if (past.value.length === 0) return null;
  return (
    <section class="history" aria-label="History">
      <h3>History</h3>
      <ol>
        {past.value.map((one, i) => (
          <li key={past.value.length - i}>
            <button type="button" class="quiet" onClick={() => take(one.draft)} title="Edit this request again">
              <span class="method">{one.method}</span> <span class="path">{short(one.target)}</span>{' '}
              <Status status={one.status} />
            </button>
          </li>
        ))}
      </ol>
    </section>
  );
}
