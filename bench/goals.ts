/**
 * The goals of performance.md that this bench can judge, with floor (fails) and goal, and how a figure stands against
 * them.
 */
export interface Goal {
  readonly id: string;
  readonly what: string;
  readonly floor: number;
  readonly goal: number;
  readonly better: 'higher' | 'lower';
  readonly unit: string;
}

const goal = (id: string, what: string, floor: number, target: number, better: Goal['better'], unit = '×'): Goal => ({
  id,
  what,
  floor,
  goal: target,
  better,
  unit,
});

export const GOALS: readonly Goal[] = [
  goal('G1a', 'tools/call 200 B, 10 sessions: calls/s ÷ nginx', 0.4, 0.5, 'higher'),
  goal('G1b', 'tools/call 200 B, 70 sessions: calls/s ÷ nginx', 0.4, 0.5, 'higher'),
  goal('G2', 'CPU per call ÷ nginx, 70 sessions', 2.6, 2.1, 'lower'),
  goal('G3', 'added p50, one session, ÷ nginx’s added p50', 1.8, 1.4, 'lower'),
  goal('G4', 'added p50, 70 sessions at 50 req/s, ÷ nginx’s', 2.0, 1.5, 'lower'),
  goal('G5', 'p99, 70 sessions, closed loop, ÷ nginx’s p99', 4, 2.5, 'lower'),
  goal('G6a', '100 kB answers, 10 sessions: calls/s ÷ nginx', 0.3, 0.4, 'higher'),
  goal('G6b', '100 kB answers, 10 sessions: p99', 15, 10, 'lower', 'ms'),
  goal('G7a', 'tools/list of 54 ÷ nginx passing the same bytes', 0.6, 0.8, 'higher'),
  goal('G7b', 'tools/list of 1,000 tools: CPU per list', 1, 0.6, 'lower', 'ms'),
  goal('G8', '5,000 sessions: calls/s ÷ nginx (0 errors)', 0.6, 0.8, 'higher'),
  goal('G10a', 'RSS of the hub process, idle', 100, 80, 'lower', 'MB'),
  goal('G10b', 'memory per idle session', 50, 35, 'lower', 'kB'),
  goal('G10c', 'RSS of the hub process with 1,000 sessions', 160, 120, 'lower', 'MB'),
  goal('G11', 'start → first answered tools/call (a hung server configured)', 1000, 400, 'lower', 'ms'),
  goal('G12a', 'one frozen server: tools/list p50 ÷ healthy', 2, 1.2, 'lower'),
  goal('G12b', 'healthy calls/s with 70 calls pending on it ÷ before', 0.8, 0.95, 'higher'),
  goal('G12c', 'a call to it ends, after its limit', 1000, 250, 'lower', 'ms'),
  goal('G13', '1 → 50 servers, 10 → 1,000 tools: CPU per call', 1.15, 1.05, 'lower'),
  goal('G14', 'stdio server: calls/s ÷ nginx', 0.25, 0.4, 'higher'),
];

export type Verdict = 'goal' | 'floor' | 'GAP' | 'not measured';

export function verdictOf(target: Goal, value: number | undefined): Verdict {
  if (value === undefined || !Number.isFinite(value)) return 'not measured';
  const meets = (limit: number) => (target.better === 'higher' ? value >= limit : value <= limit);
  if (meets(target.goal)) return 'goal';
  return meets(target.floor) ? 'floor' : 'GAP';
}
