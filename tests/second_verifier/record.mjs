// The files of a record, a folder or a zip, and the envelopes, keys and source archive in them.
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { Malformed, byCodePoint, hasExactly, parseCanonical, sha256 } from "./json.mjs";
import { unzip } from "./zip.mjs";

const MOST_FILES = 50000;

/** All files of a record by name. */
export function openRecord(path) {
  const found = statSync(path).isDirectory() ? folder(path) : unzip(readFileSync(path));
  return checkedNames(found);
}

function folder(root) {
  return readdirSync(root, { recursive: true, withFileTypes: true }).map((entry) => {
    if (!entry.isFile() && !entry.isDirectory()) throw new Malformed(`${entry.name} is neither a file nor a folder`);
    const path = join(entry.parentPath ?? entry.path, entry.name);
    const name = path.slice(join(root, "/").length);
    return entry.isFile() ? [name, readFileSync(path)] : [`${name}/`, null];
  });
}

/** The files by name; a name that two systems might take for another one is refused. */
function checkedNames(found) {
  const files = new Map();
  const [names, folders] = [new Set(), new Set()];
  for (const [name, bytes] of found) {
    const parts = name.replace(/\/$/, "").split("/");
    if (name.length > 255 || !parts.every((part) => /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/.test(part)))
      throw new Malformed(`a name that may not be: ${JSON.stringify(name)}`);
    parts.slice(1).forEach((_, i) => folders.add(parts.slice(0, i + 1).join("/").toLowerCase()));
    const plain = parts.join("/").toLowerCase();
    if (name.endsWith("/")) folders.add(plain);
    else if (names.has(plain)) throw new Malformed(`a name that is there twice: ${name}`);
    else names.add(plain) && files.set(name, bytes);
  }
  if (files.size > MOST_FILES) throw new Malformed("too many files");
  for (const name of names) if (folders.has(name)) throw new Malformed(`a file and a folder: ${name}`);
  return files;
}

/** A public key from PEM: [key id, key, the one PEM form of it]. */
export function readKey(pem) {
  const key = createPublicKey({ key: pem, format: "pem" });
  if (key.asymmetricKeyType !== "ed25519") throw new Malformed("not an Ed25519 key");
  const der = key.export({ type: "spki", format: "der" });
  const lines = der.toString("base64").match(/.{1,64}/g).join("\n");
  return { keyid: sha256(der), key, pem: `-----BEGIN PUBLIC KEY-----\n${lines}\n-----END PUBLIC KEY-----\n` };
}

function strictBase64(text) {
  const bytes = Buffer.from(text, "base64");
  if (bytes.toString("base64") !== text) throw new Malformed("base64 that is not strict");
  return bytes;
}

const PAYLOAD_TYPE = "application/vnd.in-toto+json";

/**
 * What an envelope holds: {statement, digest, keyids, problem}. `keyids` are those whose signatures hold;
 * `problem` says what is false about the envelope, null for nothing.
 */
export function readEnvelope(bytes, keys) {
  const found = { statement: null, digest: sha256(bytes), keyids: [], problem: null };
  try {
    const envelope = parseCanonical(bytes, "envelope");
    const { payload, payloadType, signatures } = envelope;
    if (!hasExactly(envelope, "payload", "payloadType", "signatures")) throw new Malformed("other members");
    if (payloadType !== PAYLOAD_TYPE || typeof payload !== "string") throw new Malformed("another payload type");
    const body = strictBase64(payload);
    found.statement = parseCanonical(body, "payload");
    const signed = Buffer.concat([Buffer.from(`DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${body.length} `), body]);
    if (!Array.isArray(signatures) || signatures.length === 0) throw new Malformed("no signature");
    let before = "";
    for (const signature of signatures) {
      const { keyid, sig } = signature ?? {};
      if (!hasExactly(signature, "keyid", "sig") || typeof keyid !== "string" || typeof sig !== "string" || keyid <= before)
        throw new Malformed("signatures are not in order of key ids, or have other members");
      before = keyid;
      if (!keys.has(keyid)) found.problem ??= `no public key ${keyid}`;
      else if (!verify(null, signed, keys.get(keyid), strictBase64(sig))) found.problem ??= `the signature of ${keyid} does not hold`;
      else found.keyids.push(keyid);
    }
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    found.problem = error.message;
  }
  return found;
}

/** The id of the git tree that a tar as `git archive` writes it holds. */
export function gitTree(tar) {
  const root = new Map();
  let at = 0;
  let long = null;
  while (at + 512 <= tar.length && tar[at] !== 0) {
    const text = (from, length) => tar.subarray(at + from, at + from + length).toString("utf8").replace(/\0[^]*$/, "");
    const size = parseInt(text(124, 12), 8);
    const data = tar.subarray(at + 512, at + 512 + size);
    const type = String.fromCharCode(tar[at + 156]);
    const name = long?.path ?? (text(345, 155) ? `${text(345, 155)}/${text(0, 100)}` : text(0, 100));
    const link = long?.linkpath ?? text(157, 100);
    long = type === "x" ? paxFields(data) : null;
    if (type === "0" || type === "\0") put(root, name, parseInt(text(100, 8), 8) & 0o100 ? "100755" : "100644", data);
    else if (type === "2") put(root, name, "120000", Buffer.from(link));
    else if (!"5gx".includes(type)) throw new Malformed(`a tar member of type ${type}`);
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return treeId(root).toString("hex");
}

function paxFields(data) {
  const fields = {};
  for (let at = 0; at < data.length; ) {
    const length = parseInt(data.subarray(at, data.indexOf(32, at)).toString(), 10);
    const [, name, value] = data.subarray(at, at + length).toString("utf8").match(/^\d+ ([^=]+)=([^]*)\n$/);
    fields[name] = value;
    at += length;
  }
  return fields;
}

function put(root, name, mode, data) {
  const parts = name.split("/");
  const last = parts.pop();
  const place = parts.reduce((tree, part) => tree.get(part) ?? tree.set(part, new Map()).get(part), root);
  if (!(place instanceof Map) || place.has(last)) throw new Malformed(`the tar has ${name} twice`);
  place.set(last, { mode, id: gitObject("blob", data) });
}

const gitObject = (kind, data) => createHash("sha1").update(`${kind} ${data.length}\0`).update(data).digest();

function treeId(tree) {
  const entries = [...tree].map(([name, child]) =>
    child instanceof Map ? { sort: `${name}/`, name, mode: "40000", id: treeId(child) } : { sort: name, name, ...child },
  );
  entries.sort((a, b) => byCodePoint(a.sort, b.sort));
  return gitObject("tree", Buffer.concat(entries.flatMap(({ mode, name, id }) => [Buffer.from(`${mode} ${name}\0`), id])));
}
