/** How an image is run: what its config says. */
import type { Image } from '../answers.js';
import { asCommand, readConfig } from '../config.js';
import { Copy, Facts, Outward, Time } from './small.js';

export function Configuration({ image }: { image: Image }) {
  if (image.config === undefined)
    return <p class="note">The config of this image cannot be shown: it is not here, damaged, or larger than 1 MiB.</p>;
  const config = readConfig(image.config);
  const platform = [config.os, config.architecture, config.variant].filter(Boolean).join('/');
  const command = (words: string[]) => words.length > 0 && <code>{asCommand(words)}</code>;
  const code = (text: string | undefined) => text && <code>{text}</code>;
  const said = image.annotations;
  return (
    <>
      <Facts
        of={[
          ['Platform', platform],
          ['Built', config.created && <Time at={config.created} />],
          ['Author', config.author],
          [
            'Source',
            said['org.opencontainers.image.source'] && <Outward text={said['org.opencontainers.image.source']} />,
          ],
          ['Entrypoint', command(config.entrypoint)],
          ['Command', command(config.cmd)],
          ['User', code(config.user) || 'root'],
          ['Working directory', code(config.workdir)],
          ['Ports', code(config.ports.join('  '))],
          ['Volumes', code(config.volumes.join('  '))],
          ['Stop signal', code(config.stopSignal)],
          ['Health check', code(config.healthcheck)],
          ['Shell', command(config.shell)],
        ]}
      />
      <Named
        title="Environment"
        of={config.env}
        copied={config.env.map(([name, value]) => `${name}=${value}`).join('\n')}
      />
      <Named title="Labels" of={config.labels} />
    </>
  );
}

/** Names and values, in a table. */
function Named({ title, of, copied }: { title: string; of: [string, string][]; copied?: string }) {
  if (of.length === 0) return null;
  return (
    <section class="named">
      <h2>
        {title} <span class="count">{of.length}</span>
        {copied && <Copy text={copied} what={title.toLowerCase()} />}
      </h2>
      <div class="panel">
        <table class="pairs">
          <caption class="hidden">{title}</caption>
          <tbody>
            {of.map(([name, value], at) => (
              <tr key={`${name} ${at}`}>
                <th scope="row">
                  <code>{name}</code>
                </th>
                <td>
                  <code>
                    <Outward text={value} />
                  </code>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
