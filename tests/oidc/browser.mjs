// A person at a browser, for the tests: it follows redirects, keeps cookies, submits the provider's forms as the account that
// a test names, and says what it saw last. What a test wants changed on the way to the provider or back is changed.

const FORM = /<form[^>]*\baction="([^"]+)"[^>]*>([\s\S]*?)<\/form>/;
const INPUT = /<input\b[^>]*>/g;

const attribute = (tag, name) => new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1];
const unescaped = (text) => text.replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');

// The forms in order, each with the fields as a person fills them in.
function filled(page, account) {
  const [, action, inside] = FORM.exec(page) ?? [];
  if (!action) return undefined;
  const fields = new URLSearchParams();
  for (const [tag] of inside.matchAll(INPUT)) {
    const name = attribute(tag, 'name');
    if (name === 'login') fields.set(name, account);
    else if (name) fields.set(name, unescaped(attribute(tag, 'value') ?? ''));
  }
  return { action: unescaped(action), fields };
}

function changed(url, changes = {}) {
  for (const [name, value] of Object.entries(changes)) url.searchParams.set(name, value);
  return url;
}

// `there` are parameters to change on the way to the provider, `back` on the way to the redirect's address.
export async function browse({ url, account, there, back }, provider) {
  const cookies = new Map();
  let next = changed(new URL(url), there);
  let form;
  for (let step = 0; step < 30; step += 1) {
    const atHome = next.origin === provider;
    if (!atHome) changed(next, back);
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await fetch(next, {
      method: form ? 'POST' : 'GET',
      body: form,
      redirect: 'manual',
      headers: atHome ? { cookie } : {},
    });
    for (const line of answer.headers.getSetCookie()) {
      const [name, value] = line.split(';')[0].split('=');
      if (value) cookies.set(name, value); else cookies.delete(name);
    }
    form = undefined;
    const page = await answer.text();
    const location = answer.headers.get('location');
    if (location) {
      next = new URL(location, next);
      continue;
    }
    const found = atHome && answer.ok && filled(page, account);
    if (!found) return { url: next.href, status: answer.status, page };
    next = new URL(found.action, next);
    form = found.fields;
  }
  throw new Error('the provider leads in circles');
}
