// SystemKinds: what the entities are called that are Heddle's own.

/**
 * Kinds of the entities that Heddle itself keeps: the progress of a saga, `$saga/transfer-001`, and an entity's reminders,
 * `$reminders/account/alice`. They have logs, snapshots and backups like any other; only Heddle writes to them.
 */
export const systemKinds = { saga: "$saga", reminders: "$reminders" } as const;
