/**
 * Counts the sessions of each path by log level, so that the most verbose level is found without iterating over
 * sessions.
 */
import { LOG_LEVELS } from '../protocol/log-level.ts';

export class LevelCounts {
  /** By path: the number of sessions for each level. */
  readonly #paths = new Map<string, number[]>(); // bounded by: paths of sessions, which are views of the configuration

  /** Adds `count` sessions, which may be negative. */
  add(path: string, level: string, count: number): void {
    const counts = this.#paths.get(path) ?? LOG_LEVELS.map(() => 0);
    const at = LOG_LEVELS.indexOf(level);
    counts[at] = (counts[at] ?? 0) + count;
    if (counts.some((sessions) => sessions > 0)) this.#paths.set(path, counts);
    else this.#paths.delete(path);
  }

  /** The most verbose level of the sessions whose path `matches`; undefined = none has set one. */
  mostVerbose(matches: (path: string) => boolean): string | undefined {
    let best = LOG_LEVELS.length;
    for (const [path, counts] of this.#paths) {
      const first = counts.findIndex((sessions) => sessions > 0);
      if (first < best && matches(path)) best = first;
    }
    return LOG_LEVELS[best];
  }
}
