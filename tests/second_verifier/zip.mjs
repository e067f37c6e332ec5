// A zip reader that refuses what two readers might read differently (docs/record.md, section 2, the zip).
import { inflateRawSync } from "node:zlib";
import { Malformed } from "./json.mjs";

const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const MEMBER = 0x02014b50;
const LOCAL = 0x04034b50;
const DESCRIPTOR = 0x08074b50;
const NOWHERE = 0xffffffff;
const MIB = 2 ** 20;

const need = (holds, text) => {
  if (!holds) throw new Malformed(`the zip: ${text}`);
};
const u64 = (zip, at) => Number(zip.readBigUInt64LE(at));

/** All members by name; a folder is named with "/" behind it and has no bytes. */
export function unzip(zip) {
  try {
    const { count, from, to } = directory(zip);
    const members = list(zip, count, from, to);
    layOut(zip, members, from);
    return members.map(({ name, data }) => [name, data]);
  } catch (error) {
    if (error instanceof RangeError || error.code?.startsWith("Z_") || error.code === "ERR_BUFFER_TOO_LARGE")
      throw new Malformed(`the zip is damaged: ${error.message}`);
    throw error;
  }
}

/** Number of members, and where the central directory lies. */
function directory(zip) {
  const end = zip.length - 22;
  need(end >= 0 && zip.readUInt32LE(end) === END && zip.readUInt16LE(end + 20) === 0, "no end, or bytes behind it");
  need(zip.readUInt16LE(end + 4) === 0 && zip.readUInt16LE(end + 6) === 0, "several disks");
  let found = { here: zip.readUInt16LE(end + 8), count: zip.readUInt16LE(end + 10), size: zip.readUInt32LE(end + 12), from: zip.readUInt32LE(end + 16) };
  let to = end;
  if (end >= 20 && zip.readUInt32LE(end - 20) === LOCATOR64) {
    to = u64(zip, end - 12);
    need(to + 56 === end - 20 && zip.readUInt32LE(to) === END64 && u64(zip, to + 4) === 44, "a damaged zip64 end");
    need(zip.readUInt32LE(end - 16) === 0 && zip.readUInt32LE(end - 4) === 1, "several disks");
    need(zip.readUInt32LE(to + 16) === 0 && zip.readUInt32LE(to + 20) === 0, "several disks");
    const wide = { here: u64(zip, to + 24), count: u64(zip, to + 32), size: u64(zip, to + 40), from: u64(zip, to + 48) };
    const narrow = { here: 0xffff, count: 0xffff, size: NOWHERE, from: NOWHERE };
    for (const field of Object.keys(wide)) need([wide[field], narrow[field]].includes(found[field]), "its two ends disagree");
    found = wide;
  }
  need(found.here === found.count, "several disks");
  need(found.from + found.size === to, "bytes between its members");
  return { count: found.count, from: found.from, to };
}

function list(zip, count, from, to) {
  const members = [];
  let at = from;
  for (let i = 0; i < count; i++) {
    need(at + 46 <= to && zip.readUInt32LE(at) === MEMBER, "a damaged directory");
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((o) => zip.readUInt16LE(at + o));
    const extra = zip.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength);
    const wide = wideSizes(extra);
    const pick = (o) => (zip.readUInt32LE(at + o) === NOWHERE ? wide() : zip.readUInt32LE(at + o));
    need(commentLength === 0 && zip.readUInt16LE(at + 34) === 0, "a comment, or several disks");
    const size = pick(24);
    const packed = pick(20);
    const offset = pick(42);
    const kind = (zip.readUInt32LE(at + 38) >>> 16) & 0o170000;
    const name = zip.subarray(at + 46, at + 46 + nameLength).toString("latin1");
    need([0, name.endsWith("/") ? 0o040000 : 0o100000].includes(kind), `${name} is neither a file nor a folder`);
    members.push({ name, flags: zip.readUInt16LE(at + 8), method: zip.readUInt16LE(at + 10), size, packed, offset });
    at += 46 + nameLength + extraLength + commentLength;
  }
  need(at === to, "bytes behind its members");
  return members;
}

/** The 64-bit fields of an extra field, one at each call; a second name is refused. */
function wideSizes(extra) {
  let wide = Buffer.alloc(0);
  for (let at = 0; at < extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    const id = extra.readUInt16LE(at);
    need(id !== 0x7075 && id !== 0x6375, "a member has a second name");
    need(at + 4 + extra.readUInt16LE(at + 2) <= extra.length, "a damaged extra field");
    if (id === 1) wide = extra.subarray(at + 4, at + 4 + extra.readUInt16LE(at + 2));
  }
  let next = 0;
  return () => u64(wide, (next += 8) - 8);
}

/** Unpack the members; they lie one behind the other from the first byte to the directory. */
function layOut(zip, members, to) {
  let at = 0;
  for (const member of [...members].sort((a, b) => a.offset - b.offset)) {
    need(member.offset === at, "bytes between its members, or members that overlap");
    at = unpack(zip, member);
  }
  need(at === to, "bytes between its members");
}

function unpack(zip, member) {
  const { name, flags, method, size, packed, offset } = member;
  const [nameLength, extraLength] = [zip.readUInt16LE(offset + 26), zip.readUInt16LE(offset + 28)];
  const from = offset + 30 + nameLength + extraLength;
  need(zip.readUInt32LE(offset) === LOCAL, "a damaged local header");
  need(zip.subarray(offset + 30, offset + 30 + nameLength).toString("latin1") === name, `${name} has two names`);
  need(zip.readUInt16LE(offset + 6) === flags && zip.readUInt16LE(offset + 8) === method, `${name} has two headers that disagree`);
  need((flags & ~0x080e) === 0 && [0, 8].includes(method), `${name} is encrypted, or packed in another way`);
  const wide = wideSizes(zip.subarray(offset + 30 + nameLength, from));
  const pick = (o) => (zip.readUInt32LE(offset + o) === NOWHERE ? wide() : zip.readUInt32LE(offset + o));
  const local = [pick(22), pick(18)];
  const later = (flags & 8) !== 0;
  need([size, packed].every((wanted, i) => local[i] === wanted || (later && local[i] === 0)), `${name} has two sizes`);
  need(size < MIB || size <= 200 * packed, `${name} unpacks to too much`);
  const stored = zip.subarray(from, from + packed);
  need(stored.length === packed, `${name} is cut off`);
  member.data = method === 0 ? stored : inflate(stored, size);
  need(member.data.length === size && !(name.endsWith("/") && size > 0), `${name} has another size`);
  return from + packed + (later ? descriptor(zip, from + packed, member) : 0);
}

/** Unpack, and refuse bytes behind the end of the packed stream. */
function inflate(stored, size) {
  const { buffer, engine } = inflateRawSync(stored, { maxOutputLength: size + 1, info: true });
  need(engine.bytesWritten === stored.length, "bytes behind a packed member");
  return buffer;
}

/** Length of the data descriptor, with or without its mark, of 32 or 64 bits. */
function descriptor(zip, at, { packed, size }) {
  const mark = zip.readUInt32LE(at) === DESCRIPTOR ? 4 : 0;
  if (zip.readUInt32LE(at + mark + 4) === packed && zip.readUInt32LE(at + mark + 8) === size) return mark + 12;
  need(u64(zip, at + mark + 4) === packed && u64(zip, at + mark + 12) === size, "a descriptor of another member");
  return mark + 20;
}
