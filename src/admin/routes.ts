/**
 * Maps method and path to the responses of the admin API, as plain functions. `admin-server.ts` handles HTTP and
 * authorization.
 * Guarantees: each ends by its deadline; expected failures are `Refusal`s; input is validated before use.
 */
import { z } from 'zod';
import { type Limits, limitValues } from '../config/limits.ts';
import type { Control } from '../control/control.ts';
import { findBySlugOrName } from '../control/slugs.ts';
import { HubError } from '../model/errors.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import type { ServerSpec } from '../model/snapshot.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { StoredKey } from '../store/keys.ts';
import type { HubAsker } from './ask-hub.ts';
import type {
  CeilingAnswer,
  CeilingsAnswer,
  Confirmation,
  HubFailure,
  KeyAnswer,
  KeyMade,
  KeyRevoked,
  KeysAnswer,
  LogsAnswer,
  ReloadAnswer,
  RestartAnswer,
  ServersAnswer,
  WaitAnswer,
  WaitsAnswer,
} from './contract.ts';
import { type StatusSources, serversFrom, statusFrom } from './status.ts';

export interface RoutesParts extends StatusSources {
  readonly limits: Limits;
  readonly asker: HubAsker;
}

export interface Asked {
  readonly method: string;
  /** Path without the query. */
  readonly path: string;
  /** Parsed JSON; undefined when there was no body. */
  readonly body: unknown;
  /** Caller's name for the audit. */
  readonly who: string;
}

export interface Answer {
  readonly status: number;
  readonly body: object;
}

const keyRequest = z.strictObject({
  user: z.string(),
  name: z.string(),
  role: z.enum(['owner', 'member']).default('member'),
  groups: z.array(z.string()).max(1000).optional(),
  expiresAtMs: z.number().int().positive().optional(),
});

export class Routes {
  readonly #parts: RoutesParts;
  readonly #keys: (asked: Asked, deadline: Deadline) => Promise<Outcome<Answer>>;

  constructor(parts: RoutesParts) {
    this.#parts = parts;
    this.#keys = createKeyRoutes(parts);
  }

