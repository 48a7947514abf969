/**
 * Keeps the hosts file and the search list of resolv.conf in memory. The only file of this module that reads them.
 * Guarantees: reads without blocking, at most once in 30 s and only after a change; an unreadable file counts as empty;
 * when a read hangs, it is abandoned at its deadline and the last content stays.
 */
import { readFile, stat } from 'node:fs/promises';
import { isIP } from 'node:net';
import type { Runtime } from '../runtime/runtime.ts';
import type { Address } from './address-class.ts';

const LOOK_EVERY_MS = 30_000;
const READ_MS = 1000;
/** Larger files are ignored. */
const MAX_FILE_BYTES = 1024 * 1024;
const MAX_HOSTS = 10_000;
const MAX_SEARCH = 6;

export interface NameFiles {
  /** Resolves after both files were checked for the first time; ends by itself. */
  ready(): Promise<void>;
  /**
   * Returns the addresses in the hosts file, or undefined when the name is not in it. Starts a check of the files when
   * the last one is old.
   */
  find(name: string): readonly Address[] | undefined;
  /** Returns the names to query, in order, by `search` and `ndots` of resolv.conf. */
  candidates(name: string): readonly string[];
  /** Increases when resolv.conf has changed. */
  readonly generation: number;
}

interface Search {
  readonly domains: readonly string[];
  readonly ndots: number;
}

export interface NameFilePaths {
  readonly hosts: string;
  readonly resolvConf: string;
}

export const SYSTEM_NAME_FILES: NameFilePaths = {
  hosts:
    process.platform === 'win32'
      ? `${process.env.SystemRoot ?? 'C:\\Windows'}\\System32\\drivers\\etc\\hosts`
      : '/etc/hosts',
  resolvConf: '/etc/resolv.conf',
};

export function createNameFiles(runtime: Runtime, paths: NameFilePaths): NameFiles {
  let hosts: ReadonlyMap<string, readonly Address[]> = new Map(); // bounded by: MAX_HOSTS
  let search: Search = { domains: [], ndots: 1 };
  let generation = 0;
  let hostsMark = '';
  let searchMark = '';
  let lookedMs = Number.NEGATIVE_INFINITY;
  let looking: Promise<void> | undefined;

  async function look(): Promise<void> {
    const [hostsFile, searchFile] = await Promise.all([
      readIfChanged(runtime, paths.hosts, hostsMark),
      readIfChanged(runtime, paths.resolvConf, searchMark),
    ]);
    if (hostsFile) {
      hosts = hostsFrom(hostsFile.text);
      hostsMark = hostsFile.mark;
    }
    if (searchFile) {
      search = searchFrom(searchFile.text);
      searchMark = searchFile.mark;
      generation += 1;
    }
    lookedMs = runtime.clock.nowMs();
    looking = undefined;
  }

  function startLook(): Promise<void> {
    looking ??= look();
    return looking;
  }

  return {
    ready: () => (Number.isFinite(lookedMs) ? Promise.resolve() : startLook()),
    find(name) {
      if (looking === undefined && runtime.clock.nowMs() - lookedMs >= LOOK_EVERY_MS)
        runtime.scope.run('name-files', () => startLook());
      return hosts.get(name);
    },
    candidates: (name) => candidatesFor(name, search),
    get generation() {
      return generation;
    },
  };
}

/** Returns undefined when the file is unchanged or could not be read in time. */
async function readIfChanged(
  runtime: Runtime,
  path: string,
  mark: string,
): Promise<{ text: string; mark: string } | undefined> {
  using deadline = runtime.deadline(READ_MS);
  try {
    const facts = await runtime.waits.for(stat(path), { label: 'dns', owner: path, deadline });
    const now = `${facts.mtimeMs} ${facts.size} ${facts.ino}`;
    if (now === mark || facts.size > MAX_FILE_BYTES) return undefined;
    const text = await runtime.waits.for(readFile(path, 'utf8'), { label: 'dns', owner: path, deadline });
    return { text, mark: now };
  } catch {
    return undefined;
  }
}

export function hostsFrom(text: string): ReadonlyMap<string, readonly Address[]> {
  const hosts = new Map<string, Address[]>(); // bounded by: MAX_HOSTS
  for (const line of text.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*/s, '').trim().split(/\s+/);
    const family = isIP(address);
    if (family !== 4 && family !== 6) continue;
    for (const name of names) {
      const key = name.toLowerCase();
      const known = hosts.get(key);
      if (known) known.push({ address, family });
      else if (hosts.size < MAX_HOSTS) hosts.set(key, [{ address, family }]);
    }
  }
  return hosts;
}

export function searchFrom(text: string): Search {
  let domains: readonly string[] = [];
  let ndots = 1;
  for (const line of text.split('\n')) {
    const [word, ...rest] = line
      .replace(/[#;].*/s, '')
      .trim()
      .split(/\s+/);
    if (word === 'search' || word === 'domain') domains = rest.filter((domain) => domain !== '.').slice(0, MAX_SEARCH);
    if (word === 'options') {
      const given = rest.find((option) => /^ndots:\d{1,2}$/.test(option));
      if (given) ndots = Math.min(Number(given.slice('ndots:'.length)), 15);
    }
  }
  return { domains, ndots };
}

export function candidatesFor(name: string, search: Search): readonly string[] {
  const extended = search.domains.map((domain) => `${name}.${domain.replace(/\.$/, '')}`);
  const dots = name.split('.').length - 1;
  return dots >= search.ndots ? [name, ...extended] : [...extended, name];
}
