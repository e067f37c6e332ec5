// A second verifier of a record, written from docs/record.md alone: levels 1 and 2, offline.
//   node verify.mjs RECORD [--trust POLICY.json] [--level N] [--offline]
// RECORD is a folder or a zip, POLICY a trust policy as JSON (which is YAML too). Exit codes as in section 7.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { verify } from "./checks.mjs";
import { Malformed } from "./json.mjs";
import { openRecord } from "./record.mjs";
import { readTrust } from "./trust.mjs";

const OPTIONS = { trust: { type: "string" }, level: { type: "string" }, offline: { type: "boolean" } };

function main() {
  const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
  const trust = values.trust === undefined ? null : readTrust(readFileSync(values.trust));
  const { findings, level, verdict, false: wrong, stands } = verify(openRecord(positionals[0]), trust);
  console.log(JSON.stringify({ findings, level, verdict, false: wrong }, null, 1));
  if (wrong.length > 0 || (trust?.minimum?.verdict === "PROMOTE" && !stands)) return 1;
  const asked = Number(values.level ?? trust?.minimum?.level ?? 2);
  return level < asked || trust === null || !values.offline ? 2 : 0;
}

try {
  process.exitCode = main();
} catch (error) {
  console.error(error instanceof Malformed ? error.message : error.stack);
  process.exitCode = error instanceof Malformed ? 1 : 2;
}
