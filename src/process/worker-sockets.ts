/**
 * The private sockets of a worker and their names in the run directory.
 * Guarantees: a replacement listens under names of its own until it takes those of its predecessor; connections of the
 * predecessor are not affected.
 */
import { chmod, link, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { unsafeSocketDir } from '../config/file-access.ts';
import { HubError } from '../model/errors.ts';
import { bootSocketNames, frontSocketName, socketName } from '../model/supervisor-messages.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Drain } from './drain.ts';
import type { WorkerParts } from './worker-parts.ts';

export interface WorkerSocketsParts {
  readonly runtime: Runtime;
  readonly runDir: string;
  readonly slot: number;
  readonly drain: Pick<Drain, 'hasBegun'>;
}

export class WorkerSockets {
  readonly #parts: WorkerSocketsParts;
  /** Names until `takeNames`. */
  readonly #boot = bootSocketNames(process.pid);

  constructor(parts: WorkerSocketsParts) {
    this.#parts = parts;
  }

  /**
   * Listens on a socket for clients and on one for other processes. Node starts its timeouts for slow clients only on a
   * server that listens, so the listener of clients has one too.
   */
  async listen({ front, privateFront }: Pick<WorkerParts, 'front' | 'privateFront'>, boot: Deadline): Promise<void> {
    const { runtime, runDir } = this.#parts;
    const unsafe = unsafeSocketDir(runDir);
    if (unsafe !== undefined) throw new HubError('internal', { message: `The socket directory is unsafe: ${unsafe}` });
    const [bootFront, bootSocket] = this.#boot;
    for (const [listener, name] of [
      [front, bootFront],
      [privateFront, bootSocket],
    ] as const) {
      const path = join(runDir, name);
      await listener.listen({ path }, boot);
      // The directory is already closed to others; this is a second protection.
      await runtime.waits.for(chmod(path, 0o600), { label: 'service-start', owner: name, deadline: boot });
    }
  }

  /** Moves the names to this worker: new connections lead here from now on. */
  async takeNames(deadline: Deadline): Promise<void> {
    const { runtime, runDir, slot, drain } = this.#parts;
    const [bootFront, bootSocket] = this.#boot;
    for (const [from, to] of [
      [bootFront, frontSocketName(slot)],
      [bootSocket, socketName('hub', slot)],
    ] as const) {
      const moved = rename(join(runDir, from), join(runDir, to)).catch((fault: unknown) => {
        // A drain that begins during the start closes the listeners, and removes their sockets.
        if (!drain.hasBegun) throw fault;
      });
      await runtime.waits.for(moved, { label: 'service-start', owner: to, deadline });
    }
  }
}

/**
 * Gives the socket of the worker that is being replaced a second name, because its first one is taken over. Returns
 * undefined when it does not exist any more.
 */
export async function keepName(
  runtime: Runtime,
  from: string,
  to: string,
  deadline: Deadline,
): Promise<string | undefined> {
  const kept = rm(to, { force: true })
    .then(() => link(from, to))
    .then(
      () => to,
      () => undefined,
    );
  return runtime.waits.for(kept, { label: 'service-start', owner: to, deadline });
}
