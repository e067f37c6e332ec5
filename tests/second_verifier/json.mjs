// Canonical JSON (docs/record.md, section 1) and the keywords of JSON Schema that the record's schemas use.
import { createHash } from "node:crypto";

export class Malformed extends Error {}

export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
export const digestOf = (value) => sha256(Buffer.from(canonical(value)));
export const same = (a, b) => canonical(a) === canonical(b);

/** The text of a value in RFC 8785's form. */
export function canonical(value) {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new Malformed("a number that JSON cannot write");
    return JSON.stringify(value);
  }
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw new Malformed("half a surrogate pair");
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  const names = Object.keys(value).sort(); // by UTF-16 code units
  return `{${names.map((name) => `${canonical(name)}:${canonical(value[name])}`).join(",")}}`;
}

/** The value in bytes that must be canonical JSON. */
export function parseCanonical(bytes, what) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const value = JSON.parse(text);
    if (canonical(value) !== text) throw new Malformed("not in canonical form");
    return value;
  } catch (error) {
    throw new Malformed(`${what}: ${error.message}`);
  }
}

export const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
export const hasExactly = (value, ...names) => isObject(value) && same(Object.keys(value).sort(), names.sort());

/** Names sorted by code point: UTF-8 bytes sort alike. */
export const byCodePoint = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b));

const KINDS = {
  null: (v) => v === null,
  boolean: (v) => typeof v === "boolean",
  number: (v) => typeof v === "number",
  integer: (v) => Number.isInteger(v),
  string: (v) => typeof v === "string",
  array: Array.isArray,
  object: isObject,
};

const KEYWORDS = {
  type: (kinds, v) => [kinds].flat().some((kind) => KINDS[kind](v)),
  const: (wanted, v) => same(wanted, v),
  enum: (values, v) => values.some((wanted) => same(wanted, v)),
  pattern: (text, v) => typeof v !== "string" || new RegExp(text, "u").test(v),
  minLength: (least, v) => typeof v !== "string" || [...v].length >= least,
  minimum: (least, v) => typeof v !== "number" || v >= least,
  maximum: (most, v) => typeof v !== "number" || v <= most,
  minItems: (least, v) => !Array.isArray(v) || v.length >= least,
  uniqueItems: (on, v) => !on || !Array.isArray(v) || new Set(v.map(canonical)).size === v.length,
  items: (schema, v, root) => !Array.isArray(v) || v.every((item) => fits(item, schema, root)),
  required: (names, v) => !isObject(v) || names.every((name) => Object.hasOwn(v, name)),
  properties: (schemas, v, root) =>
    !isObject(v) || Object.keys(schemas).every((n) => !Object.hasOwn(v, n) || fits(v[n], schemas[n], root)),
  additionalProperties: (schema, v, root, whole) =>
    !isObject(v) ||
    Object.keys(v).every((n) => Object.hasOwn(whole.properties ?? {}, n) || (schema !== false && fits(v[n], schema, root))),
  anyOf: (schemas, v, root) => schemas.some((schema) => fits(v, schema, root)),
  oneOf: (schemas, v, root) => schemas.filter((schema) => fits(v, schema, root)).length === 1,
  $ref: (path, v, root) => fits(v, root.$defs[path.slice("#/$defs/".length)], root),
};
const WORDS = new Set(["$schema", "$id", "$defs", "title", "description"]);

/** Whether a value fits a schema; a keyword that is not above is an error of this program, not of the value. */
export function fits(value, schema, root = schema) {
  return Object.entries(schema).every(([keyword, argument]) => {
    if (WORDS.has(keyword)) return true;
    if (!Object.hasOwn(KEYWORDS, keyword)) throw new Error(`no such keyword here: ${keyword}`);
    return KEYWORDS[keyword](argument, value, root, schema);
  });
}
