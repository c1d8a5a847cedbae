/** The config of an image, read leniently: whoever pushed it may have written anything there. */

export interface Config {
  os?: string;
  architecture?: string;
  variant?: string;
  created?: string;
  author?: string;
  user?: string;
  workdir?: string;
  entrypoint: string[];
  cmd: string[];
  env: [name: string, value: string][];
  labels: [name: string, value: string][];
  ports: string[];
  volumes: string[];
  stopSignal?: string;
  healthcheck?: string;
  shell: string[];
}

type Fields = Record<string, unknown>;

const fields = (value: unknown): Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
/** A list of texts. Old images have one text, which a shell reads. */
const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === 'string') : typeof value === 'string' ? [value] : [];

/** Reads the config of an image. */
export function readConfig(given: unknown): Config {
  const whole = fields(given);
  const config = fields(whole['config']);
  const env = texts(config['Env']).map((line): [string, string] => {
    const at = line.indexOf('=');
    return at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)];
  });
  const labels = Object.entries(fields(config['Labels'])).map(([name, value]): [string, string] => [
    name,
    String(value),
  ]);
  const test = texts(fields(config['Healthcheck'])['Test']);
  const some = {
    os: text(whole['os']),
    architecture: text(whole['architecture']),
    variant: text(whole['variant']),
    created: text(whole['created']),
    author: text(whole['author']),
    user: text(config['User']),
    workdir: text(config['WorkingDir']),
    stopSignal: text(config['StopSignal']),
    healthcheck: test[0] === 'NONE' ? 'none' : text(test.slice(1).join(' ')),
  };
  return {
    ...(Object.fromEntries(Object.entries(some).filter(([, value]) => value !== undefined)) as Partial<Config>),
    entrypoint: texts(config['Entrypoint']),
    cmd: texts(config['Cmd']),
    env,
    labels: labels.sort(([a], [b]) => (a < b ? -1 : 1)),
    ports: Object.keys(fields(config['ExposedPorts'])),
    volumes: Object.keys(fields(config['Volumes'])),
    shell: texts(config['Shell']),
  };
}

/** Arguments as a shell would take them. */
export function asCommand(words: readonly string[]): string {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ');
}

/** The command of a step as a Dockerfile has it. */
export function asStep(command: string): string {
  return command
    .replace(/^\/bin\/sh -c #\(nop\)\s+/, '')
    .replace(/^(?:RUN )?(?:\|\d+ (?:\S+=\S* )*)?\/bin\/sh -c /, 'RUN ')
    .replace(/ # buildkit$/, '')
    .trim();
}

/** The fields of a Helm chart that its config has. */
export interface Chart {
  name?: string;
  version?: string;
  appVersion?: string;
  description?: string;
  home?: string;
  type?: string;
  keywords: string[];
  maintainers: string[];
  sources: string[];
  dependencies: string[];
}

export function readChart(given: unknown): Chart {
  const chart = fields(given);
  const named = (value: unknown, more: (one: Fields) => string | undefined) =>
    (Array.isArray(value) ? value.map(fields) : []).flatMap((one) => {
      const name = text(one['name']);
      return name ? [[name, more(one)].filter(Boolean).join(' ')] : [];
    });
  const some = Object.fromEntries(
    ['name', 'version', 'appVersion', 'description', 'home', 'type'].flatMap((name) => {
      const value = chart[name];
      const said = typeof value === 'number' ? String(value) : text(value);
      return said === undefined ? [] : [[name, said]];
    }),
  ) as Partial<Chart>;
  return {
    ...some,
    keywords: texts(chart['keywords']),
    maintainers: named(chart['maintainers'], (one) => text(one['email']) && `<${text(one['email'])}>`),
    sources: texts(chart['sources']),
    dependencies: named(chart['dependencies'], (one) => text(one['version'])),
  };
}
