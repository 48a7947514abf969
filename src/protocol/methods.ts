/**
 * All methods of the 2025 dates and how the hub handles each; `call/` implements them.
 * Guarantees: every method of these specification revisions is listed once, and so are the few others that real clients
 * send (offerings/list, capabilities).
 * Source: specification 2024-11-05 … 2025-11-25.
 */
export type MethodFamily =
  | 'life'
  | 'tools'
  | 'prompts'
  | 'resources'
  | 'completion'
  | 'logging'
  | 'roots'
  | 'sampling'
  | 'elicitation'
  | 'tasks';

export interface MethodRow {
  readonly family: MethodFamily;
  readonly kind: 'request' | 'notification';
  /** Who may send it. */
  readonly from: 'client' | 'server' | 'both';
  /**
   * `here`: answered from memory. `upstream`: by a server. `not-yet`: refused with `not-served-yet` (a notification is
   * accepted and dropped).
   */
  readonly served: 'here' | 'upstream' | 'not-yet';
}

function request(family: MethodFamily, served: MethodRow['served'], from: MethodRow['from'] = 'client'): MethodRow {
  return { family, kind: 'request', from, served };
}

function notice(family: MethodFamily, served: MethodRow['served'], from: MethodRow['from']): MethodRow {
  return { family, kind: 'notification', from, served };
}

const METHODS: ReadonlyMap<string, MethodRow> = new Map([
  // Opening and keeping a session
  ['initialize', request('life', 'here')],
  ['ping', request('life', 'here', 'both')],
  ['offerings/list', request('life', 'here')],
  ['capabilities', request('life', 'here')],
  ['capabilities/list', request('life', 'here')],
  ['notifications/initialized', notice('life', 'here', 'client')],
  ['notifications/cancelled', notice('life', 'here', 'both')],
  ['notifications/progress', notice('life', 'here', 'both')],
  // Tools
  ['tools/list', request('tools', 'here')],
  ['tools/call', request('tools', 'upstream')],
  ['notifications/tools/list_changed', notice('tools', 'here', 'server')],
  // Prompts and resources
  ['prompts/list', request('prompts', 'here')],
  ['prompts/get', request('prompts', 'upstream')],
  ['notifications/prompts/list_changed', notice('prompts', 'here', 'server')],
  ['resources/list', request('resources', 'here')],
  ['resources/templates/list', request('resources', 'here')],
  ['resources/read', request('resources', 'upstream')],
  ['resources/subscribe', request('resources', 'upstream')],
  ['resources/unsubscribe', request('resources', 'upstream')],
  ['notifications/resources/list_changed', notice('resources', 'here', 'server')],
  ['notifications/resources/updated', notice('resources', 'here', 'server')],
  ['completion/complete', request('completion', 'upstream')],
  ['logging/setLevel', request('logging', 'here')],
  ['notifications/message', notice('logging', 'here', 'server')],
  // Server requests: sent to the user on session connections of interactive servers; shared links declare no
  // capability, so no server may ask there
  ['roots/list', request('roots', 'here', 'server')],
  ['notifications/roots/list_changed', notice('roots', 'here', 'client')],
  ['sampling/createMessage', request('sampling', 'here', 'server')],
  ['elicitation/create', request('elicitation', 'here', 'server')],
  ['notifications/elicitation/complete', notice('elicitation', 'here', 'server')],
  // Experimental in 2025-11-25; never advertised
  ['tasks/list', request('tasks', 'not-yet', 'both')],
  ['tasks/get', request('tasks', 'not-yet', 'both')],
  ['tasks/result', request('tasks', 'not-yet', 'both')],
  ['tasks/cancel', request('tasks', 'not-yet', 'both')],
  ['notifications/tasks/status', notice('tasks', 'not-yet', 'both')],
]);

/** Returns the row of `method`, or undefined when these dates do not define it. */
export function methodRow(method: string): MethodRow | undefined {
  return METHODS.get(method);
}
