// For sibling packages and tests.
export { ClockWatch } from "./clock-watch.ts";
export * from "./index.ts";
export { ReleaseRate } from "./release-rate.ts";
export { ReminderRunner, type ReminderRunnerOptions } from "./reminder-runner.ts";
export { remindersAggregate, remindersAlarm } from "./reminders-aggregate.ts";
