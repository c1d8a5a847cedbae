import { signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { Answer } from '../parts/answer.js';
import { listed } from '../lists.js';
import { Made } from '../made.js';
import { ask } from '../../../parts/ask.js';
import { ServerBar } from '../parts/server.js';
import { UpstreamBar } from '../parts/upstream.js';
import { registry } from '../remote.js';
import { SERVER, copy, go, isServer, keep, reason, route, send, server, tell } from '../state.js';
import { TOURS } from '../tours/tours.js';
import type { Notes, Tour } from '../tours/steps.js';
import type { WireRequest, WireResponse } from '../wire.js';
import { short } from '../words.js';

/** A step that was done. */
interface Done {
  request: WireRequest;
  answer: WireResponse;
  /** What is wrong with the answer, if anything is. */
  wrong?: string;
}

const tour = signal<Tour | undefined>(undefined);
const done = signal<Done[]>([]);
const busy = signal(false);
/** What the tour has made on the server. */
const made = signal(new Made());
/** Whether the user agreed that it pushes there. */
let agreed = false;
let notes: Notes = {};

function begin(chosen: Tour | undefined): void {
  tour.value = chosen;
  done.value = [];
  made.value = new Made();
  agreed = false;
  notes = {};
}

/** Does the next step: sends its request and checks the answer. */
async function next(): Promise<boolean> {
  const step = tour.value?.steps[done.value.length];
  if (!step) return false;
  busy.value = true;
  try {
    if (isServer.value && !agreed && !(agreed = await mayPush(tour.value!))) return false;
    const request = await step.request(notes);
    const answer = await (step.to ? registry().send(request, step.to) : send(request));
    if (isServer.value) {
      const header = (name: string) =>
        answer.headers.find(([given]) => given.toLowerCase() === name.toLowerCase())?.[1];
      made.value.note({ method: request.method, target: request.target, status: answer.status, header });
    }
    const wrong = await Promise.resolve(step.check(answer, notes)).catch(reason);
    done.value = [...done.value, { request, answer, ...(wrong && { wrong }) }];
    return !wrong;
  } catch (error) {
    tell(`The step could not be done: ${reason(error)}. Start the tour again.`, true);
    return false;
  } finally {
    busy.value = false;
  }
}

/** Asks whether a tour may push to the server, and says where to. */
async function mayPush({ title, repositories }: Tour): Promise<boolean> {
  if (repositories.length === 0) return true;
  const used: string[] = [];
  for (const repository of repositories) {
    const tags = await listed(server.value, `/v2/${repository}/tags/list?n=5`, 'tags').catch(() => undefined);
    if (tags && tags.names.length > 0) used.push(`${repository} (${tags.names.join(', ')})`);
  }
  return ask({
    title: `Run this tour on ${SERVER}?`,
    says: [
      <>
        “{title}” pushes small test images to <strong>{repositories.join(', ')}</strong>.
      </>,
      ...(used.length > 0
        ? [
            <span class="warn">
              There are tags already: {used.join('; ')}. The tour moves those that have the same name.
            </span>,
          ]
        : []),
      'At its end you can delete what it pushed. The names of empty repositories stay in the catalog until garbage collection removes them.',
    ],
    does: 'Push to the server',
  });
}

/** Deletes what the tour has pushed to the server. */
async function cleanUp(): Promise<void> {
  const { repositories } = made.value;
  const names = [...repositories].join(', ');
  const yes = await ask({
    title: 'Delete what this tour pushed?',
    says: [
      <>
        The tags, manifests and blobs that it pushed to <strong>{names}</strong> on <strong>{SERVER}</strong>, also
        where the same content was there before.
      </>,
    ],
    does: 'Delete them',
    danger: true,
  });
  if (!yes) return;
  busy.value = true;
  try {
    const kept = await made.value.clean(async (target) => (await send({ method: 'DELETE', target })).status);
    if (kept.length > 0)
      tell(`The server refused to delete ${kept.map(({ path, status }) => `${path} (${status})`).join(', ')}.`, true);
    else tell(`Deleted. ${names} ${repositories.size === 1 ? 'is' : 'are'} empty now.`);
    if (kept.length === 0) made.value = new Made();
  } catch (error) {
    tell(`Not everything was deleted: ${reason(error)}`, true);
  } finally {
    busy.value = false;
  }
}

export function Scenarios() {
  const asked = route.value.rest[0];
  useEffect(() => {
    if (asked !== tour.value?.id) begin(TOURS.find(({ id }) => id === asked));
  }, [asked]);
  // A tour that began in the tab cannot go on at the server, nor the other way round.
  const place = useRef(isServer.value);
  useEffect(() => {
    if (place.current !== isServer.value) begin(tour.value);
    place.current = isServer.value;
  }, [isServer.value]);
  return (
    <>
      {isServer.value && <ServerBar />}
      {tour.value ? <Guided tour={tour.value} /> : <Choice />}
    </>
  );
}

function Choice() {
  return (
    <section class="starts" aria-label="Tours">
      {TOURS.filter(({ upstream }) => !(upstream && isServer.value)).map(({ id, title, about, steps }) => (
        <article key={id} class="card">
          <h2>{title}</h2>
          <p>{prose(about)}</p>
          <p class="muted">{steps.length} steps</p>
          <a class="button" href={`#/scenarios/${id}`}>
            Start<span class="hidden">: {title}</span>
          </a>
        </article>
      ))}
    </section>
  );
}

function Guided({ tour }: { tour: Tour }) {
  const at = done.value.length;
  // At the server there is no upstream to break.
  const possible = !(tour.upstream && isServer.value);
  const current = possible ? tour.steps[at] : undefined;
  const finished = at === tour.steps.length;
  const failed = done.value.some(({ wrong }) => wrong);
  const stepThrough = async () => {
    if (!current) return;
    keep(await registry().begin(await current.request(notes), current.to));
    go('#/effects');
  };
  return (
    <>
      <p class="line">
        <a href="#/scenarios">All scenarios</a>
        <button type="button" class="quiet" onClick={() => begin(tour)}>
          Start again
        </button>
        <button
          type="button"
          class="quiet"
          onClick={() => void copy(new URL(`#/scenarios/${tour.id}`, location.href).href, 'A link to this scenario is')}
        >
          Copy link
        </button>
      </p>
      <h2>{tour.title}</h2>
      <p>{prose(tour.about)}</p>
      {isServer.value && tour.repositories.length > 0 && (
        <p class="muted">On the server it pushes to {tour.repositories.join(' and ')}. You are asked before it does.</p>
      )}
      {tour.upstream && possible && <UpstreamBar />}
      {!possible && (
        <p class="note">Only the registry in this tab has an upstream. Choose “In this tab” in the head of the page.</p>
      )}
      <div
        class="progress"
        role="progressbar"
        aria-label="Steps done"
        aria-valuemin={0}
        aria-valuemax={tour.steps.length}
        aria-valuenow={at}
      >
        <progress max={tour.steps.length} value={at} aria-hidden="true" />
        <span>
          {at} of {tour.steps.length}
        </span>
      </div>
      <ol class="tour">
        {tour.steps.slice(0, possible ? at + 1 : 0).map((step, i) => {
          const was = done.value[i];
          return (
            <li key={i} class={was ? (was.wrong ? 'wrong' : 'right') : 'now'}>
              <div class="tour-step">
                <div>
                  <h3>
                    {step.title}
                    {was && (
                      <span class={was.wrong ? 'badge bad' : 'badge good'}>
                        {was.wrong ? 'unexpected' : 'as expected'}
                      </span>
                    )}
                  </h3>
                  <p>{prose(step.about)}</p>
                  <p class="muted">Expected: {step.expects}.</p>
                  {was?.wrong && <p class="note bad">Instead, {was.wrong}.</p>}
                  {was && (
                    <details open={i === at - 1}>
                      <summary>
                        <span class="method">{was.request.method}</span>{' '}
                        <span class="path">{short(was.request.target)}</span>
                      </summary>
                      <Answer response={was.answer} />
                    </details>
                  )}
                  {!was && (
                    <div class="actions">
                      <button type="button" class="primary" disabled={busy.value} onClick={() => void next()}>
                        Do this step
                      </button>
                      <button
                        type="button"
                        disabled={busy.value}
                        onClick={async () => {
                          while (await next());
                        }}
                      >
                        Do all steps
                      </button>
                      <button type="button" class="quiet" disabled={isServer.value} onClick={() => void stepThrough()}>
                        See its effects
                      </button>
                    </div>
                  )}
                </div>
                <aside class="specbox" aria-label={`What the specification says about step ${i + 1}`}>
                  <p class="section">{step.spec.section}</p>
                  <p>{prose(step.spec.says)}</p>
                </aside>
              </div>
            </li>
          );
        })}
      </ol>
      {finished && (
        <p class={failed ? 'note bad' : 'note good'} role="status">
          {failed ? 'Some answers were not as the specification says.' : 'Every answer was as the specification says.'}{' '}
          {!isServer.value && (
            <>
              <a href="#/store">See the result in the store</a>.
            </>
          )}
        </p>
      )}
      {isServer.value && made.value.size > 0 && (
        <p class="actions">
          <button type="button" class="danger" disabled={busy.value} onClick={() => void cleanUp()}>
            Delete what this tour pushed
          </button>
        </p>
      )}
    </>
  );
}

/** A text in which what one types stands between backquotes. */
const prose = (text: string) => text.split('`').map((part, at) => (at % 2 === 1 ? <code key={at}>{part}</code> : part));
