/** What two images have together, and what not. */
import type { Layer } from './answers.js';
import { asCommand } from './config.js';
import type { Config } from './config.js';

/** Something that both have, or one of them. */
export interface Difference {
  name: string;
  a?: string;
  b?: string;
}

/** Pairs of names and values, side by side, in the order of names; those that are the same only if `all`. */
export function pairs(a: readonly [string, string][], b: readonly [string, string][], all = false): Difference[] {
  const [first, second] = [new Map(a), new Map(b)];
  const names = [...new Set([...first.keys(), ...second.keys()])].sort();
  return names
    .map((name): Difference => {
      const [x, y] = [first.get(name), second.get(name)];
      return { name, ...(x !== undefined && { a: x }), ...(y !== undefined && { b: y }) };
    })
    .filter(({ a, b }) => all || a !== b);
}

/** A config as pairs, but for the environment and the labels. */
export function settings(config: Config): [string, string][] {
  const platform = [config.os, config.architecture, config.variant].filter(Boolean).join('/');
  const all: [string, string | undefined][] = [
    ['Platform', platform],
    ['Created', config.created],
    ['Author', config.author],
    ['Entrypoint', asCommand(config.entrypoint)],
    ['Command', asCommand(config.cmd)],
    ['User', config.user],
    ['Working directory', config.workdir],
    ['Ports', config.ports.join(', ')],
    ['Volumes', config.volumes.join(', ')],
    ['Stop signal', config.stopSignal],
    ['Health check', config.healthcheck],
  ];
  return all.filter((pair): pair is [string, string] => !!pair[1]);
}

export interface Layers {
  /** How many of the lowest layers are the same: those can be shared. */
  shared: number;
  sharedBytes: number;
  a: Layer[];
  b: Layer[];
  /** The bytes that only one of them has, wherever they stand in it. */
  onlyA: number;
  onlyB: number;
}

/** Two stacks of layers. */
export function layers(a: readonly Layer[], b: readonly Layer[]): Layers {
  const real = (all: readonly Layer[]) => all.filter(({ digest }) => digest !== undefined);
  const [first, second] = [real(a), real(b)];
  let shared = 0;
  while (shared < first.length && first[shared]!.digest === second[shared]?.digest) shared++;
  const bytes = (all: readonly Layer[]) => all.reduce((sum, { size = 0 }) => sum + size, 0);
  const without = (all: Layer[], other: Layer[]) => {
    const known = new Set(other.map(({ digest }) => digest));
    return all.filter(({ digest }) => !known.has(digest));
  };
  return {
    shared,
    sharedBytes: bytes(first.slice(0, shared)),
    a: first.slice(shared),
    b: second.slice(shared),
    onlyA: bytes(without(first, second)),
    onlyB: bytes(without(second, first)),
  };
}
