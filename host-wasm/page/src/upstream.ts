/** A second registry in the tab, which the first one mirrors: its repositories are those below `mirror/`. */
import { Registry } from '../../js/index.js';
import type { MirrorOptions, UpstreamFetch } from '../../js/index.js';
import { MIRRORED } from './wire.js';
import type { UpstreamState } from './wire.js';

/** How many questions are remembered. */
const REMEMBERED = 100;

export class Upstream {
  private readonly watching = new Set<(state: UpstreamState) => void>();
  private state: UpstreamState = { broken: false, asked: [] };

  private constructor(readonly registry: Registry) {}

  /** An empty one, in memory. */
  static async open(): Promise<Upstream> {
    return new Upstream(await Registry.open());
  }

  /** How it is mirrored. Tags such as v1 never move; of others the upstream is asked with every pull. */
  mirror(): MirrorOptions {
    return { prefix: MIRRORED, upstream: this.ask, freshMs: 0, fixed: ['v*'] };
  }

  get now(): UpstreamState {
    return this.state;
  }

  watch(told: (state: UpstreamState) => void): void {
    this.watching.add(told);
  }

  break(broken: boolean): void {
    this.change({ ...this.state, broken });
  }

  async reset(): Promise<void> {
    await this.registry.reset();
    this.change({ broken: false, asked: [] });
  }

  /** Answers the mirror. */
  private readonly ask: UpstreamFetch = async (target, { method, headers }) => {
    const response = this.state.broken
      ? new Response(null, { status: 500 })
      : await this.registry
          .send({ method, target, headers })
          .then((answer) => new Response(method === 'HEAD' ? null : answer.stream(), answer));
    const asked = [...this.state.asked, { request: `${method} ${target}`, status: response.status }];
    this.change({ ...this.state, asked: asked.slice(-REMEMBERED) });
    return response;
  };

  private change(state: UpstreamState): void {
    this.state = state;
    this.watching.forEach((told) => told(state));
  }
}
