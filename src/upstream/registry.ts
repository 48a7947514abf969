/**
 * All servers of a worker and their links; `apply` brings them in line with the configuration.
 * Guarantees: a server whose digest is unchanged keeps its connection, process and calls; a changed one is replaced, a
 * removed one drained and stopped; servers start in parallel, at most `starting` children at a time; a failing server
 * does not affect others; `stop` ends everything by its deadline.
 */

import { type Outcome, Refusal } from '../model/outcome.ts';
import type { RawListing, ServerSpec } from '../model/snapshot.ts';
import type { CallBudget } from '../runtime/call-budget.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { UpstreamCall, UpstreamReply } from './call.ts';
import { isCall } from './connection/correlator.ts';
import { statusOf } from './link-status.ts';
import type { ServerRegistry, ServerRegistryParts } from './registry-types.ts';
import { type Member, ServerMembers } from './server-members.ts';
import { ServerPlacement } from './server-placement.ts';
import type { SessionOf } from './single-session/session-holders.ts';
import { startBudget } from './start-budget.ts';
import type { ServerStatus } from './status.ts';

export type { ServerRegistry, ServerRegistryParts };

export function createServerRegistry(parts: ServerRegistryParts): ServerRegistry {
  return new Registry(parts);
}

class Registry implements ServerRegistry {
  readonly name = 'fleet';
  readonly #parts: ServerRegistryParts;
  readonly #placement: ServerPlacement;
  readonly #members: ServerMembers;
  #disabled: readonly ServerSpec[] = []; // bounded by: the configuration's servers
  /** Servers whose session other workers have asked for: they allow one. */
  readonly #sharedSessions = new Set<string>(); // bounded by: servers

  constructor(parts: ServerRegistryParts) {
    this.#parts = parts;
    this.#placement = new ServerPlacement(parts);
    this.#members = new ServerMembers(parts, this.#placement);
  }

  async start(): Promise<void> {}

  stop(deadline: Deadline): Promise<void> {
    return this.#members.stop(deadline);
  }

