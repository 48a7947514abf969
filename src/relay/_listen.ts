/**
 * Opens and closes a unix socket of the control process.
 */
import { chmod, rm } from 'node:fs/promises';
import type { Server } from 'node:net';
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';

/** Listens on `socketPath`, mode 0600; replaces what a killed process has left there. */
export async function listenOn(server: Server, socketPath: string): Promise<void> {
  // That no other process listens here is ensured by the supervisor's lock.
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

/** Closes a server whose connections have been destroyed. Never rejects; ends by the deadline. */
export async function closed(server: Server, kernel: Kernel, deadline: Deadline): Promise<void> {
  const done = new Promise<void>((resolve) => server.close(() => resolve()));
  try {
    await kernel.waits.for(done, { label: 'service-stop', owner: 'relay', deadline });
  } catch {
    // Stopping may not fail; the process ends anyway.
  }
}
