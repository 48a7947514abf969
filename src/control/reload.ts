/**
 * Applies a changed configuration at run time. `config-watcher.ts` watches the file.
 * Guarantees: a file with any error changes nothing, and all its errors are reported; a valid one is published as a
 * whole; reloads requested while one runs follow it in order; content that has been seen is not applied twice; a file
 * with the same meaning is not published again.
 */
import type { Config, ConfigProblem, Loaded } from '../config/load.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { addSlugs } from '../store/slugs.ts';
import type { Store } from '../store/store.ts';
import { contentDigest } from './build-snapshot.ts';
import type { ControlState } from './control-state.ts';
import type { Listings } from './listings.ts';
import type { Publisher } from './publisher.ts';
import { newSlugs } from './slugs.ts';

export interface Reloaded {
  readonly file: string;
  readonly revision: number;
  readonly servers: number;
  /** Names of added servers. */
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
}

export interface ReloadStatus {
  readonly file: string;
  /** Wall clock ms. */
  readonly appliedAtMs: number;
  readonly refused: { readonly atMs: number; readonly errors: readonly string[] } | undefined;
}

export interface ReloadParts {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly state: ControlState;
  readonly publisher: Publisher;
  readonly listings: Listings;
  readonly load: (deadline: Deadline) => Promise<Loaded>;
  /** Digest of the configuration of the start; undefined = unknown. */
  readonly digest: string | undefined;
  /** Makes workers read the lists of their servers again. */
  readonly relist: () => void;
}

export class Reload {
  readonly #parts: ReloadParts;
  #lastDigest: string | undefined;
  #status: ReloadStatus;
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: ReloadParts) {
    const { state, runtime } = parts;
    this.#parts = parts;
    this.#lastDigest = parts.digest;
    this.#status = {
      file: configName(state.config),
      appliedAtMs: runtime.clock.wallMs(),
      refused: undefined,
    };
  }

  get status(): ReloadStatus {
    return this.#status;
  }

  /** Applies the configuration of the start to the state. Throws `store-failed`. */
  async initialize(deadline: Deadline): Promise<void> {
    const { state, listings } = this.#parts;
    await this.#assignSlugs(state.config, deadline);
    listings.assignNames();
  }

  /**
   * Reads and applies the configuration, and makes workers read all lists again. A `config-invalid` refusal has
   * `errors` in `detail.operator`.
   */
  reloadNow(deadline: Deadline): Promise<Outcome<Reloaded>> {
    const { load, relist } = this.#parts;
    return this.#enqueue(async () => {
      const applied = await this.#apply(await load(deadline), deadline);
      if (!isRefusal(applied)) relist();
      return applied;
    }, deadline);
  }

  /** Reads the configuration and applies it if its content is new; otherwise returns undefined. */
  reloadIfChanged(deadline: Deadline): Promise<Outcome<Reloaded> | undefined> {
    const { load } = this.#parts;
    return this.#enqueue(async () => {
      const loaded = await load(deadline);
      return loaded.digest === this.#lastDigest ? undefined : this.#apply(loaded, deadline);
    }, deadline);
  }

  async #assignSlugs(config: Config, deadline: Deadline): Promise<void> {
    const { state, store } = this.#parts;
    const added = newSlugs(config, state.slugs);
    if (added.length === 0) return;
    await addSlugs(store, added, deadline);
    state.slugs = [...state.slugs, ...added];
  }

  #refuse(file: string, errors: readonly string[]): Refusal {
    const { runtime } = this.#parts;
    this.#status = { ...this.#status, refused: { atMs: runtime.clock.wallMs(), errors } };
    runtime.bus.publish({ type: 'config-refused', file, errors });
    return new Refusal(
      'config-invalid',
      `The configuration has ${errors.length} errors; the previous configuration stays in effect.`,
      {
        operator: { file, errors },
      },
    );
  }

  async #apply({ config, problems, file, digest }: Loaded, deadline: Deadline): Promise<Outcome<Reloaded>> {
    const { state, listings, publisher, runtime } = this.#parts;
    // Without a file there are no servers: correct for a first start, probably a mistake for a reload.
    const isLost = config !== undefined && config.file === undefined && state.config.file !== undefined;
    if (!config || isLost) {
      this.#lastDigest = digest;
      return this.#refuse(file ?? configName(state.config), errorLines(problems, isLost));
    }
    await this.#assignSlugs(config, deadline);
    const difference = serverDifference(state.config, config);
    const isVisible = isVisibleChange(state.config, config);
    state.config = config;
    if (isVisible) {
      listings.assignNames();
      publisher.publishNow();
    }
    this.#lastDigest = digest;
    this.#status = { file: configName(config), appliedAtMs: runtime.clock.wallMs(), refused: undefined };
    const revision = publisher.current?.revision ?? 0;
    const servers = config.servers.length;
    runtime.bus.publish({ type: 'config-applied', file: this.#status.file, servers, revision });
    return { file: this.#status.file, revision, servers, ...difference };
  }

  /** Runs `work` after all work requested before. */
  #enqueue<T>(work: () => Promise<T>, deadline: Deadline): Promise<T> {
    const { runtime } = this.#parts;
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return runtime.waits.for(turn, { label: 'config-read', owner: 'reload', deadline });
  }
}

function configName(config: Config): string {
  return config.file ?? '(no file)';
}

/**
 * Returns one line for each error: `file:line:column path: message (expected …)`. They contain no values of secrets.
 */
function errorLines(problems: readonly ConfigProblem[], includesWarnings = false): string[] {
  return problems
    .filter(({ severity }) => severity === 'error' || includesWarnings)
    .map(({ file, line, column, path, message, expected }) => {
      const place = line > 0 ? `${file}:${line}:${column}` : file;
      const end = expected === undefined ? '' : ` (expected ${expected})`;
      return `${[place, path].filter((part) => part !== '').join(' ')}: ${message}${end}`;
    });
}

/** Returns whether workers would receive a different snapshot. */
function isVisibleChange(before: Config, after: Config): boolean {
  const visible = ({ servers, groups, limitOverrides, settings }: Config) =>
    contentDigest([servers, groups, limitOverrides, settings]);
  return visible(before) !== visible(after);
}

function serverDifference(before: Config, after: Config): Pick<Reloaded, 'added' | 'removed' | 'changed'> {
  const old = new Map(before.servers.map((server) => [server.name, contentDigest(server)]));
  const now = new Map(after.servers.map((server) => [server.name, contentDigest(server)]));
  return {
    added: [...now.keys()].filter((name) => !old.has(name)),
    removed: [...old.keys()].filter((name) => !now.has(name)),
    changed: [...now].filter(([name, digest]) => old.has(name) && old.get(name) !== digest).map(([name]) => name),
  };
}
