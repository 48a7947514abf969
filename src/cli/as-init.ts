/**
 * Runs the hub under a minimal init when it is PID 1 of a container. PID 1 inherits all orphans, and Node reaps only
 * its own children, so zombies would accumulate. A shell becomes PID 1, starts the hub as its child, forwards signals
 * and reaps all children.
 * Guarantees: returns at once in any other process; the exit code is the hub's; without /bin/sh the hub runs as PID 1.
 */
const SHELL = '/bin/sh';
/**
 * At a terminal ^C already reaches the whole process group; a second signal would stop the hub at once. `wait` returns
 * early on a signal, hence the loop; it also reaps orphans.
 */
const INIT = `
"$@" <&0 &
child=$!
trap 'kill -TERM $child' TERM
trap 'kill -HUP $child' HUP
trap 'kill -USR2 $child' USR2
if [ -t 1 ]; then trap : INT; else trap 'kill -INT $child' INT; fi
while :; do
  wait $child
  code=$?
  kill -0 $child 2>/dev/null || exit $code
done`;

export function becomeInit(): void {
  if (process.pid !== 1 || process.platform !== 'linux' || process.execve === undefined) return;
  try {
    process.execve(SHELL, [
      'sh',
      '-c',
      INIT,
      'mcphub',
      process.execPath,
      ...process.execArgv,
      ...process.argv.slice(1),
    ]);
  } catch {
    // Without a shell, orphans stay zombies until the container ends; nothing else is lost.
  }
}
