/** Initializes one connection, at its start and when its session is renewed. */
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import { CallBudget } from '../../runtime/call-budget.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import { isLocal, phaseSetting } from '../call-endings.ts';
import { makeRoom } from '../link/held-elsewhere.ts';
import type { Transport } from '../transport/transport.ts';
import type { ConnectionNotes } from './connection-notes.ts';
import type { ConnectionParts } from './connection-parts.ts';
import type { ConnectionPhase } from './connection-phase.ts';
import type { Correlator } from './correlator.ts';
import { shakeHands } from './handshake.ts';

export interface HandshakerParts {
  readonly connection: Pick<
    ConnectionParts,
    'spec' | 'version' | 'clientContext' | 'isForward' | 'opening' | 'sharing' | 'owner'
  >;
  readonly transport: Transport;
  readonly correlator: Correlator;
  readonly notes: ConnectionNotes;
  readonly phase: ConnectionPhase;
}

export class Handshaker {
  readonly #parts: HandshakerParts;

  constructor(parts: HandshakerParts) {
    this.#parts = parts;
  }

  /** See `shakeHands` in `handshake.ts`. */
  shakeHands(deadline: Deadline): Promise<InitializeResult> {
    const { connection, transport, correlator, notes, phase } = this.#parts;
    const { spec, version, clientContext, isForward, opening, sharing, owner } = connection;
    void phase.enter('handshake');
    return shakeHands(
      {
        spec,
        correlator,
        transport,
        version,
        capabilityBits: clientContext.capabilityBits,
        isForward,
        before: owner.versionBefore(),
        makeRoom: (until) => makeRoom({ server: spec.slug, transport, correlator, sharing }, until),
        learned: (note) => notes.add(note),
        opening,
      },
      new CallBudget(deadline, phaseSetting('handshake', isLocal(spec))),
    );
  }
}
