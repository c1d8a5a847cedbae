import type { Coming, Relaying } from './coming.js';
import type { Answer } from './pkg/orlop_wasm.js';
import { RegistryResponse, joined } from './request.js';
import type { Piece } from './request.js';
import type { Storage } from './storage.js';

/** The response that the core has answered: its body is read from where it is, or comes from. */
export function answered(
  storage: Storage,
  answer: Answer,
  coming: Coming | undefined,
  relaying: Relaying | undefined,
): RegistryResponse {
  const { status, fault } = answer;
  const [start, end] = answer.coming ?? [];
  const isRelayed = answer.relayed;
  const pieces = answer.pieces as Piece[];
  const flat = answer.headers;
  answer.free();
  const headers: [string, string][] = [];
  for (let i = 0; i < flat.length; i += 2) headers.push([flat[i]!, flat[i + 1]!]);
  if (start !== undefined)
    return new RegistryResponse(status, headers, () => coming!.read(start, end!), undefined, fault);
  if (isRelayed) return new RegistryResponse(status, headers, () => relaying!.read(), undefined, fault);
  const bytes = pieces.filter((piece) => piece instanceof Uint8Array);
  const objects = pieces.flatMap((piece) => (piece instanceof Uint8Array ? [] : [piece[0]]));
  const inMemory = objects.length > 0 ? undefined : bytes.length === 1 ? bytes[0] : joined(bytes);
  async function* source(): AsyncIterable<Uint8Array> {
    for (const piece of pieces) {
      if (piece instanceof Uint8Array) yield piece;
      else yield* storage.read(...piece);
    }
  }
  return new RegistryResponse(status, headers, source, inMemory, fault, objects);
}
