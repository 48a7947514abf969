/**
 * Protections that can be taken away by replacing one piece of code, and the test that must notice.
 * `find` stands exactly once in `file`; the code with `replace` in its place still runs.
 */
export interface Protection {
  /** The failure of the catalogue that it keeps away. */
  readonly row: string;
  readonly what: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** The test file, and a pattern of the test's name. */
  readonly test: string;
  readonly name: string;
}

export const PROTECTIONS: readonly Protection[] = [];
