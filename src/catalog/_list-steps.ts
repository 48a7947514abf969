/**
 * Reads the rows of one list, in steps of 1 to 3 ms: checks sizes, then each item; hides duplicates and what is above
 * the limits.
 */
import { createHash } from 'node:crypto';
import type { Hidden, ItemKind, ListedTool } from '../model/snapshot.ts';
import { paramHeaderFault, withoutIllegalParamHeaders } from '../protocol/era-2026/param-headers.ts';
import { type CatalogLimits, readItem } from './_item.ts';

/** Bytes processed in one step: 1 to 3 ms of work (measured). */
const STEP_BYTES = 128 * 1024;

interface ReadList {
  readonly items: readonly ListedTool[];
  readonly digest: string;
}

/**
 * Undefined = the list was not read. `beside.text` is part of the digest. `beside.repeats`: arguments are repeated in
 * headers, and a tool whose declared headers cannot be sent cannot be called.
 */
export function* listSteps(
  kind: ItemKind,
  list: readonly Buffer[] | undefined,
  limits: CatalogLimits,
  hidden: Hidden[],
  beside: { readonly text: string; readonly repeats?: boolean | undefined } = { text: '' },
): Generator<void, ReadList | undefined> {
  if (list === undefined) return undefined;
  const items: ListedTool[] = [];
  const seen = new Set<string>();
  const hash = createHash('sha256').update(beside.text);
  let stepBytes = 0;
  let listBytes = 0;
  for (const [index, bytes] of list.entries()) {
    stepBytes += bytes.length;
    if (stepBytes > STEP_BYTES) {
      stepBytes = bytes.length;
      yield;
    }
    listBytes += bytes.length;
    const read = checkItem(kind, bytes, { limits, items: items.length, listBytes, repeats: beside.repeats === true });
    if ('why' in read) hidden.push({ ...read, native: read.native || `#${index + 1}` });
    else if (seen.has(read.native))
      hidden.push({ kind, native: read.native, why: `another ${kind} of this server has the same name` });
    else {
      seen.add(read.native);
      items.push(read);
      hash.update(read.dropStructured ? '\n-' : '\n+').update(read.json);
    }
  }
  return { items, digest: items.length === 0 && beside.text === '' ? '' : hash.digest('hex') };
}

/** Checks sizes first: a row beyond the limits of the list is not examined. */
function checkItem(
  kind: ItemKind,
  bytes: Buffer,
  at: { readonly limits: CatalogLimits; readonly items: number; readonly listBytes: number; readonly repeats: boolean },
): ListedTool | Hidden {
  const { limits } = at;
  if (at.items >= limits.serverTools) return { kind, native: '', why: `more ${kind}s than serverTools allows` };
  if (at.listBytes > limits.listingBytes)
    return { kind, native: '', why: `more bytes of ${kind}s than listingBytes (${limits.listingBytes}) allows` };
  const read = readItem(kind, bytes, limits);
  if ('why' in read) return read;
  const why = kind === 'tool' ? paramHeaderFault(read.json) : undefined;
  if (why === undefined) return read;
  return at.repeats ? { kind, native: read.native, why } : withoutHeaders(read, why);
}

/**
 * Servers of the 2025 eras know no such rules, but clients of 2026-07-28 must drop a tool with an invalid declaration.
 */
function withoutHeaders(tool: ListedTool, why: string): ListedTool {
  const words = `illegal x-mcp-header removed: ${why}`;
  const repaired = tool.repaired === undefined ? words : `${tool.repaired}; ${words}`;
  return { ...tool, json: withoutIllegalParamHeaders(tool.json), repaired };
}
