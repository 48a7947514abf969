/**
 * The limits of a process that follows its configuration. Each configuration brings a frozen `Limits` of its own.
 * Guarantees: modules hold one object, whose members give the value in force at the time of use (one array read,
 * faster than a member of an object with so many); a limit that applies at a restart keeps the value of the start; one
 * that applies at a reconnect keeps, in `limitsAtConnect`, the value of the moment at which a connection opens.
 */
import { LIMIT_NAMES, LIMITS, type LimitName, type Limits } from './limits.ts';

/** Values in the order of `LIMIT_NAMES`. */
type Values = readonly number[];

export interface CurrentLimitsOptions {
  /** Adjusts what a configuration asks for to what this process can have, for example to its descriptors. */
  readonly adjust?: (limits: Limits) => Limits;
  /** Limits that keep the value of the start. Default: all that apply at a restart. */
  readonly keeps?: ReadonlySet<LimitName>;
  /** The first limits do not come from the configuration: the first that does counts as the start. */
  readonly isProvisional?: boolean;
}

export class CurrentLimits {
  /** What modules hold and read. */
  readonly limits: Limits;
  readonly #view: View;
  readonly #adjust: (limits: Limits) => Limits;
  readonly #keeps: ReadonlySet<LimitName>;
  #start: Limits;
  #isProvisional: boolean;
  #configured: Limits;
  #listeners: readonly (() => void)[] = []; // bounded by: the modules that report what waits for a restart
  #followers: readonly (() => void)[] = []; // bounded by: the modules that must act on a change

  constructor(first: Limits, options: CurrentLimitsOptions = {}) {
    this.#adjust = options.adjust ?? ((limits) => limits);
    this.#keeps = options.keeps ?? AT_RESTART;
    this.#isProvisional = options.isProvisional ?? false;
    this.#start = Object.freeze({ ...first });
    this.#configured = this.#start;
    this.#view = new View(valuesOf(this.#adjust(first)));
    this.limits = Object.freeze(new LimitsInForce(this.#view)) as unknown as Limits;
  }

  /** The frozen limits of the newest configuration. */
  get configured(): Limits {
    return this.#configured;
  }

  /** Limits of the newest configuration that take effect with the next restart only, in the order of the table. */
  get awaitingRestart(): readonly LimitName[] {
    return LIMIT_NAMES.filter((name) => this.#keeps.has(name) && this.#configured[name] !== this.#start[name]);
  }

  /** Takes the limits of a newer configuration. Returns false when nothing in force has changed. */
  adopt(configured: Limits): boolean {
    this.#configured = Object.freeze({ ...configured });
    if (this.#isProvisional) this.#start = this.#configured;
    this.#isProvisional = false;
    const kept = [...this.#keeps].map((name) => [name, this.#start[name]] as const);
    const values = valuesOf(this.#adjust({ ...configured, ...Object.fromEntries(kept) }));
    const isChanged = values.some((value, at) => value !== this.#view.values[at]);
    if (isChanged) {
      this.#view.values = values;
      for (const follower of this.#followers) follower();
    }
    for (const listener of this.#listeners) listener();
    return isChanged;
  }

  /** Calls `listener` after each configuration, also when nothing in force has changed. It must not throw. */
  onAdopt(listener: () => void): void {
    this.#listeners = [...this.#listeners, listener];
  }

  /** Calls `follower` after each change, for what cannot read a limit at the time of use. It must not throw. */
  onChange(follower: () => void): void {
    this.#followers = [...this.#followers, follower];
  }
}

/**
 * Returns the limits of a connection to a server that opens now. Returns limits that do not change as they are.
 */
export function limitsAtConnect(limits: Limits): Limits {
  const view = viewOf(limits);
  return view ? (Object.freeze(new LimitsAtConnect(view, view.values)) as unknown as Limits) : limits;
}

function viewOf(limits: Limits): View | undefined {
  const object: unknown = limits;
  return object instanceof LimitsInForce || object instanceof LimitsAtConnect ? object.view : undefined;
}

const AT_RESTART: ReadonlySet<LimitName> = new Set(LIMIT_NAMES.filter((name) => LIMITS[name].applies === 'restart'));

function valuesOf(limits: Limits): Values {
  return Object.freeze(LIMIT_NAMES.map((name) => limits[name]));
}

/** The values in force; replaced as a whole. */
class View {
  values: Values;

  constructor(values: Values) {
    this.values = values;
  }
}

class LimitsInForce {
  readonly view: View;

  constructor(view: View) {
    this.view = view;
  }
}

class LimitsAtConnect {
  readonly view: View;
  readonly values: Values;

  constructor(view: View, values: Values) {
    this.view = view;
    this.values = values;
  }
}

// Accessors of a prototype, made from the table: an object literal with as many would have a slow hidden class.
for (const [at, name] of LIMIT_NAMES.entries()) {
  const inForce = function get(this: LimitsInForce): number | undefined {
    return this.view.values[at];
  };
  const atConnect = function get(this: LimitsAtConnect): number | undefined {
    return this.values[at];
  };
  Object.defineProperty(LimitsInForce.prototype, name, { get: inForce });
  Object.defineProperty(LimitsAtConnect.prototype, name, {
    get: LIMITS[name].applies === 'reconnect' ? atConnect : inForce,
  });
}
