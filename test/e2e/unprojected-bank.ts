// The bank without any projection: what a domain module is after all of them were taken out.
import { defineContext } from "@heddle/domain";
import { Account } from "../../apps/examples/bank/index.ts";

export default defineContext("bank", { aggregates: [Account] });
