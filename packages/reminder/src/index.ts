// reminder: durable timers of entities, once or again and again, delivered as commands or events.
//
// Owns when a reminder is due (schedule.ts), what becomes of what was missed (release.ts), what is on record of it
// (reminders-aggregate.ts), and its delivery (reminder-runner.ts).
// Promises: none is early, none is delivered twice, none is lost but by its own policy; over crashes, restarts and clocks that
// are set.
// Not promised: the moment itself. A reminder comes when its time has come and the node has room for it.

export { missedAfterMs } from "./release.ts";
export { releasePerSecondDefault } from "./release-rate.ts";
export type { ReminderStats } from "./reminder-runner.ts";
