import init, { initSync } from './pkg/orlop_wasm.js';

/** Where the WebAssembly module comes from: its bytes, compiled or not, or where to fetch it. */
export type ModuleSource = BufferSource | WebAssembly.Module | URL | string;

/** WebAssembly is not to be had here. */
export class EngineUnavailable extends Error {
  override name = 'EngineUnavailable';
}

let loading: Promise<unknown> | undefined;

/** Loads the engine, once. Throws `EngineUnavailable` with what to do. */
export function load(source?: ModuleSource): Promise<unknown> {
  return (loading ??= instantiate(source).catch((error: unknown) => {
    loading = undefined;
    throw error;
  }));
}

async function instantiate(source: ModuleSource | undefined): Promise<void> {
  if (typeof WebAssembly !== 'object') {
    throw new EngineUnavailable('WebAssembly is switched off in this browser; the registry cannot run without it');
  }
  const module = source ?? new URL('./pkg/orlop_wasm_bg.wasm', import.meta.url);
  try {
    if (module instanceof WebAssembly.Module) initSync({ module });
    else if (module instanceof URL || typeof module === 'string')
      await init({ module_or_path: await read(new URL(module)) });
    else await init({ module_or_path: module });
  } catch (error) {
    if (error instanceof EngineUnavailable) throw error;
    throw new EngineUnavailable(`the WebAssembly of the registry could not be started: ${String(error)}`);
  }
}

async function read(url: URL): Promise<ArrayBuffer | Uint8Array<ArrayBuffer>> {
  if (url.protocol === 'file:') {
    const files = 'node:fs/promises';
    const { readFile } = (await import(/* @vite-ignore */ files)) as typeof import('node:fs/promises');
    return readFile(url) as Promise<Uint8Array<ArrayBuffer>>;
  }
  const response = await fetch(url);
  if (!response.ok) throw new EngineUnavailable(`${url.href} answers ${response.status}; is the site complete?`);
  return response.arrayBuffer();
}
