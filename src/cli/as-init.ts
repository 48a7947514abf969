/**
 * When this process is the first of its container it also inherits every orphan of it, and Node takes leave of its own children only: zombies
 * would pile up. So a shell takes the place of process 1, starts the hub as its child, passes signals on and takes leave of everybody.
 * Promises: returns at once in any other process; the exit code is the hub's; a container without /bin/sh goes on without.
 * Source: reliability.md B19.
 */
const SHELL = '/bin/sh';
/**
 * At a terminal ^C reaches the whole group already; a second one would be the order to drop everything. `wait` ends early when a signal comes,
 * hence the loop; it also takes leave of orphans.
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
    // No shell: orphans stay zombies until the container ends, which is all that is lost.
  }
}
