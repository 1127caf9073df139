// The figures of consumer groups.
import type { GroupFigures } from "@heddle/feed/internal";
import type { MetricsPage } from "./metrics-page.ts";

export function writeGroups(page: MetricsPage, groups: readonly GroupFigures[]): void {
  page.add(
    "heddle_group_members",
    "gauge",
    "Members of the consumer group.",
    groups.map(({ group, members }) => [{ group }, members]),
  );
  page.add(
    "heddle_group_lag_bytes",
    "gauge",
    "Log that the consumer group has not dealt with.",
    groups.map(({ group, lagBytes }) => [{ group }, lagBytes]),
  );
}
