// KeysCheck: can no backup of an erased entity be read any more?
import fs from "node:fs";
import { boundIdOf, KeyStore } from "@heddle/backup";
import { isHeddleError } from "@heddle/kernel";
import type { ErasureReceipt } from "@heddle/protocol";
import type { LeftoverList } from "./checks.ts";

/** What cannot be looked at is not proved: it is a leftover like others. */
export function checkKeys(data: string, file: string, receipt: ErasureReceipt, leftovers: LeftoverList): void {
  const { entity, time, seq } = receipt;
  const wanted = `a mark for the tombstone at sequence ${seq}`;
  if (!fs.existsSync(file)) {
    leftovers.add("keys/marked", file, "no such file; --keys names another", wanted);
    return;
  }
  let keys: KeyStore | undefined;
  try {
    keys = KeyStore.open(file, { create: false });
    const bound = boundIdOf(data);
    if (bound !== undefined && bound !== keys.id) {
      leftovers.add("keys/marked", file, `the key store ${keys.id}`, `${bound}, which this data folder uses`);
      return;
    }
    const over = keys.erasedBefore(entity);
    if (over === undefined || over.time < time || (over.time === time && over.seq < seq)) {
      const found = over === undefined ? "no mark of an erasure" : `a mark of an earlier one, at sequence ${over.seq}`;
      leftovers.add("keys/marked", file, found, wanted);
    }
    const left = keys.keysBefore(entity, { time, seq });
    if (left > 0) leftovers.add("keys/gone", file, `${left} ${left === 1 ? "key" : "keys"}`, "none");
  } catch (error) {
    if (!isHeddleError(error, "KEYS_UNAVAILABLE")) throw error;
    leftovers.add("keys/marked", file, error.facts.problem, wanted);
  } finally {
    keys?.close();
  }
}
