/** A response, for people. */
import { useEffect, useId, useState } from 'preact/hooks';
import { HEADERS, size } from '../words.js';
import type { WireResponse } from '../wire.js';

const MEANINGS: Record<number, string> = {
  200: 'OK',
  201: 'Created',
  202: 'Accepted',
  204: 'No Content',
  206: 'Partial Content',
  304: 'Not Modified',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  414: 'URI Too Long',
  416: 'Range Not Satisfiable',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  507: 'Insufficient Storage',
};

/** How much of a body is shown, in characters. */
const SHOWN = 40_000;

export function Status({ status }: { status: number }) {
  const kind = status < 300 ? 'good' : status < 400 ? 'plain' : 'bad';
  return (
    <span class={`status ${kind}`}>
      {status === 0 ? 'none' : status} <span class="meaning">{MEANINGS[status] ?? ''}</span>
    </span>
  );
}

/** What failed behind a response, the storage or an upstream, and why. */
function failed(status: number, fault: string): string {
  return status === 502
    ? `No answer of an upstream: ${fault.replace('unavailable: ', '')}`
    : `The storage failed: ${fault}`;
}

/** `timed`: whether the time it took says something; that of a stepped call is the user's. */
export function Answer({ response, timed = true }: { response: WireResponse; timed?: boolean }) {
  return (
    <div class="answer">
      <p class="line">
        <Status status={response.status} />
        {timed && (
          <span class="muted">
            {response.ms < 1 ? `${(response.ms * 1000).toFixed(0)} µs` : `${response.ms.toFixed(1)} ms`}
          </span>
        )}
        <span class="muted">{size(lengthOf(response))}</span>
      </p>
      {response.fault && <p class="note bad">{failed(response.status, response.fault)}</p>}
      <HeaderTable headers={response.headers} />
      <BodyView response={response} />
    </div>
  );
}

function lengthOf({ body }: WireResponse): number {
  return body instanceof Blob ? body.size : body.length;
}

/** Header fields, each explained on hover and focus. */
export function HeaderTable({ headers }: { headers: [string, string][] }) {
  const id = useId();
  if (headers.length === 0) return null;
  return (
    <dl class="headers">
      {headers.map(([name, value], i) => {
        const meaning = HEADERS[name.toLowerCase()];
        return (
          <div key={i}>
            <dt>
              {meaning ? (
                <>
                  <button type="button" class="explained" aria-describedby={`${id}-${i}`}>
                    {name}
                  </button>
                  <span class="tip" role="tooltip" id={`${id}-${i}`}>
                    {meaning}
                  </span>
                </>
              ) : (
                name
              )}
            </dt>
            <dd>{value}</dd>
          </div>
        );
      })}
    </dl>
  );
}

function BodyView({ response }: { response: WireResponse }) {
  const { body } = response;
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    const made = URL.createObjectURL(body instanceof Blob ? body : new Blob([body as Uint8Array<ArrayBuffer>]));
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [body]);
  if (lengthOf(response) === 0) return <p class="muted">No body.</p>;
  const text = body instanceof Blob ? undefined : textOf(body, response);
  return (
    <>
      <p class="line">
        <a class="button quiet" href={url} download="body">
          Download the body
        </a>
        {text === undefined && <span class="muted">It is not text, or too long to show.</span>}
        {text && text.length > SHOWN && <span class="muted">The beginning of it:</span>}
      </p>
      {text !== undefined && (
        <pre class="body" tabIndex={0} aria-label="Body of the response">
          {text.slice(0, SHOWN)}
        </pre>
      )}
    </>
  );
}

/** The body as text, JSON laid out; nothing if it is no text. */
export function textOf(bytes: Uint8Array, response: Pick<WireResponse, 'headers'>): string | undefined {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
  const type = response.headers.find(([name]) => name.toLowerCase() === 'content-type')?.[1] ?? '';
  if (/json/.test(type) || /^\s*[[{]/.test(text)) {
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  }
  return text;
}
