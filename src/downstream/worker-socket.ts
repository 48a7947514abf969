/**
 * The worker's own unix socket (directory 0700) for the supervisor's heartbeat and probe, other workers, the control
 * process, and the operator's CLI. Whoever can open it is this machine's operator: `/mcp` is served here as on the
 * port, without a key.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import type { Health } from '../health/health.ts';
import { isRefusal, Refusal } from '../model/outcome.ts';
import type { Heartbeat } from '../model/supervisor-messages.ts';
import { CappedCount } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { FailureLog } from '../telemetry/failure-log.ts';
import type { ServerRegistry } from '../upstream/registry.ts';
import type { Endpoint } from './endpoint.ts';
import { writeJson, writeRefusal } from './http-answer.ts';
import { acceptsRead } from './read-only.ts';
import { type Handler, segmentFrom, writeHealth } from './router.ts';

const BEAT_EVERY_MS = 1000;
const BEAT_STREAMS = 8;

export interface WorkerSocketParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly endpoint: Endpoint;
  readonly health: Health;
  readonly registry: ServerRegistry;
  readonly beat: () => Heartbeat;
  readonly failures: FailureLog;
  /** Serves `/peer/<slug>` to other workers. */
  readonly peerEndpoint: Handler;
  /** Serves `/handover` to the replacement of this worker. */
  readonly handover: Handler;
  /** Serves `/holders/<server>/<hash>` to other workers. */
  readonly holders: Handler;
  /** Serves `/names/<kind>/<view>/<name>` to other workers. */
  readonly names: Handler;
}

export class WorkerSocket {
  readonly #parts: WorkerSocketParts;
  readonly #beats: CappedCount;
  readonly #reads: ReadonlyMap<string, (response: ServerResponse) => void>;

  constructor(parts: WorkerSocketParts) {
    const { runtime, health, registry } = parts;
    this.#parts = parts;
    this.#beats = new CappedCount('downstream.beats', BEAT_STREAMS, 'refuse', runtime.ceilings);
    this.#reads = new Map<string, (response: ServerResponse) => void>([
      ['/beat', (response) => this.#streamBeats(response)],
      ['/probe', (response) => writeHealth(response, health.live())],
      ['/livez', (response) => writeHealth(response, health.live())],
      ['/readyz', (response) => writeHealth(response, health.ready())],
      ['/health', (response) => writeHealth(response, health.summary())],
      ['/api/health', writeAs(() => health.detail())],
      ['/api/waits', writeAs(() => ({ waits: health.waits() }))],
      ['/api/ceilings', writeAs(() => ({ ceilings: health.ceilings(), limits: health.limits() }))],
      ['/servers', writeAs(() => ({ servers: registry.statuses() }))],
    ]);
  }

  readonly handle: Handler = (request, response) => {
    try {
      this.#route(request, response);
    } catch (fault) {
      this.#parts.runtime.bus.publish({ type: 'task-faulted', task: 'private request', fault });
      writeRefusal(response, new Refusal('internal'));
    }
  };

  #streamBeats(response: ServerResponse): void {
    const { runtime } = this.#parts;
    if (!this.#beats.take()) return writeRefusal(response, new Refusal('overloaded'));
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    const write = () => {
      // A supervisor that does not read gets the next one when it does.
      if (!response.writableNeedDrain) response.write(`${JSON.stringify(this.#parts.beat())}\n`);
    };
    write();
    const timer = runtime.timers.every(BEAT_EVERY_MS, write);
    response.on('close', () => {
      timer[Symbol.dispose]();
      this.#beats.give();
    });
  }

  #servers(request: IncomingMessage, response: ServerResponse, path: string): void {
    const { registry } = this.#parts;
    const [, , slug = '', verb = ''] = path.split('/');
    if (verb === 'logs')
      return writeJson(
        response,
        200,
        JSON.stringify({ server: slug, lines: [...this.#parts.failures.lines(slug), ...registry.stderrTail(slug)] }),
      );
    if (verb === 'restart' && request.method === 'POST') {
      const outcome = registry.restart(slug);
      if (isRefusal(outcome)) return writeRefusal(response, outcome);
      return writeJson(response, 202, JSON.stringify({ server: slug, restarting: true }));
    }
    writeRefusal(response, new Refusal('not-found'));
  }

  #route(request: IncomingMessage, response: ServerResponse): void {
    const { endpoint } = this.#parts;
    const path = (request.url ?? '/').replace(/\?.*/s, '');
    const read = this.#reads.get(path);
    if (read) return acceptsRead(request, response) ? read(response) : undefined;
    if (path.startsWith('/peer/')) return this.#parts.peerEndpoint(request, response);
    if (path === '/handover' || path.startsWith('/handover/')) return this.#parts.handover(request, response);
    if (path.startsWith('/holders/')) return this.#parts.holders(request, response);
    if (path.startsWith('/names/')) return this.#parts.names(request, response);
    if (path.startsWith('/servers/')) return this.#servers(request, response, path);
    if (path === '/mcp') return endpoint.handle(request, response, { segment: '', local: true });
    const segment = path.startsWith('/mcp/') ? segmentFrom(path) : undefined;
    if (segment !== undefined) return endpoint.handle(request, response, { segment, local: true });
    writeRefusal(response, new Refusal('not-found'));
  }
}

function writeAs(answer: () => object): (response: ServerResponse) => void {
  return (response) => writeJson(response, 200, JSON.stringify(answer()));
}
