/**
 * Opens and closes the Unix sockets of the control process.
 */
import { chmod, rm } from 'node:fs/promises';
import type { Server } from 'node:net';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';

/** Listens on `socketPath` with mode 0600; replaces a socket that a killed process has left. */
export async function listenOn(server: Server, socketPath: string): Promise<void> {
  // The supervisor's lock ensures that no other process listens here.
  await rm(socketPath, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, () => {
      server.off('error', reject);
      server.on('error', () => {});
      resolve();
    });
  });
  await chmod(socketPath, 0o600);
}

/** Closes a server whose connections are destroyed. `owner`: name of the wait. Never rejects; ends by the deadline. */
export async function closeServer(
  server: Server,
  { runtime, owner }: { readonly runtime: Runtime; readonly owner: string },
  deadline: Deadline,
): Promise<void> {
  const done = new Promise<void>((resolve) => server.close(() => resolve()));
  try {
    await runtime.waits.for(done, { label: 'service-stop', owner, deadline });
  } catch {
    // Stopping must not fail; the process exits anyway.
  }
}
