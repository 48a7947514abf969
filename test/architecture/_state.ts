/**
 * Laws 2 and 4: no state of a module, and no container without a ceiling.
 * Promises: looks at statements of the module itself, at fields of classes and interfaces, and at what a `create…`
 * function keeps.
 * Does not: follow values; a container that is handed on is judged where it is born.
 */
import type { SourceFile } from './_tree.ts';

interface RequestPipeline {
  readonly number: number;
  readonly bare: string;
  readonly text: string;
  /** The line before, where a comment may stand. */
  readonly above: string;
  /** Braces, brackets and parentheses open at its start. */
  readonly depth: number;
  /** First line of the outermost statement that it belongs to. */
  readonly owner: string;
}

function linesOf(file: SourceFile): RequestPipeline[] {
  const lines: RequestPipeline[] = [];
  let depth = 0;
  let owner = '';
  for (const [index, bare] of file.bareLines.entries()) {
    if (depth === 0 && bare.trim() !== '') owner = bare;
    lines.push({
      number: index + 1,
      bare,
      text: file.lines[index] ?? '',
      above: file.lines[index - 1] ?? '',
      depth,
      owner,
    });
    for (const char of bare) {
      if ('{[('.includes(char)) depth += 1;
      else if ('}])'.includes(char)) depth -= 1;
    }
  }
  return lines;
}

const MODULE_CONST = /^(export\s+)?const\s+([\w$]+)\s*(?::\s*([^=]+?))?\s*=\s*(.*)$/;
const IMMUTABLE_TYPE = /^(readonly\b|Readonly|ReadonlyMap|ReadonlySet|ReadonlyArray)/;
/** Values without state, or whose state is nobody's business. */
const HARMLESS_NEW = /^new\s+(Map|Set|RegExp|TextEncoder|TextDecoder|URL|Uint8Array|Intl\.\w+|BlockList)\b/;

/**
 * Module-level bindings that can change, containers that are changed or can be from outside, and objects made once for
 * all.
 */
export function moduleState(file: SourceFile): string[] {
  const wrong: string[] = [];
  for (const { bare, number, depth } of linesOf(file)) {
    if (depth !== 0) continue;
    const where = `${file.path}:${number}`;
    if (/^(export\s+)?(let|var)\b/.test(bare)) wrong.push(`${where} a binding of the module that can change`);
    const [, exported, name, type, value] = MODULE_CONST.exec(bare) ?? [];
    if (name === undefined || value === undefined) continue;
    const isContainer = /^(new\s+(Map|Set|WeakMap|WeakSet|Array)\b|\[|\{)/.test(value);
    const isFixed = IMMUTABLE_TYPE.test(type ?? '') || isFrozen(file, bare);
    if (isContainer && isMutated(file.bare, name)) wrong.push(`${where} ${name} is changed after it was made`);
    else if (isContainer && exported && !isFixed && !value.startsWith('{'))
      wrong.push(`${where} ${name} is exported and can be changed`);
    else if (/^new\s/.test(value) && !HARMLESS_NEW.test(value))
      wrong.push(`${where} ${name} is made once for the whole process`);
  }
  return wrong;
}

function isFrozen(file: SourceFile, bareLine: string): boolean {
  const at = file.bare.indexOf(bareLine);
  const end = file.bare.indexOf(';\n', at);
  return /\bas const\b|Object\.freeze\(/.test(file.bare.slice(at, end < 0 ? undefined : end));
}

function isMutated(bare: string, name: string): boolean {
  const id = name.replaceAll('$', '\\$');
  const calls = new RegExp(
    `(?<![.\\w$])${id}\\s*\\.\\s*(set|add|delete|clear|push|pop|shift|unshift|splice|sort|reverse|fill)\\s*\\(`,
  );
  const writes = new RegExp(`(?<![.\\w$])${id}\\s*(\\[[^\\]]*\\]|\\.\\w+)\\s*(=(?!=|>)|\\+=|-=|\\+\\+)`);
  return calls.test(bare) || writes.test(bare);
}

const MODIFIERS = String.raw`(?:(?:public|private|protected|static|declare|override|readonly)\s+)*`;
const FIELD = new RegExp(String.raw`^\s+(${MODIFIERS})(#?[\w$]+)[?!]?\s*(?::\s*([^=;]+?))?\s*(?:=\s*([^;]*))?;?\s*$`);
const LOCAL = /^\s+(const|let)\s+([\w$]+)\s*(?::\s*([^=]+?))?\s*=\s*(.*)$/;
const CONTAINER_TYPE = /^(Map|Set|Array)<|\[\]$/;
const CONTAINER_VALUE = /^(new\s+(Map|Set|Array)\b|\[\s*\]?)/;
const SAID = /bounded by:/;

/** Fields, and variables kept by `create…`, that are bare containers and do not say what bounds them. */
export function unboundedContainers(file: SourceFile): string[] {
  const wrong: string[] = [];
  for (const line of linesOf(file)) {
    if (line.depth !== 1 || SAID.test(line.text) || SAID.test(line.above)) continue;
    const name = isHolder(line.owner)
      ? fieldIn(line.bare, /\bclass\b/.test(line.owner))
      : isMaker(line.owner)
        ? localIn(line.bare)
        : undefined;
    if (name !== undefined)
      wrong.push(`${file.path}:${line.number} ${name} has no ceiling and does not say what bounds it`);
  }
  return wrong;
}

const isHolder = (owner: string): boolean =>
  /^(export\s+)?(abstract\s+)?(class|interface)\b|^(export\s+)?type\s+\w+.*=\s*\{/.test(owner);

/** A function whose variables live on in what it returns. */
const isMaker = (owner: string): boolean => /^(export\s+)?(async\s+)?function\s+(create|open|start)[A-Z]/.test(owner);

function fieldIn(bare: string, inClass: boolean): string | undefined {
  const [, modifiers, name, type = '', value = ''] = FIELD.exec(bare) ?? [];
  if (name === undefined || (type === '' && value === '')) return undefined;
  const isReadonlyType = IMMUTABLE_TYPE.test(type);
  // A readonly field of a readonly type cannot grow; a class field that is replaced can.
  if (isReadonlyType && (!inClass || modifiers?.includes('readonly'))) return undefined;
  return isContainer(type, value) ? name : undefined;
}

function localIn(bare: string): string | undefined {
  const [, kind, name, type = '', value = ''] = LOCAL.exec(bare) ?? [];
  if (name === undefined) return undefined;
  if (kind === 'const' && IMMUTABLE_TYPE.test(type)) return undefined;
  if (kind === 'const' && /^\[\s*\S/.test(value)) return undefined;
  return isContainer(type, value) ? name : undefined;
}

function isContainer(type: string, value: string): boolean {
  const plain = type
    .replace(/\s*\|\s*undefined$/, '')
    .replace(/^readonly\s+/, '')
    .replace(/^Readonly(?=Map|Set|Array)/, '');
  return CONTAINER_TYPE.test(plain) || CONTAINER_VALUE.test(value);
}
