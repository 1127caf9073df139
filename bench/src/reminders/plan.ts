// Plan: who is reminded when. Follows from the numbers alone, so that what was delivered can be judged without a list. Pure.
//
// Every account has ten reminders. Five are due within a few seconds, each at a time of its own, the other five in a year: they
// are there to be carried along.

export const remindersPerEntity = 10;
export const duePerEntity = 5;
/** More than has to be delivered in a second, so that the node never waits for the next to become due. */
export const offeredPerSecond = 75_000;
const yearMs = 365 * 86_400_000;

export interface ReminderPlan {
  readonly entities: number;
  /** When the first is due, in milliseconds since 1970. */
  readonly from: number;
}

/** By number, with one credit to begin with: only who has a history can be reminded. */
export function accountOf(entity: number): string {
  return `account/${entity}`;
}

export function nameOf(reminder: number): string {
  return `r${reminder}`;
}

/** How long the due ones are spread over, in ms. */
export function spreadMs({ entities }: Pick<ReminderPlan, "entities">): number {
  return Math.max(1, Math.ceil((1_000 * entities * duePerEntity) / offeredPerSecond));
}

/** When a reminder is due. Neighbours are far from each other, and an entity's are too. */
export function dueOf(plan: ReminderPlan, entity: number, reminder: number): number {
  if (reminder >= duePerEntity) return plan.from + yearMs;
  return plan.from + ((Math.imul(entity * duePerEntity + reminder + 1, 0x9e3779b1) >>> 0) % spreadMs(plan));
}

/** What a reminder brings: every one another amount, so that none can stand for another. */
export function amountOf(entity: number, reminder: number): number {
  return 1 + entity * remindersPerEntity + reminder;
}
