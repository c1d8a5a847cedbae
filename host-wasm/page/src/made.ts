/** What requests have made on a registry, so that it can be deleted again. */

/** One exchange, as far as it matters here. */
export interface Exchange {
  method: string;
  target: string;
  status: number;
  header: (name: string) => string | null | undefined;
}

/** Sends a `DELETE` and gives the status of its answer. */
type Delete = (target: string) => Promise<number>;

export class Made {
  /** Paths in the order in which they were made; each can be deleted. */
  private readonly paths = new Set<string>();
  /** Repositories that were written to: their names stay after everything in them has been deleted. */
  readonly repositories = new Set<string>();

  get size(): number {
    return this.paths.size;
  }

  /** What is to be deleted. */
  list(): string[] {
    return [...this.paths];
  }

  /** Takes note of an exchange. */
  note({ method, target, status, header }: Exchange): void {
    if (status < 200 || status > 299) return;
    const url = new URL(target, 'http://registry');
    const path = decodeURIComponent(url.pathname);
    const found = /^\/v2\/(.+)\/(manifests|blobs)\/(.+)$/.exec(path);
    if (!found) return;
    const [, repository, kind, rest] = found as unknown as [string, string, string, string];
    if (method === 'DELETE') {
      this.paths.delete(path);
      return;
    }
    if (!['PUT', 'POST', 'PATCH'].includes(method)) return;
    this.repositories.add(repository);
    if (kind === 'manifests') {
      const digest = header('Docker-Content-Digest');
      if (digest) this.keep(`/v2/${repository}/manifests/${digest}`);
      // The tag later, so that it goes first: it may name a list that the registry made.
      if (rest !== digest) this.keep(path);
      return;
    }
    const location = header('Location');
    if (status === 201) {
      this.paths.delete(path);
      const digest = url.searchParams.get('digest') ?? url.searchParams.get('mount') ?? header('Docker-Content-Digest');
      if (digest) this.keep(`/v2/${repository}/blobs/${digest}`);
    } else if (status === 202 && location) {
      // The name of a session may change with each chunk.
      if (method === 'PATCH') this.paths.delete(path);
      this.keep(decodeURIComponent(new URL(location, `http://registry${path}`).pathname));
    }
  }

  private keep(path: string): void {
    this.paths.delete(path);
    this.paths.add(path);
  }

  /**
   * Deletes it all, the newest first, manifests before the blobs that they need. Gives what could not be deleted, with
   * the status of the answer. What is gone already (404) was deleted by something else. A registry need not delete tags
   * alone: they go with their manifests.
   */
  async clean(send: Delete, told: (left: number) => void = () => {}): Promise<{ path: string; status: number }[]> {
    const newest = [...this.paths].reverse();
    const kept: { path: string; status: number }[] = [];
    const manifests = newest.filter((path) => path.includes('/manifests/'));
    const others = newest.filter((path) => !path.includes('/manifests/'));
    let left = newest.length;
    for (const path of [...manifests, ...others]) {
      told(left--);
      const status = await send(path);
      const tag = /\/manifests\/[^:]+$/.test(path) && (status === 400 || status === 405);
      if ((status >= 200 && status < 300) || status === 404 || tag) this.paths.delete(path);
      else kept.push({ path, status });
    }
    return kept;
  }
}
