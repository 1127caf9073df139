// Snippets: code in documents comes from files that are tested.
//
// In a document, `<!-- from: path#region -->` stands before a fenced block; the block must hold the file's region (or,
// without `#region`, the whole file). `node test/house/snippets.ts` writes them anew; a test holds them equal.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const block = /<!-- from: ([^\s#]+)(?:#(\S+))? -->\n```(\w*)\n([\s\S]*?)```/g;

export function documents(): string[] {
  const found = fs.readdirSync(root).filter((name) => name.endsWith(".md"));
  const walk = (folder: string) => {
    if (!fs.existsSync(path.join(root, folder))) return;
    for (const entry of fs.readdirSync(path.join(root, folder), { withFileTypes: true })) {
      if (entry.name === "node_modules") continue;
      const inside = `${folder}/${entry.name}`;
      if (entry.isDirectory()) walk(inside);
      else if (entry.name.endsWith(".md")) found.push(inside);
    }
  };
  for (const folder of ["docs", "packages", "apps", "bench", "infra"]) walk(folder);
  return found;
}

/** The document with every snippet as its source has it. Errors: throws when a file or region is not there. */
export function refreshed(text: string): string {
  return text.replace(block, (_, file: string, region: string | undefined, language: string) => {
    const mark = region === undefined ? file : `${file}#${region}`;
    return `<!-- from: ${mark} -->\n\`\`\`${language}\n${sourceOf(file, region)}\`\`\``;
  });
}

function sourceOf(file: string, region: string | undefined): string {
  const text = fs.readFileSync(path.join(root, file), "utf8");
  if (region === undefined) return text;
  const start = `#region ${region}\n`;
  const from = text.indexOf(start);
  const to = text.indexOf(`// #endregion ${region}`);
  if (from < 0 || to < 0) throw new Error(`${file} has no region ${region}`);
  return text.slice(from + start.length, to);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const file of documents()) {
    const at = path.join(root, file);
    const before = fs.readFileSync(at, "utf8");
    const after = refreshed(before);
    if (after !== before) {
      fs.writeFileSync(at, after);
      console.log(`refreshed ${file}`);
    }
  }
}
