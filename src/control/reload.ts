/**
 * Applies a configuration again while everything runs.
 * Promises: a file with any error changes nothing and all its errors are stated; a good one is published whole; reloads asked for while one
 * runs become one more after it; a content that has been seen already is not looked at twice, whatever happened to the file; a file that
 * says the same in other words is not published again.
 * Does not: watch files (`config-watch.ts`).
 */
import type { Config, ConfigProblem, Loaded } from '../config/load.ts';
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { isRefusal, type Outcome, Refusal } from '../kernel/outcome.ts';
import { addSlugs } from '../store/slugs.ts';
import type { Store } from '../store/store.ts';
import { digestOf } from './build-snapshot.ts';
import type { World } from './control-state.ts';
import type { Listings } from './listings.ts';
import type { Publisher } from './publisher.ts';
import { newSlugs } from './slugs.ts';

export interface Reloaded {
  readonly file: string;
  readonly revision: number;
  readonly servers: number;
  /** Names of servers. */
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
}

export interface ConfigState {
  readonly file: string;
  /** Wall clock ms. */
  readonly appliedAtMs: number;
  readonly refused: { readonly atMs: number; readonly errors: readonly string[] } | undefined;
}

export interface Reload {
  readonly state: ConfigState;
  /** Takes the configuration of the start into the world. Throws `store-failed`. */
  first(deadline: Deadline): Promise<void>;
  /** Reads and applies, and has the lists of all servers read again. A refusal `config-invalid` has `errors` in its detail. */
  again(deadline: Deadline): Promise<Outcome<Reloaded>>;
  /** Reads, and applies what it has not seen before. Undefined = nothing new. */
  ifChanged(deadline: Deadline): Promise<Outcome<Reloaded> | undefined>;
}

export function createReload(parts: {
  readonly kernel: Kernel;
  readonly store: Store;
  readonly world: World;
  readonly publisher: Publisher;
  readonly listings: Listings;
  readonly load: (deadline: Deadline) => Promise<Loaded>;
  /** Of the configuration of the start; undefined = not known. */
  readonly digest: string | undefined;
  /** Workers read the lists of their servers again. */
  readonly relist: () => void;
}): Reload {
  const { kernel, store, world, publisher, listings, load, relist } = parts;
  let seen = parts.digest;
  let state: ConfigState = { file: nameOf(world.config), appliedAtMs: kernel.clock.wallMs(), refused: undefined };
  let last: Promise<unknown> = Promise.resolve();

  async function giveSlugs(config: Config, deadline: Deadline): Promise<void> {
    const added = newSlugs(config, world.slugs);
    if (added.length === 0) return;
    await addSlugs(store, added, deadline);
    world.slugs = [...world.slugs, ...added];
  }

  function refuse(file: string, errors: readonly string[]): Refusal {
    state = { ...state, refused: { atMs: kernel.clock.wallMs(), errors } };
    kernel.bus.publish({ type: 'config-refused', file, errors });
    return new Refusal('config-invalid', `The configuration has ${errors.length} errors; the last good one stays.`, {
      operator: { file, errors },
    });
  }

  async function apply({ config, problems, file, digest }: Loaded, deadline: Deadline): Promise<Outcome<Reloaded>> {
    // Without a file there are no servers: right for a first start, a slip of the hand for a reload.
    const isLost = config !== undefined && config.file === undefined && world.config.file !== undefined;
    if (!config || isLost) {
      seen = digest;
      return refuse(file ?? nameOf(world.config), errorLines(problems, isLost));
    }
    await giveSlugs(config, deadline);
    const difference = differenceOf(world.config, config);
    const isOther = isOtherWorld(world.config, config);
    world.config = config;
    if (isOther) {
      listings.nameAll();
      publisher.now();
    }
    seen = digest;
    state = { file: nameOf(config), appliedAtMs: kernel.clock.wallMs(), refused: undefined };
    const revision = publisher.current?.revision ?? 0;
    const servers = config.servers.length;
    kernel.bus.publish({ type: 'config-applied', file: state.file, servers, revision });
    return { file: state.file, revision, servers, ...difference };
  }

  /** After those that were asked for before. */
  function inTurn<T>(work: () => Promise<T>, deadline: Deadline): Promise<T> {
    const turn = last.then(work);
    last = turn.catch(() => {});
    return kernel.waits.for(turn, { label: 'config-read', owner: 'reload', deadline });
  }

  return {
    get state() {
      return state;
    },
    async first(deadline) {
      await giveSlugs(world.config, deadline);
      listings.nameAll();
    },
    again: (deadline) =>
      inTurn(async () => {
        const applied = await apply(await load(deadline), deadline);
        if (!isRefusal(applied)) relist();
        return applied;
      }, deadline),
    ifChanged: (deadline) =>
      inTurn(async () => {
        const loaded = await load(deadline);
        return loaded.digest === seen ? undefined : apply(loaded, deadline);
      }, deadline),
  };
}

function nameOf(config: Config): string {
  return config.file ?? '(no file)';
}

/** One line an error: `file:line:column path: message (expected …)`. No values of secrets are in them. */
function errorLines(problems: readonly ConfigProblem[], includesWarnings = false): string[] {
  return problems
    .filter(({ severity }) => severity === 'error' || includesWarnings)
    .map(({ file, line, column, path, message, expected }) => {
      const place = line > 0 ? `${file}:${line}:${column}` : file;
      const end = expected === undefined ? '' : ` (expected ${expected})`;
      return `${[place, path].filter((part) => part !== '').join(' ')}: ${message}${end}`;
    });
}

/** Hubs would see another world. */
function isOtherWorld(before: Config, after: Config): boolean {
  const visible = ({ servers, groups, limitOverrides, settings }: Config) =>
    digestOf([servers, groups, limitOverrides, settings]);
  return visible(before) !== visible(after);
}

function differenceOf(before: Config, after: Config): Pick<Reloaded, 'added' | 'removed' | 'changed'> {
  const old = new Map(before.servers.map((server) => [server.name, digestOf(server)]));
  const now = new Map(after.servers.map((server) => [server.name, digestOf(server)]));
  return {
    added: [...now.keys()].filter((name) => !old.has(name)),
    removed: [...old.keys()].filter((name) => !now.has(name)),
    changed: [...now].filter(([name, digest]) => old.has(name) && old.get(name) !== digest).map(([name]) => name),
  };
}
