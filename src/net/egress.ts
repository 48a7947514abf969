/**
 * Outgoing HTTP: one pool of kept-alive connections per server, direct or through the proxy of the environment. The
 * link times requests.
 * Guarantees: resolving, connecting and TLS end within `connectMs`; idle sockets are closed before servers close
 * theirs; redirects are followed only to the same path with or without its final slash; HTTP/1.1 only; gzip, deflate,
 * br and zstd responses are decoded; headers ≤ 16 KiB; a pool belongs to one server, so a hanging server takes no
 * socket from another; `close` always ends.
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

/** Returns true for a response whose content coding cannot be decoded: a retry would fail in the same way. */
export function isUndecodable(fault: unknown): boolean {
  return fault instanceof HubError && fault.detail.reason === UNDECODABLE;
}

export interface EgressPool {
  /** Returns the request path for a URL of this origin (absolute when it goes through a plain http proxy). */
  pathOf(url: URL): string;
  /** Address of the newest connection, as `address:port`; undefined or absent when there was none. */
  readonly peer?: string | undefined;
  /** Headers that every request needs (proxy credentials). */
  readonly headers: readonly string[];
  /**
   * Sends a request; never throws. A failure before anything was written is passed to `onResponseError`, possibly
   * before this returns. Requests without a connection wait, at most three times `connections` (then `server-busy`).
   * Nothing is timed here: callers abort.
   */
  dispatch(request: EgressRequest, handler: ResponseHandler): ResponseController;
  /** Connects once and disconnects. Throws the HubError of the attempt. */
  probe(deadline: Deadline): Promise<void>;
  /**
   * Returns whether the target of a pool for http:// accepts TLS. Never rejects; ends by the deadline, and within
   * `connectMs`.
   */
  answersTls?(deadline: Deadline): Promise<boolean>;
  /** Destroys all sockets at once; open requests fail. Never rejects; ends by the deadline. */
  close(deadline: Deadline): Promise<void>;
}

export interface PoolOptions {
  /** Display name of the server. */
  readonly owner: string;
  /** Maximum number of sockets. */
  readonly connections: number;
  readonly addresses: AddressRule;
  /**
   * Called once per path, when a redirect (HTTP `status`) to the same path with or without a final slash is followed
   * from now on.
   */
  readonly moved?: (status: number, hasSlash: boolean) => void;
}

/**
 * Memory for the windows of compressed responses: of all servers together, and of one server with all its pools. Enough
 * for 15 windows of the largest size, or for hundreds of gzip.
 */
const [DECODING_BYTES, DECODING_BYTES_EACH] = [256 * 1024 * 1024, 128 * 1024 * 1024];

export interface Egress {
  /**
   * Returns a pool for the origin of `url` (http or https); opens no socket yet. Throws `config-invalid` for other
   * schemes.
   */
  open(url: URL, options: PoolOptions): EgressPool;
  readonly resolver: Resolver;
  /** Closes every pool. Never rejects; ends by the deadline. */
  close(deadline: Deadline): Promise<void>;
}

export interface EgressOptions {
  readonly runtime: Runtime;
  readonly limits: Limits;
  /**
   * HTTP_PROXY, HTTPS_PROXY, NO_PROXY and MCPHUB_CA_FILE are read once, at start; the CA file also whenever a pool is
   * opened.
   */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Creates the pools. Reads the CA file at once. Throws `config-invalid` for an unusable proxy (`egress-environment.ts`
 * checks both beforehand).
 */
export function createEgress(options: EgressOptions): Egress {
  const { runtime, limits, env } = options;
  const files = createNameFiles(runtime, SYSTEM_NAME_FILES);
  const dnsMs = () => limits.dnsMs;
  const resolver = createResolver({ runtime, dnsMs, dns: createDnsAsker(runtime.timers), files });
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
          runtime,
          owner,
          lookup: resolver.lookup,
          addresses,
          authorities,
          secure,
          proxy,
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
  /** Returns a connector for the same target with TLS. */
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
      runtime,
      owner,
      connections,
      host: url.host,
      connector,
      moved,
      decoding,
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

  /**
   * Returns the new path of a redirect with the same scheme, host and port, and a path that differs in its final slash
   * only. Other redirects are not followed, because the request carries credentials.
   */
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

/** Returns a path without its final slash. */
function bare(path: string): string {
  return path.endsWith('/') ? path.slice(0, -1) : path;
}
