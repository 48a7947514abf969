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

export interface Reload {
  readonly status: ReloadStatus;
  /** Applies the configuration of the start to the state. Throws `store-failed`. */
  initialize(deadline: Deadline): Promise<void>;
  /**
   * Reads and applies the configuration, and makes workers read all lists again. A `config-invalid` refusal has
   * `errors` in `detail.operator`.
   */
  reloadNow(deadline: Deadline): Promise<Outcome<Reloaded>>;
  /** Reads the configuration and applies it if its content is new; otherwise returns undefined. */
  reloadIfChanged(deadline: Deadline): Promise<Outcome<Reloaded> | undefined>;
}

export function createReload(parts: {
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
}): Reload {
  const { runtime, store, state, publisher, listings, load, relist } = parts;
  let lastDigest = parts.digest;
  let status: ReloadStatus = {
    file: configName(state.config),
    appliedAtMs: runtime.clock.wallMs(),
    refused: undefined,
  };
  let last: Promise<unknown> = Promise.resolve();

  async function assignSlugs(config: Config, deadline: Deadline): Promise<void> {
    const added = newSlugs(config, state.slugs);
    if (added.length === 0) return;
    await addSlugs(store, added, deadline);
    state.slugs = [...state.slugs, ...added];
  }

  function refuse(file: string, errors: readonly string[]): Refusal {
    status = { ...status, refused: { atMs: runtime.clock.wallMs(), errors } };
    runtime.bus.publish({ type: 'config-refused', file, errors });
    return new Refusal(
      'config-invalid',
      `The configuration has ${errors.length} errors; the previous configuration stays in effect.`,
      {
        operator: { file, errors },
      },
    );
  }

  async function apply({ config, problems, file, digest }: Loaded, deadline: Deadline): Promise<Outcome<Reloaded>> {
    // Without a file there are no servers: correct for a first start, probably a mistake for a reload.
    const isLost = config !== undefined && config.file === undefined && state.config.file !== undefined;
    if (!config || isLost) {
      lastDigest = digest;
      return refuse(file ?? configName(state.config), errorLines(problems, isLost));
    }
    await assignSlugs(config, deadline);
    const difference = serverDifference(state.config, config);
    const isVisible = isVisibleChange(state.config, config);
    state.config = config;
    if (isVisible) {
      listings.assignNames();
      publisher.publishNow();
    }
    lastDigest = digest;
    status = { file: configName(config), appliedAtMs: runtime.clock.wallMs(), refused: undefined };
    const revision = publisher.current?.revision ?? 0;
    const servers = config.servers.length;
    runtime.bus.publish({ type: 'config-applied', file: status.file, servers, revision });
    return { file: status.file, revision, servers, ...difference };
  }

  /** Runs `work` after all work requested before. */
  function enqueue<T>(work: () => Promise<T>, deadline: Deadline): Promise<T> {
    const turn = last.then(work);
    last = turn.catch(() => {});
    return runtime.waits.for(turn, { label: 'config-read', owner: 'reload', deadline });
  }

  return {
    get status() {
      return status;
    },
    async initialize(deadline) {
      await assignSlugs(state.config, deadline);
      listings.assignNames();
    },
    reloadNow: (deadline) =>
      enqueue(async () => {
        const applied = await apply(await load(deadline), deadline);
        if (!isRefusal(applied)) relist();
        return applied;
      }, deadline),
    reloadIfChanged: (deadline) =>
      enqueue(async () => {
        const loaded = await load(deadline);
        return loaded.digest === lastDigest ? undefined : apply(loaded, deadline);
      }, deadline),
  };
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
