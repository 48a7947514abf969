/**
 * The way out: one pool of kept-alive connections per server, direct or through the proxy that the environment names.
 * Promises: own look-up, connect and TLS bounded by `connectMs`; idle sockets are put away before servers close theirs; no redirects
 * but to the same path with or without its final slash; no HTTP/2; answers come without content coding, or with one of gzip, deflate, br and zstd undone; headers ≤ 16 KiB; a pool belongs to one server, so that a hung server takes no socket from another; `close` always ends.
 * Does not: time requests (the link's silence watch does) or know what they carry.
 */
import type { Limits } from '../config/limits.ts';
import { HubError } from '../model/errors.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { FairCount } from '../runtime/shares.ts';
import { createDnsAsker } from './_ask-dns.ts';
import { Connector } from './_connector.ts';
import { type DecodingMemory, UNDECODABLE } from './_content-decoder.ts';
import { CookieJar } from './_cookies.ts';
import { HttpPool } from './_http-pool.ts';
import type { EgressRequest, ResponseController, ResponseHandler, ResponseHeaders } from './_http-types.ts';
import { createNameFiles, SYSTEM_NAME_FILES } from './_name-files.ts';
import { bareHost, type HttpProxy, portOf, proxyRuleFrom } from './_proxy.ts';
import type { AddressRule } from './address-class.ts';
import { Authorities } from './authorities.ts';
import { isTlsSpoken } from './errors.ts';
import { createResolver, type Resolver } from './resolver.ts';

export type { EgressRequest, ResponseController, ResponseHandler, ResponseHeaders };

/** True for an answer whose content coding cannot be undone: reading on would meet the same. */
export function isUndecodable(fault: unknown): boolean {
  return fault instanceof HubError && fault.detail.reason === UNDECODABLE;
}

export interface EgressPool {
  /** Request path of a URL of this origin, in the form that the way out wants (absolute through a plain http proxy). */
  pathOf(url: URL): string;
  /** Address of the newest connection, as `address:port`; undefined or absent = none was made. */
  readonly peer?: string | undefined;
  /** Headers that the way out wants on every request (proxy credentials). */
  readonly headers: readonly string[];
  /**
   * Sends a request; never throws. A fault before anything was written comes to `onResponseError` and may come before this returns.
   * Requests without a connection wait, three times `connections` at most (then `server-busy`). Nothing is timed here: callers abort.
   */
  dispatch(request: EgressRequest, handler: ResponseHandler): ResponseController;
  /** Connects once and hangs up. Throws the HubError of the attempt. */
  probe(deadline: Deadline): Promise<void>;
  /** Whether TLS is spoken where a pool for http:// connects to. Never rejects; ends by the deadline, and within `connectMs`. */
  answersTls?(deadline: Deadline): Promise<boolean>;
  /** Destroys all sockets at once; open requests fail. Never rejects; ends by the deadline. */
  close(deadline: Deadline): Promise<void>;
}

export interface PoolOptions {
  /** Name of the server, for people. */
  readonly owner: string;
  /** Most sockets at once. */
  readonly connections: number;
  readonly addresses: AddressRule;
  /** A redirect (HTTP `status`) to the same path with a final slash, or without it, is followed from now on; called once for each path. */
  readonly moved?: (status: number, hasSlash: boolean) => void;
}

/** For the windows of compressed answers, over all servers, and of one server with all its pools: 15 of the largest at once, or hundreds of gzip. */
const [DECODING_BYTES, DECODING_BYTES_EACH] = [256 * 1024 * 1024, 128 * 1024 * 1024];

export interface Egress {
  /** A pool for the origin of `url` (http or https); opens no socket yet. Throws `config-invalid` for other schemes. */
  open(url: URL, options: PoolOptions): EgressPool;
  readonly resolver: Resolver;
  /** Closes every pool. Never rejects; ends by the deadline. */
  close(deadline: Deadline): Promise<void>;
}

