/** Builds the event for a server that was listed: the number of items of each kind, and what was repaired or hidden. */
import type { HubEvent } from '../model/events.ts';
import type { Listing } from '../model/snapshot.ts';

/** Most repairs named in one event. */
const REPAIRS = 20;

export function listedEvent(server: string, listing: Listing, changed: boolean): HubEvent {
  const { tools, prompts, resources, templates } = listing;
  const repaired = [
    ...[...tools, ...prompts, ...resources, ...templates].flatMap((item) =>
      item.repaired ? [`${item.native}: ${item.repaired}`] : [],
    ),
    ...listing.hidden.map(({ kind, native, why }) =>
      native === '' ? `${kind}s: ${why}` : `${native} is hidden: ${why}`,
    ),
  ];
  return {
    type: 'server-listed',
    server,
    tools: tools.length,
    prompts: prompts.length,
    resources: resources.length + templates.length,
    changed,
    repaired: repaired.slice(0, REPAIRS),
  };
}
