// An issuer of tokens for the tests: oidc-provider as it is, with one client for jobs and one for people, who log in with
// any name and are engineers. Under /test/ it does on demand what a test cannot ask a provider for: it signs any claims with
// its keys, changes its keys, and has tokens live for as long as a test says. And it gets the token of a job, as jobs do,
// and logs a person in, as browser.mjs does.
//
//   node provider.mjs PORT

import { createServer } from 'node:http';
import { CompactSign, exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';
import { browse } from './browser.mjs';

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;

let key, stranger, callback;
let lifetime = 300;
// How often each grant was asked for.
const grants = {};

async function newKey(kid, alg = 'RS256') {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { privateKey, publicJwk: await exportJWK(publicKey), jwk: { ...(await exportJWK(privateKey)), kid, alg, use: 'sig' } };
}

// Keys of other kinds, each called as its algorithm.
const others = {};
for (const alg of ['PS256', 'ES256', 'ES384', 'EdDSA']) others[alg] = await newKey(alg, alg);

async function turn(kid) {
  key = await newKey(kid);
  const provider = new Provider(issuer, {
    jwks: { keys: [key, ...Object.values(others)].map((each) => each.jwk) },
    clients: [{
      client_id: 'ci',
      client_secret: 'a-secret-of-the-job',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    }, {
      // People's machines keep no secret (RFC 8252), and have any port.
      client_id: 'sluicegate',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      redirect_uris: ['http://127.0.0.1/callback'],
      response_types: ['code'],
    }],
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, groups: ['engineering'] }),
    }),
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['groups'] },
    conformIdTokenClaims: false,
    ttl: { IdToken: () => lifetime },
    cookies: { keys: ['of this process alone'] },
    features: {
      devInteractions: { enabled: true },
      deviceFlow: { enabled: true },
      revocation: { enabled: true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          scope: 'use',
          audience: 'sluicegate',
          accessTokenTTL: 300,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    extraTokenClaims: () => ({ repository: 'acme/shop', groups: ['jobs'] }),
  });
  provider.on('grant.success', (ctx) => {
    const kind = ctx.oidc.params.grant_type;
    grants[kind] = (grants[kind] ?? 0) + 1;
  });
  callback = provider.callback();
}

async function sign({ header, claims, by }) {
  const signer = by === 'stranger' ? stranger : key;
  const other = others[header.alg];
  const protectedHeader = { alg: 'RS256', kid: (other ?? key).jwk.kid, typ: 'JWT', ...header };
  const payload = Buffer.from(JSON.stringify(claims));
  const part = (value) => Buffer.from(value).toString('base64url');
  switch (protectedHeader.alg) {
    case 'none':
      return `${part(JSON.stringify(protectedHeader))}.${part(payload)}.`;
    case 'HS256':
      // The public key, which everybody has, taken for a shared secret.
      return new CompactSign(payload).setProtectedHeader(protectedHeader).sign(Buffer.from(JSON.stringify(signer.publicJwk)));
    default:
      return new CompactSign(payload).setProtectedHeader(protectedHeader).sign((other ?? signer).privateKey);
  }
}

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString() || '{}');
}

stranger = await newKey('stranger');
await turn('first');
// What a job does: it asks the provider for an access token, by its own credentials.
async function jobToken() {
  const form = new URLSearchParams({ grant_type: 'client_credentials', resource: 'urn:sluicegate', scope: 'use' });
  const credentials = Buffer.from('ci:a-secret-of-the-job').toString('base64');
  const answer = await fetch(`${issuer}/token`, { method: 'POST', headers: { authorization: `Basic ${credentials}` }, body: form });
  return (await answer.json()).access_token;
}

createServer(async (request, response) => {
  if (request.url === '/test/sign') {
    response.end(await sign(await body(request)));
  } else if (request.url === '/test/job') {
    response.end(await jobToken());
  } else if (request.url === '/test/browse') {
    response.end(JSON.stringify(await browse(await body(request), issuer)));
  } else if (request.url === '/test/lifetime') {
    lifetime = (await body(request)).seconds;
    response.end();
  } else if (request.url === '/test/grants') {
    response.end(JSON.stringify(grants));
  } else if (request.url === '/test/rotate') {
    await turn((await body(request)).kid);
    response.end();
  } else {
    callback(request, response);
  }
}).listen(port, '127.0.0.1', () => console.log('ready'));
