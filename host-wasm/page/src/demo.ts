/** The demonstration of a client from npm, which speaks to this origin by `fetch` as it would to any registry. */
import { RegistryClientV2, parseRepo } from 'oci-registry-client';
import { isServing } from './remote.js';
import { digestOf } from './state.js';
import { manifestOf } from './tours/image.js';

export async function demonstrate(say: (line: string) => void): Promise<void> {
  // Without the service worker the requests would go to a server.
  if (!isServing()) throw new Error('the service worker does not answer for this tab: choose “Answer /v2/ here” again');
  const client = new RegistryClientV2({
    repo: parseRepo(`${location.host}/clients/demo`),
    scheme: location.protocol === 'https:' ? 'https' : 'http',
    acceptOCIManifests: true,
  });
  say(`supportsV2() → ${await client.supportsV2()}`);
  const image = await manifestOf('amd64', 'pushed by a client from npm');
  for (const { digest, text } of [image.config, ...image.layers]) {
    const bytes = new TextEncoder().encode(text);
    await client.blobUpload({ digest, stream: bytes as never, contentLength: bytes.length });
    say(`blobUpload(${digest.slice(0, 15)}…, ${bytes.length} bytes)`);
  }
  const pushed = await client.putManifest({ ref: 'v1', manifestData: image.text as never, mediaType: image.mediaType });
  say(`putManifest('v1') → ${pushed.digest?.slice(0, 15)}…`);
  const tags = await client.listTags();
  say(`listTags() → ${JSON.stringify(tags)}`);
  const { manifest } = await client.getManifest({ ref: 'v1' });
  say(
    `getManifest('v1') → ${JSON.stringify(manifest).length} bytes of JSON, ${(manifest as { layers: unknown[] }).layers.length} layer`,
  );
  const same = (await digestOf(image.text)) === pushed.digest;
  say(same ? 'The digest is that of what was pushed.' : 'The digest is another!');
}