  apply(servers: readonly ServerSpec[]): void {
    if (this.#members.isStopped) return;
    this.#disabled = servers.filter((spec) => !spec.enabled);
    // bounded by: servers
    const wanted = new Map(servers.filter((spec) => spec.enabled).map((spec) => [spec.slug, spec]));
    for (const { spec } of this.#members.all) if (!wanted.has(spec.slug)) void this.#remove(spec.slug);
    for (const spec of wanted.values()) {
      const member = this.#members.get(spec.slug);
      if (member && isSame(member.spec, spec)) {
        this.#members.update(member, spec);
        continue;
      }
      if (member) void this.#remove(spec.slug);
      this.#members.add(spec);
    }
  }

  async move(slug: string): Promise<void> {
    const spec = this.#members.get(slug)?.spec;
    const gone = this.#remove(slug);
    // Its process served a moment ago: calls wait for the next one rather than fail.
    if (spec) this.#members.add(spec, spec.startMs ?? this.#parts.limits.startMs);
    await gone;
  }

  restart(slug: string): Refusal | undefined {
    const member = this.#members.get(slug);
    if (!member) return this.#missing(slug);
    member.link.restart();
    return undefined;
  }

  call(slug: string, call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    const member = this.#members.get(slug);
    if (!member) return this.#missing(slug);
    return member.sessionConnections && call.sessionConnection
      ? member.sessionConnections.call(call, call.sessionConnection())
      : member.pipeline.call(call);
  }

  whenReady(slug: string, deadline: Deadline, owner: string): Outcome<undefined> | Promise<Outcome<undefined>> {
    const member = this.#members.get(slug);
    return member ? member.link.whenReady(deadline, owner) : this.#missing(slug);
  }

  startBudget(slug: string, tool: string | undefined): CallBudget {
    return startBudget(this.#members.get(slug)?.spec, tool, this.#parts);
  }

  statuses(): ServerStatus[] {
    return [...this.#members.all, ...this.#disabled.map((spec) => ({ spec }))].map((one) => statusOf(one, this.#parts));
  }

  status(slug: string): ServerStatus | undefined {
    const disabled = this.#disabled.find((spec) => spec.slug === slug);
    const member = this.#members.get(slug) ?? (disabled && { spec: disabled });
    return member && statusOf(member, this.#parts);
  }

  logLevelChanged(slug: string, connectionId: string | undefined): void {
    const member = this.#members.get(slug);
    if (connectionId === undefined) member?.link.clientSide?.logLevelChanged();
    else member?.sessionConnections?.logLevelChanged(connectionId);
  }

  subscribed(slug: string, uri: string, isWanted: boolean): void {
    this.#members.get(slug)?.link.clientSide?.subscribed(uri, isWanted);
  }

  subscriptionsAdded(slug: string, uris: readonly string[]): void {
    this.#members.get(slug)?.link.clientSide?.subscriptionsAdded(uris);
  }

  preferencesChanged(slug: string): void {
    this.#members.get(slug)?.link.clientSide?.preferencesChanged();
  }

  rootsChanged(id: string): void {
    for (const { sessionConnections } of this.#members.all) sessionConnections?.rootsChanged(id);
  }

  sessionEnded(id: string): void {
    for (const { sessionConnections } of this.#members.all) sessionConnections?.end(id);
  }

  relist(): void {
    for (const { link } of this.#members.all) link.listChanged();
  }

  onListed(listener: (raw: RawListing) => void): void {
    this.#members.onListed(listener);
  }

  rawListing(slug: string): RawListing | undefined {
    return this.#members.get(slug)?.link.rawListing;
  }

  stderrTail(slug: string): readonly string[] {
    return this.#members.get(slug)?.link.stderrTail ?? [];
  }

  heldElsewhere(): string[] {
    return this.#members.all.filter((member) => this.#isElsewhere(member)).map(({ spec }) => spec.slug);
  }

  runningHere(): Record<string, number> {
    const here = this.#members.all.filter((member) => this.#isHere(member));
    return Object.fromEntries(
      here.map(({ spec, pipeline }) => [spec.slug, pipeline.queue.inside + pipeline.queue.waiting]),
    );
  }

  hasCallsFrom(slug: string, sinceMs: number): boolean {
    const { correlator } = this.#members.get(slug)?.link.shown ?? {};
    return correlator?.newest((call) => isCall(call) && call.sentMs < sinceMs) !== undefined;
  }

  holdsSession({ slug, hash }: SessionOf): boolean {
    const member = this.#members.get(slug);
    const isHeld = member?.spec.hash === hash && member.link.holdsSession;
    if (isHeld) this.#sharedSessions.add(slug);
    return isHeld;
  }

  #remove(slug: string): Promise<void> | undefined {
    if (this.#members.get(slug)) this.#sharedSessions.delete(slug);
    return this.#members.remove(slug);
  }

  /** Tells whether its process, or its only session, is in another worker. */
  #isElsewhere({ spec, link }: Member): boolean {
    if (this.#placement.isAtHome(spec)) return this.#placement.kindOf(spec) === 'forward';
    const peer = link.shown?.peer;
    return peer !== undefined && peer === this.#parts.handover?.predecessor;
  }

  /** Tells whether this worker has its process, or the session that other workers have asked for. */
  #isHere({ spec, link }: Member): boolean {
    if (this.#placement.isAtHome(spec)) return this.#placement.kindOf(spec) === 'local';
    return this.#sharedSessions.has(spec.slug) && link.holdsSession;
  }

  #missing(slug: string): Refusal {
    if (this.#disabled.some((spec) => spec.slug === slug))
      return new Refusal('server-disabled', undefined, { server: slug, outcome: 'not-executed' });
    return new Refusal('server-down', `There is no server ${slug} in this hub.`, {
      server: slug,
      outcome: 'not-executed',
    });
  }
}

/** Tells whether nothing has changed that a connection depends on. */
function isSame(a: ServerSpec, b: ServerSpec): boolean {
  return a.hash === b.hash && a.homeHub === b.homeHub && a.inFlight === b.inFlight;
}
