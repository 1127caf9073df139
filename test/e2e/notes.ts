// notes: a domain whose states are as long as somebody wishes.
import { defineAggregate, defineContext, event } from "@heddle/domain";
import { z } from "zod";

const Note = defineAggregate("Note", {
  version: 1,
  initial: () => ({ text: "" }),
  events: { Noted: event(z.object({ text: z.string() }), (_, { text }) => ({ text })) },
});

export default defineContext("notes", { aggregates: [Note] });
