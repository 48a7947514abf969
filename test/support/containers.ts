/**
 * What the bounded containers of a hub's workers hold, and that a test has left nothing in them.
 */
import { type RunningHub, until } from './hub.ts';
import { askHub } from './load.ts';

const IDLE_MS = 30_000;
/**
 * Containers that keep entries on purpose, each with a time or a number after which the oldest goes: identified keys
 * and addresses, sessions that may come back, texts and names that are known, figures and facts. The others are empty
 * when nobody is there.
 */
const KEPT =
  /^(admission\.keys|auth\..*|call\.(listed|update-paces)|catalog\..*|control\..*|downstream\.refusal-traces|net\.(names|sockets)|process\.probers|relay\..*|session\.(notes|preferences-bytes|sessions|texts|tombstones)|telemetry\..*)$/;
/** Connections of heartbeats and of this question come and go. */
const OWN_CONNECTIONS = 4;

export type Sizes = Readonly<Record<string, number>>;

/** Entries by `worker/container`. */
export async function sizesOf(hub: RunningHub, workers = 1): Promise<Sizes> {
  const sizes: Record<string, number> = {};
  for (let slot = 1; slot <= workers; slot += 1) {
    const { ceilings } = await askHub(hub, '/api/ceilings', slot);
    for (const { name, size } of ceilings as { name: string; size: number }[]) {
      const key = `${slot}/${name}`;
      sizes[key] = (sizes[key] ?? 0) + size;
    }
  }
  return sizes;
}

/**
 * Containers that hold more than `before` after at most half a minute, with both numbers; empty = everything has been
 * given back.
 */
export async function leftIn(hub: RunningHub, before: Sizes, workers = 1): Promise<string[]> {
  let left: string[] = [];
  const isEmpty = async (): Promise<boolean> => {
    const now = await sizesOf(hub, workers);
    left = Object.entries(now).flatMap(([key, size]) => {
      const name = key.slice(key.indexOf('/') + 1);
      const spare = /connections|kernel\.waits/.test(name) ? OWN_CONNECTIONS : 0;
      const most = (before[key] ?? 0) + spare;
      return KEPT.test(name) || size <= most ? [] : [`${key}: ${size}, before ${before[key] ?? 0}`];
    });
    return left.length === 0;
  };
  await until(isEmpty, IDLE_MS, 'idleness').catch(() => {});
  return left;
}
