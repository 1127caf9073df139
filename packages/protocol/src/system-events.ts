// System events: what Heddle itself writes into an entity's history. Readers see them like other events, of an aggregate
// that no domain module can have. After each of them all of the entity's states are initial.

export const systemAggregate = "$heddle";

export const systemEvents = {
  /** The first event of an entity that was erased: what stood before it is gone. */
  erased: "Erased",
  /** The states are those after an earlier event again, once copies of the events that made them have followed. */
  restored: "Restored",
} as const;

/** A system event as a history gives it. */
export type SystemEvent = {
  readonly aggregate: typeof systemAggregate;
} & (
  | {
      readonly type: typeof systemEvents.erased;
      /** The sequences whose payloads are gone, both inclusive. */
      readonly payload: { readonly from: number; readonly to: number };
    }
  | {
      readonly type: typeof systemEvents.restored;
      /** The sequence whose state came back, and how many copies of events follow. */
      readonly payload: { readonly seq: number; readonly copied: number };
    }
);

/**
 * The event as a system event, or undefined for one of the context's own. The types of a context do not know of these, so
 * that nobody has to look for them who never erases or restores.
 */
export function asSystemEvent(event: { readonly aggregate: string }): SystemEvent | undefined {
  return event.aggregate === systemAggregate ? (event as SystemEvent) : undefined;
}

export function isTombstone(event: { readonly aggregate: string; readonly type: string } | undefined): boolean {
  return event?.aggregate === systemAggregate && event.type === systemEvents.erased;
}
