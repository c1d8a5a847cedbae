#!/usr/bin/env node
// A real OpenID provider (oidc-provider) for the client tests: `identity-provider.mjs PORT KEYS`, which says `listening`
// once it does. KEYS is a file with its private keys, which is made when it is not there. SHIFT in the environment says by
// how many seconds its clock is wrong, CALLBACK to where it sends the browsers of its client `console` back.
import { createServer } from 'node:http';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [port, keys] = process.argv.slice(2);
const shift = Number(process.env.SHIFT ?? 0) * 1000;
const now = Date.now;
Date.now = () => now() + shift;

const here = dirname(fileURLToPath(import.meta.url));
const tools = process.env.ORLOP_TOOLS ?? join(here, '../../target/tools');
const { default: Provider } = await import(join(tools, 'oidc-provider/node_modules/oidc-provider/lib/index.js'));

function made() {
  const kinds = [
    ['rsa', { modulusLength: 2048 }],
    ['ec', { namedCurve: 'P-256' }],
    ['ec', { namedCurve: 'P-384' }],
    ['ed25519', {}],
  ];
  return kinds.map(([kind, options]) => {
    const key = generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' });
    return { ...key, use: 'sig', kid: randomUUID() };
  });
}
if (!existsSync(keys)) writeFileSync(keys, JSON.stringify({ keys: made() }), { mode: 0o600 });

// What the jobs of two repositories are told of, as CI systems do.
const jobs = {
  'job-main': { repository: 'acme/app', repository_owner: 'acme', ref: 'refs/heads/main' },
  'job-branch': { repository: 'acme/app', repository_owner: 'acme', ref: 'refs/heads/feature' },
  'job-evil': { repository: 'evil/app', repository_owner: 'evil', ref: 'refs/heads/main' },
};
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'EdDSA'];
const of_job = ([client_id]) => ({
  client_id,
  client_secret: `${client_id}-secret`,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
});
const callback = process.env.CALLBACK ?? 'http://127.0.0.1/callback';
const console_client = {
  client_id: 'console',
  client_secret: 'console-secret',
  grant_types: ['authorization_code'],
  redirect_uris: [callback],
};

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [...Object.entries(jobs).map(of_job), console_client],
  jwks: JSON.parse(readFileSync(keys, 'utf8')),
  cookies: { keys: ['for a test'] },
  claims: { openid: ['sub'], profile: ['preferred_username', 'groups'] },
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  findAccount: (_, sub) => ({
    accountId: sub,
    claims: () => ({ sub, preferred_username: sub, groups: ['dev', 'staff'] }),
  }),
  extraTokenClaims: (_, token) => jobs[token.clientId],
  features: {
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      // The resource is urn:ALGORITHM:AUDIENCE.
      getResourceServerInfo: (_, resource) => {
        const [, algorithm, audience] = resource.split(':');
        if (!algorithms.includes(algorithm)) throw new Error(`no algorithm ${algorithm}`);
        return {
          scope: 'push',
          audience,
          accessTokenTTL: 600,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: algorithm } },
        };
      },
    },
  },
});
createServer(provider.callback()).listen(Number(port), '127.0.0.1', () => console.log('listening'));
