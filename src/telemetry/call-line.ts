/**
 * Builds the log line of an answered call by hand, because one is written per request and microseconds count.
 * Guarantees: the same fields in the same form as the other lines (`log.ts`); valid JSON for any texts.
 */

import type { HubEvent } from '../model/events.ts';
import type { Clock } from '../runtime/clock.ts';
import { type Level, messageOfCall } from './event-lines.ts';
import { masked, printableJson } from './mask.ts';

type CallAnswered = Extract<HubEvent, { type: 'call-answered' }>;

/** Printable ASCII without quote and backslash needs no escaping; without spaces it contains no `Bearer …`. */
const PLAIN = /^[!#-[\]-~]*$/;
const KEY_START = /mcphub_/i;
const SHORT = 128;

function quoted(text: string): string {
  return text.length <= SHORT && PLAIN.test(text) && !KEY_START.test(text)
    ? `"${text}"`
    : printableJson(JSON.stringify(masked(text)));
}

/** Caches the last quoted text, because consecutive calls often have the same user and tool. */
function quotedAgain(): (text: string) => string {
  let last = '';
  let shown = quoted(last);
  return (text) => {
    if (text !== last) {
      shown = quoted(text);
      last = text;
    }
    return shown;
  };
}

/** Returns the writer of these lines; each contains `base`. */
export function callLine(
  clock: Clock,
  base: Readonly<Record<string, string | number>>,
): (fact: CallAnswered, level: Level) => string {
  const fixed = JSON.stringify(base).slice(1, -1);
  const [method, user, server, tool] = [quotedAgain(), quotedAgain(), quotedAgain(), quotedAgain()] as const;
  let secondMs = Number.NaN;
  let second = '';
  function time(): string {
    const nowMs = Math.floor(clock.wallMs());
    const ms = ((nowMs % 1000) + 1000) % 1000;
    if (nowMs - ms !== secondMs) {
      secondMs = nowMs - ms;
      second = new Date(secondMs).toISOString().slice(0, -4);
    }
    return `${second}${ms < 10 ? '00' : ms < 100 ? '0' : ''}${ms}Z`;
  }
  return (fact, level) => {
    let line = `{"level":"${level}","time":"${time()}",${fixed},"event":"call-answered"`;
    line += `,"req_id":${quoted(fact.requestId)},"method":${method(fact.method)},"user":${user(fact.user)}`;
    if (fact.server !== undefined) line += `,"upstream":${server(fact.server)}`;
    if (fact.tool !== undefined) line += `,"tool":${tool(fact.tool)}`;
    line += `,"duration_ms":${Math.round(fact.ms)},"bytes":${fact.bytes},"outcome":"${fact.outcome}"`;
    if (fact.code !== undefined) line += `,"code":"${fact.code}"`;
    if (fact.reference !== undefined) line += `,"reference":${quoted(fact.reference)}`;
    // The reason may quote text from a server.
    const msg =
      fact.why === undefined ? `"${messageOfCall(fact)}"` : printableJson(JSON.stringify(messageOfCall(fact)));
    return `${line},"msg":${msg}}\n`;
  };
}
