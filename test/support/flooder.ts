/**
 * One user who calls a tool on many connections at once, each again as soon as it is answered, in a process of its own.
 * Usage: node flooder.ts <port> <key> <connections> <tool> <arguments as JSON>; ends with its input. Prints what it was
 * answered, by status, when it ends.
 */
import { setPriority } from 'node:os';
import { delay } from './hub.ts';
import { Client } from './load.ts';

const [port = '', key = '', connections = '1', tool = '', args = '{}'] = process.argv.slice(2);
/** Who was refused comes back after this, ms. */
const REST_MS = 100;
// Who floods has a machine of their own; here they take what the others leave.
setPriority(19);
const answered: Record<string, number> = {};

async function flood(client: Client): Promise<void> {
  for (;;) {
    const { status } = await client.call(tool, JSON.parse(args));
    answered[status] = (answered[status] ?? 0) + 1;
    if (status !== 200) await delay(REST_MS);
  }
}

for (let at = 0; at < Number(connections); at += 1) void flood(new Client({ port: Number(port), key }));
console.log('flooding');
process.stdin.resume().on('end', () => {
  console.log(JSON.stringify(answered));
  process.exit(0);
});
