/** The commands that pull something, for the clients that can. */
import type { Kind } from './answers.js';

export const CLIENTS = ['docker', 'podman', 'crane', 'skopeo', 'helm', 'oras'] as const;
export type Client = (typeof CLIENTS)[number];

/** What is pulled, and from where. Names, tags and digests have no sign that a shell reads. */
export interface Pulled {
  /** Host and port of the registry. */
  host: string;
  /** Whether it speaks plain HTTP. */
  plain: boolean;
  repository: string;
  tag?: string;
  /** If there is one, it is pulled by this. */
  digest?: string;
  kind?: Kind;
  /** The platform that is wanted of an index. */
  platform?: string;
}

/** Clients for something of that kind, the most usual first. */
export function clientsFor(kind: Kind | undefined): readonly Client[] {
  switch (kind) {
    case undefined:
    case 'image':
    case 'index':
      return ['docker', 'podman', 'crane', 'skopeo'];
    case 'chart':
      return ['helm', 'oras', 'crane', 'skopeo'];
    default:
      return ['oras', 'crane', 'skopeo'];
  }
}

/** The command by which a client pulls it. */
export function command(client: Client, pulled: Pulled): string {
  const { host, plain, repository, tag, digest } = pulled;
  // Whoever has pushed an index has written its platforms: one that a shell might read as something else is left out.
  const platform = pulled.platform && /^[\w.-]+(\/[\w.-]+){1,2}$/.test(pulled.platform) ? pulled.platform : undefined;
  const name = `${host}/${repository}`;
  const reference = digest ? `${name}@${digest}` : `${name}:${tag ?? 'latest'}`;
  const local = /^(localhost|127\.0\.0\.1|\[::1\])(:|$)/.test(host);
  const of = (flag: string) => (platform ? ` ${flag}` : '');
  const last = repository.split('/').at(-1)!;
  switch (client) {
    case 'docker':
      return `docker pull${of(`--platform ${platform}`)} ${reference}`;
    case 'podman':
      return `podman pull${plain ? ' --tls-verify=false' : ''}${of(`--platform ${platform}`)} ${reference}`;
    case 'crane':
      return `crane pull${plain && !local ? ' --insecure' : ''}${of(`--platform ${platform}`)} ${reference} ${last}.tar`;
    case 'skopeo': {
      const [os, architecture, variant] = platform?.split('/') ?? [];
      const override =
        os && architecture
          ? ` --override-os ${os} --override-arch ${architecture}${variant ? ` --override-variant ${variant}` : ''}`
          : '';
      return `skopeo${override} copy${plain ? ' --src-tls-verify=false' : ''} docker://${reference} oci:${last}:${tag ?? 'pulled'}`;
    }
    case 'helm': {
      // Charts are tagged with their versions, in which tags cannot have the plus sign.
      const version = tag && !digest ? ` --version ${tag.replaceAll('_', '+')}` : '';
      return `helm pull oci://${digest ? reference : name}${version}${plain ? ' --plain-http' : ''}`;
    }
    case 'oras':
      return `oras pull ${reference}${plain && !local ? ' --plain-http' : ''}`;
  }
}
