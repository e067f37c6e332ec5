// The trust policy (docs/record.md, section 9), as JSON: the verifier's own, never the record's.
import { isObject } from "./json.mjs";
import { readKey } from "./record.mjs";

/** The policy is the verifier's own: one that cannot be used says nothing about the record. */
class Unusable extends Error {}

const MEMBERS = ["format", "keys", "ledger", "pipelines", "sources", "environments", "rule", "minimum"];
const ROLES = ["steps", "release", "approval", "reproduction", "revocation"];

const closed = (value, names, what) => {
  if (!isObject(value) || Object.keys(value).some((name) => !names.includes(name))) throw new Unusable(`trust policy: ${what} has other members`);
};

/** The policy, with `allows(keyid, roles, seconds)`. */
export function readTrust(bytes) {
  if (bytes.length > 256 * 1024) throw new Unusable("the trust policy is too large");
  let policy;
  try {
    policy = JSON.parse(bytes.toString("utf8"));
  } catch (error) {
    throw new Unusable(`the trust policy is not JSON: ${error.message}`);
  }
  closed(policy, MEMBERS, "it");
  if (policy.format !== "drl.trust/1" || !Array.isArray(policy.keys)) throw new Unusable("the trust policy has another format, or no keys");
  const keys = policy.keys.map(trustedKey);
  const allows = (keyid, roles, seconds) =>
    keys.some((k) => k.keyid === keyid && roles.some((role) => k.roles.includes(role)) && k.from <= seconds && seconds < k.until);
  return { ...policy, keys, allows };
}

function trustedKey(entry) {
  closed(entry, ["keyid", "pem", "roles", "valid_from", "valid_until", "name"], "a key");
  const { keyid, pem, roles, valid_from, valid_until } = entry;
  if (!Array.isArray(roles) || !roles.every((role) => ROLES.includes(role))) throw new Unusable("a key has unknown roles");
  const read = pem === undefined ? { keyid, key: null } : readKey(pem);
  const seconds = (text, otherwise) => (text === undefined ? otherwise : Date.parse(text) / 1000);
  return { keyid: read.keyid, key: read.key, roles, from: seconds(valid_from, -Infinity), until: seconds(valid_until, Infinity) };
}
