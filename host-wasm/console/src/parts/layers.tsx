/** The layers of an image, and the steps that made them. */
import { useState } from 'preact/hooks';
import { size } from '../../../parts/size.js';
import type { Image, Layer } from '../answers.js';
import { asStep } from '../config.js';
import { count } from '../words.js';
import { Digest } from './small.js';

/** More than so many are shown when they are asked for. */
const SHOWN = 200;

export function Layers({ image }: { image: Image }) {
  const { layers } = image;
  const [all, put] = useState(false);
  const largest = Math.max(1, ...layers.map(({ size = 0 }) => size));
  const shown = all ? layers : layers.slice(0, SHOWN);
  if (layers.length === 0) return <p class="muted">This image has no layers.</p>;
  let number = 0;
  return (
    <>
      <ol class="layers panel">
        {shown.map((layer, at) => (
          <li key={at} class={layer.digest ? '' : 'no-layer'}>
            <span class="muted at" aria-hidden="true">
              {layer.digest ? ++number : ''}
            </span>
            <Step layer={layer} />
            {layer.digest ? (
              <span class="weight">
                <span class="bytes">{size(layer.size ?? 0)}</span>
                <meter min={0} max={largest} value={layer.size ?? 0} aria-label="Size beside the largest layer" />
              </span>
            ) : (
              <span class="muted small weight">no layer</span>
            )}
            {layer.digest && <Digest digest={layer.digest} />}
          </li>
        ))}
      </ol>
      {layers.length > shown.length && (
        <p class="more">
          <button type="button" onClick={() => put(true)}>
            Show all {count(layers.length)} steps
          </button>
        </p>
      )}
    </>
  );
}

/** The command of a step: one line of it, and all of it when it is opened. */
function Step({ layer }: { layer: Layer }) {
  const text = layer.command ? asStep(layer.command) : '';
  const isLong = text.length > 120 || text.includes('\n');
  if (!text) return <span class="step muted">{layer.mediaType ?? layer.comment ?? ''}</span>;
  if (!isLong) return <code class="step">{text}</code>;
  return (
    <details class="step">
      <summary>
        <code>{text.slice(0, 200).replace(/\s+/g, ' ')}</code>
      </summary>
      <pre>{text}</pre>
    </details>
  );
}
