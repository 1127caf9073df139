// Tree check: what LMDB would stumble over in its file, looked at before LMDB does.
//
// At every opening what can be seen from the first pages (data-file.ts). For a doctor every page of the trees
// (tree-walk.ts): of 200 pages overwritten with garbage LMDB aborted the process on a third, and on some others left out
// what had stood there without a word. What stands in values is not looked at; reading them checks that (values.ts).
import fs from "node:fs";
import { lengthOf, lengthProblem, type Meta, newestMeta, rootProblem } from "./data-file.ts";
import { PageSet, TreeProblem, TreeWalk } from "./tree-walk.ts";

/**
 * What is wrong with LMDB's file; undefined when nothing can be seen. A file that misses only pages that nobody uses is
 * made as long as it says, where the access allows it. Throws the system's error if it cannot be read.
 */
export function dataFileProblem(file: string, access: "r" | "r+"): string | undefined {
  return withFile(file, access, (fd) => {
    const meta = newestMeta(fd);
    if (typeof meta === "string") return meta;
    const cutOff = lengthProblem(fd, meta);
    if (cutOff === undefined) return rootProblem(fd, meta);
    // LMDB writes whole pages: a part of one is nothing that it left.
    if (fs.fstatSync(fd).size % meta.pageBytes !== 0 || walkProblem(fd, meta) !== undefined) return cutOff;
    if (access === "r+") fs.ftruncateSync(fd, lengthOf(meta));
    return undefined;
  });
}

/**
 * What is wrong with the file; undefined when LMDB can read all of it. Reads every page that is in use, about half a
 * gigabyte a second. Only for a file that nobody writes to: a writer uses pages again that this still follows.
 */
export function treeProblem(file: string): string | undefined {
  return withFile(file, "r", (fd) => {
    const meta = newestMeta(fd);
    if (typeof meta === "string") return meta;
    const problem = walkProblem(fd, meta);
    return problem === undefined ? undefined : (lengthProblem(fd, meta) ?? problem);
  });
}

function walkProblem(fd: number, meta: Meta): string | undefined {
  try {
    const walk = new TreeWalk(fd, meta, new PageSet(meta.lastPage + 1));
    for (const tree of [meta.freePages, meta.tables]) {
      for (const _page of walk.tree(tree));
    }
    return undefined;
  } catch (error) {
    if (error instanceof TreeProblem) return error.message;
    throw error;
  }
}

function withFile<T>(file: string, access: "r" | "r+", work: (fd: number) => T): T {
  const fd = fs.openSync(file, access);
  try {
    return work(fd);
  } finally {
    fs.closeSync(fd);
  }
}