export interface EgressOptions {
  readonly runtime: Runtime;
  readonly limits: Limits;
  /** Reads HTTP_PROXY, HTTPS_PROXY, NO_PROXY and MCPHUB_CA_FILE once, at boot; the file again whenever a pool is opened. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** For boot: reads the CA file at once. Throws `config-invalid` for a proxy that cannot be used (`egress-environment.ts` checks both before). */
export function createEgress(options: EgressOptions): Egress {
  const { runtime, limits, env } = options;
  const files = createNameFiles(runtime, SYSTEM_NAME_FILES);
  const resolver = createResolver({ runtime, dnsMs: limits.dnsMs, dns: createDnsAsker(runtime.timers), files });
  const proxyFor = proxyRuleFrom(env);
  const authorities = new Authorities(runtime, env.MCPHUB_CA_FILE);
  const decoding = new FairCount('net.decoding', DECODING_BYTES, DECODING_BYTES_EACH, 'refuse', runtime.ceilings);
  const pools = new Set<EgressPool>(); // bounded by: limits.servers and their links; each leaves when it is closed
  return {
    resolver,
    open(url, { owner, connections, addresses, moved = () => {} }) {
      if (url.protocol !== 'http:' && url.protocol !== 'https:')
        throw new HubError('config-invalid', {
          message: 'The address of a server must be an http or https URL.',
          detail: { server: owner },
        });
      const proxy = proxyFor(url);
      if (url.protocol === 'https:' || proxy?.secure) authorities.refresh();
      const connectorFor = (secure: boolean): Connector =>
        new Connector({
          ...{ runtime, owner, lookup: resolver.lookup, addresses, authorities, secure, proxy },
          connectMs: limits.connectMs,
          host: bareHost(url),
          port: portOf(url),
        });
      const pool = new ServerPool({
        runtime,
        owner,
        connections,
        url,
        proxy,
        connector: connectorFor(url.protocol === 'https:'),
        tlsConnector: () => connectorFor(true),
        moved,
        decoding: {
          take: (bytes) => decoding.take(owner, bytes) === 'taken',
          give: (bytes) => decoding.give(owner, bytes),
        },
        closed: (one) => pools.delete(one),
      });
      pools.add(pool);
      return pool;
    },
    async close(deadline) {
      authorities.close();
      await Promise.all([...pools].map((pool) => pool.close(deadline)));
    },
  };
}

interface ServerPoolOptions {
  readonly runtime: Runtime;
  readonly owner: string;
  readonly connections: number;
  readonly url: URL;
  readonly proxy: HttpProxy | undefined;
  readonly connector: Connector;
  /** Connects to the same place by TLS. */
  readonly tlsConnector: () => Connector;
  readonly moved: (status: number, hasSlash: boolean) => void;
  readonly decoding: DecodingMemory;
  readonly closed: (pool: EgressPool) => void;
}

class ServerPool implements EgressPool {
  readonly headers: readonly string[];
  readonly #options: ServerPoolOptions;
  readonly #pool: HttpPool;
  readonly #absolutePaths: boolean;

  constructor(options: ServerPoolOptions) {
    this.#options = options;
    const { runtime, owner, url, proxy, connector, connections, moved, decoding } = options;
    this.#absolutePaths = proxy !== undefined && url.protocol === 'http:';
    this.headers =
      this.#absolutePaths && proxy?.authorization !== undefined ? ['proxy-authorization', proxy.authorization] : [];
    this.#pool = new HttpPool({
      ...{ runtime, owner, connections, host: url.host, connector, moved, decoding },
      cookies: new CookieJar(url, runtime.clock),
      movedPath: (path, location) => this.#movedPath(path, location),
    });
  }

  get peer(): string | undefined {
    return this.#options.connector.peer;
  }

  pathOf(url: URL): string {
    const path = `${url.pathname}${url.search}`;
    return this.#absolutePaths ? `${url.origin}${path}` : path;
  }

  /** Same scheme, host and port, and a path that differs by its final slash only: the request carries credentials. */
  #movedPath(path: string, location: string): string | undefined {
    const { url } = this.#options;
    const from = URL.parse(path, url.href);
    const to = from && URL.parse(location, from.href);
    if (!from || !to || to.origin !== url.origin || to.search !== from.search) return undefined;
    if (to.username !== '' || to.password !== '' || to.pathname === from.pathname) return undefined;
    return bare(to.pathname) === bare(from.pathname) ? this.pathOf(to) : undefined;
  }

  dispatch(request: EgressRequest, handler: ResponseHandler): ResponseController {
    return this.#pool.dispatch(request, handler);
  }

  async probe(deadline: Deadline): Promise<void> {
    const { runtime, owner, connector } = this.#options;
    const attempt = new Promise<void>((resolve, reject) => {
      connector.connect(undefined, undefined, (fault, socket) => {
        socket?.destroy();
        if (fault) reject(fault);
        else resolve();
      });
    });
    await runtime.waits.for(attempt, { label: 'upstream-connect', owner, deadline });
  }

  async answersTls(deadline: Deadline): Promise<boolean> {
    const { runtime, owner, url, tlsConnector } = this.#options;
    if (url.protocol === 'https:') return true;
    const connector = tlsConnector();
    const answer = new Promise<boolean>((resolve) => {
      connector.connect(undefined, undefined, (fault, socket) => {
        socket?.destroy();
        resolve(fault === null || isTlsSpoken(fault));
      });
    });
    try {
      return await runtime.waits.for(answer, { label: 'upstream-connect', owner, deadline });
    } catch {
      return false;
    } finally {
      connector.close();
    }
  }

  async close(): Promise<void> {
    this.#options.closed(this);
    this.#pool.close();
  }
}

/** A path without its final slash. */
function bare(path: string): string {
  return path.endsWith('/') ? path.slice(0, -1) : path;
}
