// Goal: the contract that every partition keeps, over real LMDB.
import { describe } from "vitest";
import { partitionContract } from "../../../test/contract/partition-contract.ts";
import { cleanUp, freshFolder, open } from "../test/partition-under-test.ts";

describe("partition: the contract, over LMDB", () => {
  partitionContract(() => {
    const folder = freshFolder();
    return { open: () => open(folder), cleanUp };
  });
});
