// nodeDisk against the contract that all disks keep, on the machine's own file system.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { describe } from "vitest";
import { diskContract } from "../../../test/contract/disk-contract.ts";
import { nodeDisk } from "./disk.ts";

describe("nodeDisk", () => {
  diskContract(() => {
    const root = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-disk-"));
    const cleanUp = () => fs.rmSync(root, { recursive: true });
    return { disk: nodeDisk, folder: path.join(root, "data"), cleanUp };
  });
});
