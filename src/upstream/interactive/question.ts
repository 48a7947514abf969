/**
 * Prepares a server's request (elicitation, sampling, roots) for the user: puts a label with the server's name, which
 * no server can forge, in front of it, and allows only web pages to be opened.
 * Source: specification 2025-11-25, client/elicitation, "Safe URL Handling".
 */
import { type Outcome, Refusal } from '../../model/outcome.ts';
import { jsonBytes } from '../../protocol/json-text.ts';

type Params = Record<string, unknown>;

const META_KEY = 'mcphub/server';
/** URLElicitationRequiredError of 2025-11-25. */
const URL_NEEDED = '-32042';
const MESSAGE_CHARS = 8192;
/** Deeper parts of a requested schema are removed; the specification allows flat schemas only. */
const SCHEMA_DEPTH = 6;
/** Members of a requested schema whose text a client shows. */
const SHOWN: ReadonlySet<string> = new Set(['title', 'description', 'enumNames']);

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\p{Cf}\u2028\u2029]/gu;
const BRACKETS =
  /[[\]\uff3b\uff3d\u3010\u3011\u3014\u3015\u27e6\u27e7\u2045\u2046\u2772\u2773\u3016\u3017\u301a\u301b\ufe5d\ufe5e]/gu;

/**
 * Returns the params that go to the client. Returns a Refusal when the request is not allowed: params that are no
 * object or larger than `maxBytes`, or a URL that is not https (http on loopback) or contains credentials.
 */
export function labelQuestion(
  method: string,
  params: Buffer | undefined,
  { server, name, maxBytes }: { readonly server: string; readonly name: string; readonly maxBytes: number },
): Outcome<Buffer> {
  const refuse = (why: string) =>
    new Refusal('upstream-protocol', `${server} asked with ${method}: ${why}.`, {
      server,
      phase: 'question',
      reason: 'question-refused',
    });
  if (params !== undefined && params.length > maxBytes) return refuse(`more than ${maxBytes} bytes (questionBytes)`);
  const asked = params === undefined ? {} : parsed(params);
  if (asked === undefined) return refuse('its params are not an object');
  const label = labelOf(name);
  const shown: Params = { ...asked, _meta: { ...objectOf(asked._meta), [META_KEY]: cleanText(name) } };
  if (method === 'sampling/createMessage') shown.systemPrompt = labelled(label, asked.systemPrompt);
  if (method !== 'elicitation/create') return bytesOf(shown);
  shown.message = labelled(label, asked.message);
  if (hasOddName(asked.requestedSchema)) return refuse('the name of a field has brackets or invisible characters');
  if (asked.requestedSchema !== undefined) shown.requestedSchema = cleaned(asked.requestedSchema, SCHEMA_DEPTH);
  if (asked.mode !== 'url' && asked.url === undefined) return bytesOf(shown);
  const url = safeUrl(asked.url);
  if (url === undefined) return refuse('the URL is not https (http on loopback only), or holds credentials');
  return bytesOf({ ...shown, url });
}

/**
 * Checks the pages that a server's error asks the user to open (−32042) like those of requests. Returns other errors as
 * they are. Returns a Refusal when one of the URLs is not allowed, or the error is larger than `maxBytes`.
 */
export function labelUrlError(
  json: Buffer,
  about: { readonly server: string; readonly name: string; readonly maxBytes: number },
): Outcome<Buffer> {
  if (!json.includes(URL_NEEDED)) return json;
  const { server, name } = about;
  const detail = { server, phase: 'question', reason: 'url-refused' };
  const error = json.length > about.maxBytes ? undefined : parsed(json);
  if (error === undefined)
    return new Refusal('upstream-protocol', `${server} sent an error that is too large.`, detail);
  if (error.code !== Number(URL_NEEDED)) return json;
  const data = objectOf(error.data) ?? {};
  const pages = (Array.isArray(data.elicitations) ? data.elicitations : []).map((one) => {
    const page = objectOf(one) ?? {};
    return { ...page, message: labelled(labelOf(name), page.message), url: safeUrl(page.url) };
  });
  return pages.some(({ url }) => url === undefined)
    ? new Refusal('upstream-protocol', `${server} requests that the user opens a URL that is not https.`, detail)
    : bytesOf({ ...error, data: { ...data, elicitations: pages } });
}

/** Returns the label of a request: `[mcphub server "github"] `. */
export function labelOf(name: string): string {
  return `[mcphub server ${JSON.stringify(cleanText(name).replaceAll('"', "'").replaceAll('\\', '/').slice(0, 64))}] `;
}

/** Replaces square brackets in a server's text by round ones, so that only the hub's label has them. */
function labelled(label: string, text: unknown): string {
  return (
    label +
    (typeof text === 'string'
      ? cleanText(text)
          .slice(0, MESSAGE_CHARS)
          .replace(/\n{3,}/g, '\n\n')
      : '')
  );
}

/** Removes control, bidi and invisible characters, and replaces square brackets by round ones. */
function cleanText(text: string): string {
  return text
    .replace(CONTROL, '')
    .replace(BRACKETS, (char) =>
      '[\uff3b\u3010\u3014\u27e6\u2045\u2772\u3016\u301a\ufe5d'.includes(char) ? '(' : ')',
    );
}

/**
 * Does the same for the texts that a form shows. Values, which come back as answers, lose only control characters;
 * names of properties stay.
 */
function cleaned(value: unknown, depth: number, isShown = false): unknown {
  if (typeof value === 'string') return isShown ? cleanText(value) : value.replace(CONTROL, '');
  if (typeof value !== 'object' || value === null) return value;
  if (depth === 0) return undefined;
  if (Array.isArray(value)) return value.map((one) => cleaned(one, depth - 1, isShown));
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, cleaned(one, depth - 1, SHOWN.has(key))]));
}

/**
 * Tells whether a form has a field whose name, shown where there is no title, could look like the hub's label or hides
 * text.
 */
function hasOddName(schema: unknown): boolean {
  return Object.keys(objectOf(objectOf(schema)?.properties) ?? {}).some((name) => cleanText(name) !== name);
}

/** Returns the normalized URL; undefined when a user must not open it. */
export function safeUrl(text: unknown): string | undefined {
  if (typeof text !== 'string' || text.length > 4096 || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') return undefined;
  const isLoopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback) ? url.href : undefined;
}

function parsed(params: Buffer): Params | undefined {
  try {
    return objectOf(JSON.parse(params.toString('utf8')));
  } catch {
    return undefined;
  }
}

function objectOf(value: unknown): Params | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Params) : undefined;
}

function bytesOf(value: Params): Buffer {
  return jsonBytes(value);
}