  async answer(asked: Asked, deadline: Deadline): Promise<Outcome<Answer>> {
    const { method, path } = asked;
    if (path === '/api/keys' || path.startsWith('/api/keys/')) return this.#keys(asked, deadline);
    if (path.startsWith('/api/servers/')) return this.#ofServer(asked, deadline);
    if (path === '/api/config/reload') {
      return method === 'POST' ? this.#reload(deadline) : new Refusal('method-not-allowed');
    }
    const reads: Readonly<Record<string, () => object | Promise<object>>> = {
      '/api/status': () => statusFrom(this.#parts),
      '/api/servers': (): ServersAnswer => ({ servers: serversFrom(this.#parts) }),
      '/api/waits': () => this.#waits(deadline),
      '/api/ceilings': () => this.#ceilings(deadline),
    };
    const read = Object.hasOwn(reads, path) ? reads[path] : undefined;
    if (!read) return new Refusal('not-found', 'There is no resource at this path.');
    if (method !== 'GET') return new Refusal('method-not-allowed', 'This path accepts GET only.');
    return { status: 200, body: await read() };
  }

  #allHubs() {
    const { control } = this.#parts;
    return Array.from({ length: control.state.workers }, (_, at) => at + 1);
  }

  async #waits(deadline: Deadline): Promise<WaitsAnswer> {
    const { asker, runtime } = this.#parts;
    const question = { method: 'GET', path: '/api/waits' } as const;
    const { answers, failed } = await asker.ask<{ waits: WaitAnswer[] }>(this.#allHubs(), question, deadline);
    const hubs = answers.map(({ hub, body }) => ({ process: `hub-${hub}`, waits: body.waits }));
    return { processes: [{ process: 'control', waits: runtime.waits.table() }, ...hubs], silent: failed };
  }

  async #ceilings(deadline: Deadline): Promise<CeilingsAnswer> {
    const { asker, runtime } = this.#parts;
    const question = { method: 'GET', path: '/api/ceilings' } as const;
    const { answers, failed } = await asker.ask<{ ceilings: CeilingAnswer[]; limits?: Record<string, number> }>(
      this.#allHubs(),
      question,
      deadline,
    );
    const hubs = answers.map(({ hub, body }) => ({
      process: `hub-${hub}`,
      ceilings: body.ceilings,
      limits: body.limits,
    }));
    const own = { process: 'control', ceilings: runtime.ceilings.table(), limits: limitValues(this.#parts.limits) };
    return { processes: [own, ...hubs], silent: failed };
  }

  async #restart(spec: ServerSpec, deadline: Deadline): Promise<Outcome<Answer>> {
    const { asker } = this.#parts;
    const question = { method: 'POST', path: `/servers/${spec.slug}/restart` } as const;
    const { answers, failed } = await asker.ask(this.#hubsOf(spec), question, deadline);
    if (answers.length === 0) throw nobodyTook(spec, failed);
    const body: RestartAnswer = { server: spec.name, restarting: answers.map(({ hub }) => hub), failed };
    return { status: 202, body };
  }

  async #logs(spec: ServerSpec, deadline: Deadline): Promise<Outcome<Answer>> {
    const { asker } = this.#parts;
    const question = { method: 'GET', path: `/servers/${spec.slug}/logs` } as const;
    const { answers, failed } = await asker.ask<{ lines: string[] }>(this.#hubsOf(spec), question, deadline);
    if (answers.length === 0) throw nobodyTook(spec, failed);
    const hubs = answers.map(({ hub, body }) => ({ hub, lines: body.lines }));
    const body: LogsAnswer = { server: spec.name, hubs, failed };
    return { status: 200, body };
  }

  /** Returns the worker that runs it, or all when each has its own link. */
  #hubsOf({ homeHub }: ServerSpec): readonly number[] {
    return homeHub === 0 ? this.#allHubs() : [homeHub];
  }

  async #ofServer(asked: Asked, deadline: Deadline): Promise<Outcome<Answer>> {
    const { control } = this.#parts;
    const [, , , word = '', verb = ''] = asked.path.split('/');
    const name = decoded(word);
    const spec = name === undefined ? undefined : findBySlugOrName(name, control.state.servers);
    if (!spec) return new Refusal('not-found', 'There is no such server.');
    if (verb === 'restart')
      return asked.method === 'POST' ? this.#restart(spec, deadline) : new Refusal('method-not-allowed');
    if (verb === 'logs') return asked.method === 'GET' ? this.#logs(spec, deadline) : new Refusal('method-not-allowed');
    return new Refusal('not-found');
  }

  async #reload(deadline: Deadline): Promise<Outcome<Answer>> {
    const { control } = this.#parts;
    const reloaded = await control.reload.reloadNow(deadline);
    if (isRefusal(reloaded)) return reloaded;
    const body: ReloadAnswer = { applied: true, ...reloaded, ...(await confirmation(control, 'snapshot')) };
    return { status: 200, body };
  }
}

function createKeyRoutes({ control }: RoutesParts): (asked: Asked, deadline: Deadline) => Promise<Outcome<Answer>> {
  const { keys } = control;

  const answerFrom = (key: StoredKey): KeyAnswer => {
    const nameOf = new Map(control.state.groups.map(({ slug, name }) => [slug, name]));
    const { id, userName: user, name, role, prefix, last4, createdAtMs, expiresAtMs, revokedAtMs, lastUsedAtMs } = key;
    const groups = key.groups?.map((slug) => nameOf.get(slug) ?? slug);
    return { id, user, name, role, prefix, last4, groups, createdAtMs, expiresAtMs, revokedAtMs, lastUsedAtMs };
  };

  async function create({ body, who }: Asked, deadline: Deadline): Promise<Outcome<Answer>> {
    const parsed = keyRequest.safeParse(body);
    if (!parsed.success) return new Refusal('invalid-request', faultsText(parsed.error));
    const { user, name, role, groups, expiresAtMs } = parsed.data;
    const made = await keys.create({ user, name, role, groups, expiresAtMs }, who, deadline);
    if (isRefusal(made)) return made;
    const confirmed = await confirmation(control, 'keys');
    const answer: KeyMade = { key: answerFrom(made.key), secret: made.secret, ...confirmed };
    return { status: 201, body: answer };
  }

  return async (asked, deadline) => {
    const { method, path, who } = asked;
    const [, , , word = '', verb = ''] = path.split('/');
    if (word === '') {
      if (method === 'POST') return create(asked, deadline);
      if (method !== 'GET') return new Refusal('method-not-allowed', 'Keys are listed with GET and created with POST.');
      const body: KeysAnswer = { keys: keys.list().map(answerFrom) };
      return { status: 200, body };
    }
    const id = decoded(word) ?? '';
    if (verb === 'rotate' && method === 'POST') {
      const made = await keys.rotate(id, who, deadline);
      if (isRefusal(made)) return made;
      const confirmed = await confirmation(control, 'keys');
      const body: KeyMade = { key: answerFrom(made.key), secret: made.secret, ...confirmed };
      return { status: 200, body };
    }
    if (verb === '' && method === 'DELETE') {
      const revoked = await keys.revoke(id, who, deadline);
      if (isRefusal(revoked)) return revoked;
      const body: KeyRevoked = { key: answerFrom(revoked), ...(await confirmation(control, 'keys')) };
      return { status: 200, body };
    }
    return new Refusal(verb === '' || verb === 'rotate' ? 'method-not-allowed' : 'not-found');
  };
}

/** Waits until the workers have applied the change, at most `confirmKeysMs`. */
async function confirmation(control: Control, what: 'keys' | 'snapshot'): Promise<Confirmation> {
  const { keysRevision } = control.publisher;
  const unconfirmed = await control.awaitConfirmation(what);
  return { keysRevision, confirmed: unconfirmed.length === 0, unconfirmed };
}

function nobodyTook(spec: ServerSpec, failed: readonly HubFailure[]): HubError {
  const words = failed.map(({ hub, message }) => `worker ${hub}: ${message}`).join('; ');
  return new HubError('server-down', {
    message: `No worker responded for ${spec.name}: ${words}`,
    detail: { operator: { failed } },
  });
}

function faultsText(error: z.ZodError): string {
  return error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`).join('; ');
}

function decoded(word: string): string | undefined {
  try {
    return decodeURIComponent(word);
  } catch {
    return undefined;
  }
}
