import { describe, expect, it } from "vitest";
import { findMount } from "./host-facts.ts";

const mounts = [
  "/dev/vda / ext4 rw 0 0",
  "tmpfs /tmp tmpfs rw 0 0",
  "/dev/vdb /tmp/a\\040disk xfs rw 0 0",
  "overlay /data overlay rw 0 0",
  "/dev/vdc /data ext4 rw 0 0",
].join("\n");

describe("file system of a folder", () => {
  it.each([
    ["/home/me", "ext4"],
    ["/tmp", "tmpfs"],
    ["/tmp/x/y", "tmpfs"],
    ["/tmpx", "ext4"],
    ["/tmp/a disk/data", "xfs"],
  ])("of %s is that of the nearest mount above it, %s", (folder, type) => {
    expect(findMount(folder, mounts)?.type).toBe(type);
  });

  it("is the upper one of two mounts at the same point", () => {
    expect(findMount("/data/x", mounts)).toEqual({ device: "/dev/vdc", point: "/data", type: "ext4" });
  });

  it("is unknown where the kernel lists no mounts", () => {
    expect(findMount("/data", "")).toBeUndefined();
  });
});
