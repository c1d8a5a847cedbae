import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { Answer } from '../parts/answer.js';
import { registry } from '../remote.js';
import { copy, go, isServer, keep, reason, route, send, tell } from '../state.js';
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
let notes: Notes = {};

function begin(chosen: Tour | undefined): void {
  tour.value = chosen;
  done.value = [];
  notes = {};
}

/** Does the next step: sends its request and checks the answer. */
async function next(): Promise<boolean> {
  const step = tour.value?.steps[done.value.length];
  if (!step) return false;
  busy.value = true;
  try {
    const request = await step.request(notes);
    const answer = await send(request);
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

export function Scenarios() {
  const asked = route.value.rest[0];
  useEffect(() => {
    if (asked !== tour.value?.id) begin(TOURS.find(({ id }) => id === asked));
  }, [asked]);
  return tour.value ? <Guided tour={tour.value} /> : <Choice />;
}

function Choice() {
  return (
    <section class="starts" aria-label="Tours">
      {TOURS.map(({ id, title, about, steps }) => (
        <article key={id} class="card">
          <h2>{title}</h2>
          <p>{about}</p>
          <p class="muted">{steps.length} steps</p>
          <a class="button" href={`#/scenarios/${id}`}>
            Begin<span class="hidden">: {title}</span>
          </a>
        </article>
      ))}
    </section>
  );
}

function Guided({ tour }: { tour: Tour }) {
  const at = done.value.length;
  const current = tour.steps[at];
  const finished = at === tour.steps.length;
  const failed = done.value.some(({ wrong }) => wrong);
  const stepThrough = async () => {
    if (!current) return;
    keep(await registry().begin(await current.request(notes)));
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
      <p>{tour.about}</p>
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
        {tour.steps.slice(0, at + 1).map((step, i) => {
          const was = done.value[i];
          return (
            <li key={i} class={was ? (was.wrong ? 'wrong' : 'right') : 'now'}>
              <div class="tour-step">
                <div>
                  <h3>
                    {step.title}
                    {was && (
                      <span class={was.wrong ? 'badge bad' : 'badge good'}>
                        {was.wrong ? 'not as it should be' : 'as it should be'}
                      </span>
                    )}
                  </h3>
                  <p>{step.about}</p>
                  <p class="muted">Expected: {step.expects}.</p>
                  {was?.wrong && <p class="note bad">It is otherwise: {was.wrong}.</p>}
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
                        Do all that follow
                      </button>
                      <button type="button" class="quiet" disabled={isServer.value} onClick={() => void stepThrough()}>
                        See its effects
                      </button>
                    </div>
                  )}
                </div>
                <aside class="specbox" aria-label={`What the specification says about step ${i + 1}`}>
                  <p class="section">{step.spec.section}</p>
                  <p>{step.spec.says}</p>
                </aside>
              </div>
            </li>
          );
        })}
      </ol>
      {finished && (
        <p class={failed ? 'note bad' : 'note good'} role="status">
          {failed ? 'Some answers were not as they should be.' : 'Every answer was as the specification says.'}{' '}
          <a href="#/store">See what it left in the store</a>.
        </p>
      )}
    </>
  );
}
