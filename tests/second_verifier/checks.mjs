// The checks of levels 1 and 2, offline (docs/record.md, section 7); each function has the number of its check.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { Malformed, byCodePoint, canonical, digestOf, fits, hasExactly, isObject, parseCanonical, same, sha256 } from "./json.mjs";
import { compare, spent } from "./decision.mjs";
import { gitTree, readEnvelope, readKey } from "./record.mjs";

const SCHEMAS = new URL("../../drl/schemas/", import.meta.url);
const schema = (name) => JSON.parse(readFileSync(new URL(`${name}.json`, SCHEMAS)));
const FRAME = schema("statement");
const PROVENANCE = "https://slsa.dev/provenance/v1";
const MODEL_SIGNATURE = "https://model_signing/signature/v1.0";
const PREDICATES = new Map([[PROVENANCE, schema("provenance")], [MODEL_SIGNATURE, schema("model_signature")]]);
for (const file of readdirSync(new URL("predicates/", SCHEMAS))) {
  const found = schema(`predicates/${file.slice(0, -".json".length)}`);
  PREDICATES.set(found.$id, found);
}
const RELEASE_DEFS = PREDICATES.get("urn:drl:predicate:release:v1");

const STEPS = ["prepare", "train", "evaluate"];
const KINDS = Object.fromEntries(
  ["intent", "validation", "evaluation", "approval", "release", "promotion"].map((n) => [n, `urn:drl:predicate:${n}:v1`]),
);
for (const step of STEPS) KINDS[step] = PROVENANCE;
for (const name of ["release", "promotion"]) KINDS[`champion/${name}`] = KINDS[name];
KINDS.model = MODEL_SIGNATURE;
const POLICY_FILES = ["policy.json", "policy.onnx", "policy.safetensors"];
const DOCUMENTS = ["resolved.json", "opening.json", "closing.json", "account.json", "promotion.note.json"];
const LEVELS = { 1: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 22, 27, 28, 29, 32], 2: [14, 15, 16, 17, 18, 21] };
const NEEDED = new Set([1, 2, 3, 4, 5, 6, 7, 8, 9, 14, 15, 16, 17, 18, 21]);

/** Begins the one finding that is NOT CHECKED and does not count against its level. */
const AWAY = "data that did not travel: ";

class False extends Error {}
class Untold extends Error {}

const need = (holds, text) => {
  if (!holds) throw new False(text);
};
const kindOf = (statement) => statement.predicateType.split(":").at(-2);
const position = ({ receipt }) => [receipt.block_number, receipt.log_index];
const isBehind = (a, b) => {
  const [[p, q], [r, s]] = [position(a), position(b)];
  return p > r || (p === r && q > s);
};
const root = (files) => {
  const sorted = [...files].sort((a, b) => byCodePoint(a.name, b.name));
  need(new Set(sorted.map((f) => f.name)).size === sorted.length, "a name is listed twice");
  return sha256(Buffer.concat(sorted.map((f) => Buffer.from(f.digest.sha256, "hex"))));
};
const byName = (list) => {
  const map = new Map(list.map((item) => [item.name, item]));
  need(map.size === list.length, "a name is there twice");
  return map;
};

/** Everything in the record that other checks use; what is not there, or does not fit, is asked for in vain. */
class Record {
  constructor(files, trust) {
    this.files = files;
    this.trust = trust;
    this.keys = new Map();
    this.keyProblem = null;
    for (const [name, bytes] of files) if (name.startsWith("keys/")) this.readKeyFile(name, bytes);
    for (const { key, keyid } of trust?.keys ?? []) if (key) this.keys.set(keyid, key);
    this.envelopes = new Map();
    for (const [name, bytes] of files)
      if (name.endsWith(".dsse.json")) this.envelopes.set(name.slice(0, -".dsse.json".length), readEnvelope(bytes, this.keys));
  }

  readKeyFile(name, bytes) {
    try {
      const { keyid, key, pem } = readKey(bytes);
      if (name !== `keys/${keyid}.pem` || pem !== bytes.toString("latin1")) throw new Error("not the key of its name, in its one form");
      this.keys.set(keyid, key);
    } catch (error) {
      this.keyProblem ??= `${name}: ${error.message}`;
    }
  }

  /** Whether an envelope is there that holds, and whose statement fits its schema. */
  isTrue(name) {
    const found = this.envelopes.get(name);
    return found !== undefined && found.problem === null && misfit(found.statement) === null;
  }
  /** The same, and of the type that the file's name says. */
  isUsable(name) {
    return this.isTrue(name) && (!Object.hasOwn(KINDS, name) || KINDS[name] === this.envelopes.get(name).statement.predicateType);
  }
  envelope(name) {
    if (!this.isUsable(name)) throw new Untold(`rests on ${name}.dsse.json, which is not there or is false`);
    return this.envelopes.get(name);
  }
  /** The envelopes that hold, by name. */
  get holding() {
    return [...this.envelopes].filter(([, { problem }]) => problem === null);
  }
  has(name) {
    return this.envelopes.has(name);
  }
  statement(name) {
    return this.envelope(name).statement;
  }
  predicate(name) {
    return this.statement(name).predicate;
  }
  get resolved() {
    return this.predicate("intent").resolved;
  }
  get spec() {
    return this.resolved.spec;
  }
  get steps() {
    return this.spec.data === null ? STEPS.slice(1) : STEPS;
  }
  /** A document in its form. It is false under the checks that are about it (`own`); others rest on it. */
  document(name, own = false) {
    return this.inForm(name, own, () => {
      need(this.files.has(name), `${name} is not there`);
      return parseCanonical(this.files.get(name), name);
    });
  }
  inForm(name, own, read) {
    try {
      return read();
    } catch (error) {
      if (own || error instanceof Untold) throw error;
      throw new Untold(`rests on ${name}, which is false: ${error.message}`);
    }
  }
  /** An entry in a file, without its further anchors. */
  entry(name, kind, own = false, value = this.document(name, own)) {
    return this.inForm(name, own, () => {
      need(isObject(value), `${name} is no entry`);
      const { anchors, ...entry } = value;
      need(anchors === undefined || (Array.isArray(anchors) && anchors.every((a) => typeof a?.type === "string")), `${name}: anchors are no list of typed objects`);
      need(isEntry(entry) && entry.entry === kind, `${name} is no ${kind} of section 6`);
      return entry;
    });
  }
  opening(own = false) {
    return this.entry("opening.json", "opening", own, this.document("opening.json", own)?.entry);
  }
  closing(own = false) {
    return this.entry("closing.json", "closing", own);
  }
  /** The account's entries, in form and in order. */
  account(own = false) {
    return this.inForm("account.json", own, () => {
      const account = this.document("account.json", true);
      isAccount(account);
      isOfRun(this, account);
      return account;
    });
  }
  accountOrNone() {
    try {
      return this.account();
    } catch (error) {
      if (!(error instanceof Untold)) throw error;
      return { entries: null };
    }
  }
  /** The digest of a file that the evidence names. */
  evidenceDigest(name) {
    const resource = this.predicate("release").evidence.resources.find((r) => r.name === name);
    need(resource, `the evidence does not name ${name}`);
    return resource.digest.sha256;
  }
  evidence(name) {
    const digest = this.evidenceDigest(name);
    const bytes = this.files.get(`sha256/${digest}`);
    need(bytes && sha256(bytes) === digest, `${name} is not there with its digest`);
    return bytes;
  }
  parameters(step) {
    return this.predicate(step).buildDefinition.externalParameters.parameters;
  }
  /** Names of the later statements, and of the note file beside each. */
  get later() {
    return [...this.envelopes.keys()].filter((name) => name === "promotion" || name.startsWith("notes/")).sort();
  }
  /** Names of the statements about earlier runs that hold and have a note. */
  get since() {
    return [...this.envelopes.keys()].filter((name) => name.startsWith("champion/notes/") && this.isTrue(name) && this.files.has(`${name}.note.json`));
  }
  note(name, own = false) {
    return this.entry(`${name}.note.json`, "note", own);
  }
}

const DEFS = { ...RELEASE_DEFS.$defs, digest: { type: "string", pattern: "^[0-9a-f]{64}$" } };
const ENTRIES = {
  opening: RELEASE_DEFS.properties.opening,
  closing: entrySchema({ entry: { const: "closing" }, record: { $ref: "#/$defs/digest" }, verdict: { enum: ["PROMOTE", "HOLD", "REJECT"] } }),
  note: entrySchema({ entry: { const: "note" }, statement: { $ref: "#/$defs/digest" } }),
};
function entrySchema(properties) {
  const all = { ...properties, receipt: { $ref: "#/$defs/receipt" } };
  return { type: "object", properties: all, required: Object.keys(all), additionalProperties: false };
}
const isEntry = (value) => Object.hasOwn(ENTRIES, value?.entry) && fits(value, ENTRIES[value.entry], { $defs: DEFS });

/** What is wrong with a statement's form, null for nothing. */
function misfit(statement) {
  if (!fits(statement, FRAME)) return "does not fit the frame";
  const predicate = PREDICATES.get(statement.predicateType);
  if (!predicate) return `has an unknown type ${statement.predicateType}`;
  if (!fits(statement.predicate, predicate)) return "does not fit the schema of its type";
  const names = statement.subject.map((s) => s.name);
  const sorted = [...new Set(names)].sort(byCodePoint);
  return same(names, sorted) ? null : "has subjects that are not sorted, or twice there";
}

const CHECKS = {
  1(r) {
    need(r.keyProblem === null, r.keyProblem);
    need(r.envelopes.size > 0, "no envelope");
    for (const [name, { problem }] of r.envelopes) need(problem === null, `${name}: ${problem}`);
    return `${r.envelopes.size} envelopes are canonical and their signatures hold`;
  },
  2(r) {
    for (const [name, { statement }] of r.holding) {
      const problem = misfit(statement);
      need(!problem, `${name} ${problem}`);
    }
    return "statements fit their schemas";
  },
  3(r) {
    const { subject, predicate } = r.statement("intent");
    const { resolved } = predicate;
    const digest = digestOf(resolved);
    need(same(subject, [{ name: "resolved.json", digest: { sha256: digest } }]), "the intent is about another file than it embeds");
    need(r.files.has("resolved.json") && sha256(r.files.get("resolved.json")) === digest, "resolved.json is not what the intent embeds");
    const { seeds } = resolved.spec.training;
    const wanted = Array.isArray(seeds)
      ? { origin: "owner-chosen", values: seeds }
      : { origin: "opening-block", scheme: "drl seeds v1", count: seeds };
    const follows = { pipeline: resolved.spec.pipeline, run: resolved.run, test_data: resolved.test_data, seeds: wanted, resolved };
    need(same(follows, predicate), "pipeline, run, test data or seeds of the intent do not follow from the resolved run");
    return `the intent is about ${resolved.run}`;
  },
  4(r) {
    for (const name of ["intent", "release"]) {
      need(r.has(name), `a record needs a ${name}`);
      need((r.envelopes.get(name).statement?.predicateType ?? KINDS[name]) === KINDS[name], `${name} is of another kind`);
    }
    const { statements, intent } = r.predicate("release");
    const wanted = ["intent", "train", "evaluate", "evaluation", "model"];
    if (r.spec.data !== null) wanted.push("prepare", "validation");
    if (r.has("approval")) wanted.push("approval");
    for (const name of wanted) need(r.isTrue(name), `${name}.dsse.json is not there, or is false`);
    const listed = wanted.map((name) => ({ name: `${name}.dsse.json`, digest: { sha256: r.envelopes.get(name).digest } }));
    listed.sort((a, b) => byCodePoint(a.name, b.name));
    need(same(statements, listed), "the release does not list the run's statements as they are");
    need(intent === r.envelopes.get("intent").digest, "the release names another intent");
    for (const name of wanted) {
      need(r.envelopes.get(name).statement?.predicateType === KINDS[name], `${name} is of another kind`);
      const { predicate } = r.statement(name);
      const build = predicate.buildDefinition;
      need(!build || build.buildType === `urn:drl:build:${name}:v1`, `${name} is the provenance of another step`);
      if (name !== "intent" && name !== "model") need((build?.externalParameters ?? predicate).intent === intent, `${name} names another intent`);
    }
    return `the release lists ${wanted.length} statements of one intent`;
  },
  5(r) {
    const { policy, evidence } = r.predicate("release");
    const champion = r.resolved.champion ? championFiles(r.resolved.champion) : [];
    const mayStayAway = dataThatMayStayAway(r.spec.data);
    const away = [];
    for (const { name, digest, annotations } of [...policy.resources, ...evidence.resources, ...champion]) {
      const bytes = r.files.get(`sha256/${digest.sha256}`);
      if (!bytes && mayStayAway.includes(name)) away.push(name);
      else need(bytes && bytes.length === annotations.size && sha256(bytes) === digest.sha256, `${name} is not there with its digest and size`);
    }
    for (const list of [policy, evidence]) {
      need(root(list.resources) === list.root, "a root does not follow from its list");
      need(same(list.resources, [...list.resources].sort((a, b) => byCodePoint(a.name, b.name))), "a list is not sorted");
    }
    need(same(policy.resources.map((f) => f.name), POLICY_FILES), "the policy has other files than its three");
    if (r.resolved.champion) {
      need(same(champion.map((f) => f.name).sort(), POLICY_FILES), "the champion has other files than its three");
      need(root(champion) === r.resolved.champion.model_root, "the champion's root does not follow from its files");
    }
    const subject = [{ name: r.spec.registration.model, digest: { sha256: policy.root } }];
    for (const name of ["release", "evaluation", "approval", "model", "promotion"])
      if (r.isUsable(name)) need(same(r.statement(name).subject, subject), `${name} is about another model`);
    const signed = policy.resources.map(({ name, digest }) => ({ name, algorithm: "sha256", digest: digest.sha256 }));
    if (r.isUsable("model")) need(same(r.predicate("model").resources, signed), "the model's signature is of other files");
    const kept = new Set([...policy.resources, ...evidence.resources, ...champion].map((f) => `sha256/${f.digest.sha256}`));
    for (const [name, { keyids }] of r.holding) if (r.isUsable(name)) keyids.forEach((keyid) => kept.add(`keys/${keyid}.pem`));
    for (const name of r.files.keys()) need(kept.has(name) || isPlace(name, r.resolved.champion), `nothing names the file ${name}`);
    const holds = ["RECOMPUTED", "files and roots hold"];
    return away.length === 0 ? holds : [...holds, "NOT CHECKED", AWAY + away.join(", ")];
  },
  6(r) {
    const entry = r.opening(true);
    const resolved = r.resolved;
    need(same(entry, r.predicate("release").opening), "opening.json has another opening than the release");
    need(entry.intent === r.envelopes.get("intent").digest, "the opening is of another intent");
    need(entry.test_data === resolved.test_data, "the opening names other test data");
    need(entry.receipt.pipeline === pipelineId(r.spec.pipeline), "the opening is of another pipeline");
    isInAccount(r, entry);
    return ["CLAIMED", `run ${entry.receipt.run} was opened with the intent`];
  },
  7(r) {
    const run = r.opening().receipt.run;
    if (!r.files.has("closing.json") && !r.accountOrNone().entries?.some((e) => e.entry === "closing" && e.receipt.run === run))
      throw new Untold("the run was not closed");
    const entry = r.closing(true);
    need(entry.record === r.envelope("release").digest, "the closing is of another release");
    need(entry.verdict === r.predicate("release").verdict, "the closing has another verdict");
    need(isBehind(entry, r.opening()), "the closing is not behind the opening");
    isInAccount(r, entry);
    return ["CLAIMED", `closed with ${entry.verdict}`];
  },
  8(r) {
    const opening = r.document("opening.json", true);
    need(hasExactly(opening, "entry", "seeds", "seeds_from", "alpha"), "opening.json has other members");
    const { seeds } = r.predicate("intent");
    const chosen = seeds.origin === "owner-chosen";
    const wanted = chosen ? seeds.values : seedsOf(r.envelopes.get("intent").digest, r.opening(true).receipt.block_hash, seeds.count);
    need(opening.seeds_from === (chosen ? "owner-chosen" : "drl seeds v1"), "opening.json names another origin of the seeds");
    need(same(opening.seeds, wanted.map(String)), "the seeds of opening.json do not follow");
    need(same(r.parameters("train"), { seeds: wanted.map(String) }), "the seeds of training do not follow");
    return [chosen ? "CLAIMED" : "RECOMPUTED", `seeds ${wanted.join(", ")}`];
  },
  9(r) {
    const outputs = new Map([["resolved.json", digestOf(r.resolved)]]);
    const evidence = new Map();
    for (const step of r.steps) {
      const { subject, predicate } = r.statement(step);
      const allowed = new Map(outputs);
      if (step === "evaluate")
        for (const { name, sha256 } of r.resolved.champion?.files ?? []) allowed.set(`champion/${name}`, sha256);
      if (r.spec.data !== null) allowed.set("source", r.spec.data.source.sha256);
      for (const { name, digest } of predicate.buildDefinition.resolvedDependencies)
        if (digest.sha256) need(allowed.get(name) === digest.sha256, `${step} took ${name}, which no step made`);
      for (const { name, digest } of [...subject, ...predicate.runDetails.byproducts.filter((b) => b.digest)]) {
        need(!evidence.has(`${step}/${name}`), `${step} made ${name} twice`);
        evidence.set(`${step}/${name}`, digest.sha256);
        outputs.set(name, digest.sha256);
      }
    }
    const { archive } = r.resolved.code;
    if (archive !== null) evidence.set("source.tar", archive.sha256);
    const named = r.predicate("release").evidence.resources.map((f) => [f.name, f.digest.sha256]);
    need(same(named, [...evidence].sort(([a], [b]) => byCodePoint(a, b))), "the evidence is not what the steps made");
    return `${evidence.size} files made by the steps`;
  },
  10(r) {
    for (const name of r.later) {
      need(r.isUsable(name), `${name}.dsse.json is false, so its note has no statement`);
      const { statement, digest } = r.envelope(name);
      need(r.files.has(`${name}.note.json`), `${name} was never noted`);
      const note = r.note(name, true);
      need(note.statement === digest, `the note of ${name} is of another statement`);
      need(isBehind(note, r.closing()), `the note of ${name} is not behind the closing`);
      isInAccount(r, note);
      isAboutThisRun(r, name, statement);
    }
    for (const name of r.files.keys())
      if (name.endsWith(".note.json") && !name.startsWith("champion/")) need(r.has(name.slice(0, -".note.json".length)), `${name} is of no statement`);
    for (const { statement } of revocations(r))
      need(statement.predicate.what === "key", `revoked: ${statement.predicate.reason}`);
    return ["CLAIMED", r.later.length ? `later statements: ${r.later.join(", ")}` : "no later statement"];
  },
  11(r) {
    const { entries } = r.account();
    const of = (kind) => entries.filter((e) => e.entry === kind);
    const verdicts = of("closing").map((e) => e.verdict);
    const runs = new Set(of("closing").map((e) => e.receipt.run));
    const looks = {};
    for (const e of of("opening")) if (e.test_data) looks[e.test_data] = Math.max(looks[e.test_data] ?? 0, e.look);
    const never = of("opening").filter((e) => !runs.has(e.receipt.run)).length;
    return ["CLAIMED", `${of("opening").length} opened; closed: ${verdicts.join(", ")}; never closed: ${never}; looks: ${canonical(looks)}`];
  },
  12(r) {
    if (!r.trust) throw new Untold("no trust policy says who may sign what");
    for (const [name, { statement, keyids }] of r.holding) {
      if (misfit(statement)) continue;
      const roles = rolesFor(statement);
      const trusted = keyids.some((keyid) => r.trust.allows(keyid, roles, timeOf(r, name)) && !isRevoked(r, keyid, timeOf(r, name)));
      need(trusted || kindOf(statement) === "reproduction", `${name} is not signed by a key that may`);
    }
    return "every statement is signed by a key of the trust policy";
  },
  13(r) {
    if (!r.trust) throw new Untold("no trust policy says what is accepted");
    const { pipelines, sources, rule = {} } = r.trust;
    const { promotion, pipeline } = r.spec;
    need(!pipelines || pipelines.includes(pipeline), `pipeline ${pipeline} is not accepted`);
    need(!sources?.commits || sources.commits.includes(r.resolved.code.commit), "the source commit is not accepted");
    need(!(promotion.alpha > (rule.alpha_at_most ?? Infinity)), "alpha is too large");
    need(!(promotion.margin < (rule.margin_at_least ?? -Infinity)), "the margin is too small");
    need(!(promotion.guard.margin > (rule.guard_margin_at_most ?? Infinity)), "the guard's margin is too large");
    need(!rule.gates || rule.gates.includes(promotion.gate), "the gate is not accepted");
    return "pipeline, rule and commit are accepted";
  },
  14(r) {
    const value = parseCanonical(r.evidence("evaluate/evaluation.json"), "evaluation.json");
    const { spec, resolved } = r;
    const { returns, labels } = readEpisodes(r);
    const championRoot = resolved.champion?.model_root ?? null;
    const modelRoot = r.predicate("release").policy.root;
    need(typeof value.alpha === "number" && value.alpha > 0 && value.alpha < 1, "alpha is no probability");
    const wanted = {
      format: "drl.evaluation/1",
      pipeline: spec.pipeline,
      unit: spec.evaluation.unit,
      protocol: {
        rollouts: spec.evaluation.episodes,
        seed: spec.evaluation.seed,
        episodes: labels.length,
        first: labels[0],
        last: labels.at(-1),
        test_data: spec.data === null ? null : r.evidenceDigest("prepare/test.npy"),
      },
      alpha: value.alpha,
      model_root: modelRoot,
      champion_root: championRoot,
      ...compare(spec, returns, value.alpha, championRoot === modelRoot),
      validation: value.validation,
      onnx: value.onnx,
    };
    for (const name of Object.keys(wanted)) need(Object.hasOwn(value, name) && same(value[name], wanted[name]), `evaluation.json: ${name} does not follow`);
    need(same(value, wanted), "evaluation.json has other members");
    return `${value.decision.verdict} follows from ${labels.length} episodes`;
  },
  15(r) {
    const alpha = spent(r.spec.promotion, r.opening(true).look);
    need(r.document("opening.json", true).alpha === alpha, "opening.json has another alpha");
    need(parseCanonical(r.evidence("evaluate/evaluation.json"), "evaluation.json").alpha === alpha, "evaluation.json has another alpha");
    need(r.parameters("evaluate").alpha === alpha, "the evaluate step was given another alpha");
    return `alpha ${alpha}`;
  },
  16(r) {
    const selection = parseCanonical(r.evidence("train/selection.json"), "selection.json");
    const { means, released } = selection;
    need(Array.isArray(means) && means.every((m) => typeof m === "number"), "means are no numbers");
    const { training, evaluation } = r.spec;
    const wanted = {
      format: "drl.selection/1",
      rule: "highest mean return per validation episode; ties go to the lowest seed index",
      seed: evaluation.seed + evaluation.episodes,
      episodes: selection.episodes,
      means,
      released: means.indexOf(Math.max(...means)),
    };
    need(same(selection, wanted), "selection.json does not follow from its means");
    need(Number.isInteger(selection.episodes), "no number of validation episodes");
    need(means.length === (Array.isArray(training.seeds) ? training.seeds.length : training.seeds), "not one mean for each seed");
    for (const { name, digest } of r.predicate("release").policy.resources)
      need(r.evidenceDigest(`train/seed-${released}/${name}`) === digest.sha256, `${name} is not of the released seed`);
    const { validation } = parseCanonical(r.evidence("evaluate/evaluation.json"), "evaluation.json");
    need(same(validation ?? null, selection), "evaluation.json has another selection");
    const { alpha, ...given } = r.parameters("evaluate");
    need(alpha !== undefined && same(given, { released, champion_root: r.resolved.champion?.model_root ?? null }), "the evaluate step was given another seed or champion");
    return `seed ${released} is the best on validation`;
  },
  17(r) {
    const value = parseCanonical(r.evidence("evaluate/evaluation.json"), "evaluation.json");
    const { participants, decision, evidence } = r.predicate("evaluation");
    const kinds = new Map(r.spec.evaluation.baselines.map((b) => [b.name, b.kind]));
    const roots = new Map([["policy", r.predicate("release").policy.root], ["champion", r.resolved.champion?.model_root]]);
    const wanted = Object.keys(value.actors).sort(byCodePoint).map((name) => ({
      name,
      kind: kinds.get(name) ?? "policy",
      root: kinds.has(name) ? null : roots.get(name),
      mean: value.actors[name].mean.estimate,
      files: ["episodes.jsonl", `actions/${name}.npy`],
    }));
    need(same(decision, value.decision), "the signed decision is not evaluation.json's");
    need(same(participants, wanted), "the signed participants are not evaluation.json's");
    const prefix = "evaluate/";
    const files = r.predicate("release").evidence.resources.filter((f) => f.name.startsWith(prefix));
    need(same(evidence, files.map((f) => ({ ...f, name: f.name.slice(prefix.length) }))), "the signed files are not the release's");
    return "the signed evaluation is evaluation.json's";
  },
  18(r) {
    const { decision } = parseCanonical(r.evidence("evaluate/evaluation.json"), "evaluation.json");
    const { verdict, reason } = r.predicate("release");
    const wanted = outcome(r, decision);
    need(verdict === wanted.verdict && reason === wanted.reason, `the release should say ${wanted.verdict}: ${wanted.reason}`);
    return `${verdict}, as decision, code and approval give`;
  },
  21(r) {
    const { model } = r.spec.registration;
    const { champion } = r.resolved;
    const opening = r.opening();
    if (champion) {
      need(champion.model === model, "the champion is of another model");
      need(same(champion.files.map((f) => f.name).sort(), POLICY_FILES), "the champion has other files than its three");
      need(root(championFiles(champion)) === champion.model_root, "the champion's root does not follow from its files");
    }
    const { entries } = r.account();
    const note = champion ? promotionOf(r, champion, opening, entries) : null;
    const later = laterNotes(entries, opening, note);
    const held = statementsSince(r, later);
    const missing = later.find((e) => !held.has(e.statement));
    if (missing) throw new Untold(`a statement noted of run ${missing.receipt.run} is not there`);
    let left = champion ? { version: String(champion.version), root: champion.model_root } : null;
    for (const { statement } of later) left = championAfter(left, held.get(statement), model);
    const named = champion ? { version: String(champion.version), root: champion.model_root } : null;
    need(same(left, named), "another policy was the champion at the opening");
    return ["CLAIMED", `${champion ? `version ${champion.version}` : "no policy"} was the champion, after ${later.length} later notes`];
  },
  22(r) {
    const { code } = r.resolved;
    for (const step of r.steps) {
      const { internalParameters, resolvedDependencies } = r.predicate(step).buildDefinition;
      const commits = resolvedDependencies.filter((d) => d.digest.gitCommit).map((d) => [d.name, d.digest.gitCommit]);
      need(same(commits, code.commit === null ? [] : [["code", code.commit]]), `${step} names another commit`);
      need(internalParameters.code_dirty === code.dirty, `${step} says something else about the working tree`);
    }
    if (code.dirty !== false) throw new Untold("the source tree had uncommitted changes, or nobody knows");
    if (code.archive === null) throw new Untold(`look at commit ${code.commit}`);
    need(gitTree(r.evidence("source.tar")) === code.tree, "source.tar is another tree");
    return `source.tar is tree ${code.tree}`;
  },
  27(r) {
    const { data, evaluation, environment } = r.spec;
    const wanted = data === null
      ? { environment, episodes: evaluation.episodes, seed: evaluation.seed }
      : { source: data.source.sha256, test: data.splits.test };
    need(r.resolved.test_data === digestOf(wanted), "the held-out data are named by another digest");
    if (r.isUsable("evaluation")) need(r.predicate("evaluation").test_data === r.resolved.test_data, "the evaluation names other held-out data");
    if (data !== null) {
      const { train, validation, test } = data.splits;
      const ends = [train.from, train.to, validation.from, validation.to, test.from, test.to].map((t) => Date.parse(t));
      const strict = [true, false, true, false, true];
      need(strict.every((less, i) => (less ? ends[i] < ends[i + 1] : ends[i] <= ends[i + 1])), "the windows overlap");
    }
    return "the held-out data are what their digest says";
  },
  28(r) {
    const receipts = [r.opening(), r.closing(), ...r.later.map((name) => r.note(name))].map((e) => e.receipt);
    const place = ({ chain_id, genesis, contract, writer, pipeline, run }) => ({ chain_id, genesis, contract, writer, pipeline, run });
    for (const receipt of receipts) need(same(place(receipt), place(receipts[0])), "receipts name different runs or ledgers");
    const pinned = r.trust?.ledger;
    for (const name of ["chain_id", "genesis", "contract"])
      need(pinned?.[name] === undefined || pinned[name] === receipts[0][name], `the trust policy pins another ${name}`);
    need(!pinned?.writers || pinned.writers.includes(receipts[0].writer), "the trust policy pins other writers");
    throw new Untold("the ledger was not asked");
  },
  29(r) {
    r.account(true);
    throw new Untold("the ledger was not asked whether these are all");
  },
  30(r) {
    return ["CLAIMED", standing(r)];
  },
  32(r) {
    if (r.spec.data === null) return "no data, nothing to validate";
    const { subject, predicate } = r.statement("validation");
    const made = byName(r.statement("prepare").subject);
    const splits = ["test.parquet", "train.parquet", "validation.parquet"];
    need(same(subject, splits.map((name) => made.get(name) ?? null)), "the validation is of other files");
    need(predicate.result.name === "expectations.json" && made.get("expectations.json")?.digest.sha256 === predicate.result.digest.sha256, "the validation has another result");
    const result = JSON.parse(r.evidence("prepare/expectations.json").toString("utf8"));
    need(result.success === true && result.results.every((one) => one.success === true), "an expectation failed");
    need(same(predicate.expectations, { evaluated: result.results.length, failed: 0 }), "the expectations are counted wrongly");
    const cleaning = JSON.parse(r.evidence("prepare/cleaning.json").toString("utf8"));
    need(same(predicate.cleaning, cleaning.map(({ rule, touched }) => ({ rule, touched }))), "cleaning.json says something else");
    return "the validation is of the files that prepare made";
  },
};

const championFiles = ({ files }) => files.map(({ name, sha256, size }) => ({ name, digest: { sha256 }, annotations: { size } }));

/** The note that promoted the champion, after everything about it held (check 21). */
function promotionOf(r, champion, opening, entries) {
  if (champion.promotion === null) throw new Untold("the intent names no promotion of the champion");
  const [release, promotion] = ["release", "promotion"].map((name) => {
    need(r.has(`champion/${name}`), `champion/${name} is not there`);
    const found = r.envelope(`champion/${name}`);
    need(found.digest === champion[name], `champion/${name} is not the one that the intent names`);
    return found;
  });
  const subject = [{ name: champion.model, digest: { sha256: champion.model_root } }];
  for (const { statement } of [release, promotion]) need(same(statement.subject, subject), "the champion's statements are about another policy");
  const files = championFiles(champion).sort((a, b) => byCodePoint(a.name, b.name));
  need(same(release.statement.predicate.policy.resources, files), "the champion's release is of other files");
  const { release: of, version, alias, outcome } = promotion.statement.predicate;
  need(of === release.digest && version === String(champion.version), "the promotion is of another release or version");
  need(alias === "champion" && outcome === "promoted", "the promotion promotes nothing");
  const note = r.note("champion/promotion", true);
  need(note.statement === promotion.digest, "the note is of another promotion");
  if (!same(placeOf(note), placeOf(opening))) throw new Untold("promoted by another pipeline, or on another ledger");
  const closed = (e) => e.entry === "closing" && e.record === release.digest && e.verdict === "PROMOTE" && e.receipt.run === note.receipt.run;
  need(entries.some((e) => same(e, note)) && isBehind(opening, note), "the account has no such promotion before the opening");
  need(entries.some((e) => closed(e) && isBehind(note, e)), "the account has no such closing before the promotion");
  return note;
}

const placeOf = ({ receipt }) => ["chain_id", "genesis", "contract", "writer", "pipeline"].map((name) => receipt[name]);

/** Notes between the champion's promotion and the opening that may have moved the alias. */
function laterNotes(entries, opening, since) {
  const released = new Set();
  const found = [];
  for (const e of entries.filter((entry) => isBehind(opening, entry))) {
    if (e.entry === "closing" && e.verdict === "PROMOTE") released.add(e.receipt.run);
    if (e.entry === "note" && released.has(e.receipt.run) && (since === null || isBehind(e, since))) found.push(e);
  }
  return found;
}

/** The statements below champion/notes/ by digest; each has its note, which is one of the later ones. */
function statementsSince(r, later) {
  const names = [...r.files.keys()].filter((name) => /^champion\/notes\//.test(name)).map((name) => name.replace(/\.(dsse|note)\.json$/, ""));
  const held = new Map();
  for (const name of new Set(names)) {
    need(r.isTrue(name) && r.files.has(`${name}.note.json`), `${name} is half there, or false`);
    const { digest, statement } = r.envelope(name);
    const note = r.note(name, true);
    need(note.statement === digest && later.some((e) => same(e, note)), `${name} is of no later note`);
    held.set(digest, statement);
  }
  return held;
}

function championAfter(left, { predicateType, predicate, subject }, model) {
  const about = subject.find((s) => s.name === model);
  if (predicateType !== KINDS.promotion || !about || predicate.alias !== "champion") return left;
  if (predicate.outcome === "promoted") return { version: predicate.version, root: about.digest.sha256 };
  return predicate.outcome === "rolled-back" ? predicate.restored : left;
}

/** Section 2, files by digest. */
function dataThatMayStayAway(data) {
  if (data === null) return [];
  const training = ["train", "validation", "test", "demonstrations", "rejected"].map((name) => `prepare/${name}.parquet`);
  return data.redistributable === true ? training : [...training, "prepare/test.npy"];
}

function isPlace(name, champion) {
  if (DOCUMENTS.includes(name)) return true;
  if (/^champion\/(release\.dsse|promotion\.dsse|promotion\.note)\.json$/.test(name)) return champion !== null && champion.promotion !== null;
  if (/^(champion\/)?notes\/[^/]+\.(dsse|note)\.json$/.test(name)) return true;
  return name.endsWith(".dsse.json") && Object.hasOwn(KINDS, name.slice(0, -".dsse.json".length));
}

export const pipelineId = (name) => sha256(Buffer.from(`drl pipeline v1\0${name}`));

export function seedsOf(intent, blockHash, count) {
  const found = [];
  for (let i = 0; found.length < count; i++) {
    const number = Buffer.alloc(4);
    number.writeUInt32BE(i);
    const text = [Buffer.from("drl seeds v1\0"), Buffer.from(intent, "hex"), Buffer.from(blockHash.slice(2), "hex"), number];
    const candidate = createHash("sha256").update(Buffer.concat(text)).digest().readUInt32BE() >>> 1;
    if (!found.includes(candidate)) found.push(candidate);
  }
  return found;
}

function isAboutThisRun(r, name, { predicateType, predicate, subject }) {
  const { digest } = r.envelope("release");
  const { policy, verdict } = r.predicate("release");
  const kind = predicateType.split(":").at(-2);
  need(["promotion", "revocation", "reproduction"].includes(kind), `${name} is no later statement`);
  need(subject.length === 1, `${name} has more than one subject`);
  if (kind === "revocation") {
    const signers = [...r.envelopes].filter(([other]) => !other.startsWith("champion/")).flatMap(([, e]) => e.keyids);
    const about = { release: [digest], policy: [policy.root], key: signers }[predicate.what];
    need(about.includes(subject[0].digest.sha256), `${name} is about something else`);
    return;
  }
  need(predicate.release === digest && subject[0].digest.sha256 === policy.root, `${name} is about another release or policy`);
  need(predicate.outcome !== "promoted" || verdict === "PROMOTE", `${name} promotes what was released with ${verdict}`);
}

/** Noted revocations, with the note's time. */
function revocations(r, names = r.later) {
  return names
    .filter((name) => kindOf(r.statement(name)) === "revocation")
    .map((name) => ({ ...r.envelope(name), since: r.note(name).receipt.block_time }));
}

/** Whether somebody who may had revoked a key before a time. */
const isRevoked = (r, keyid, time) =>
  revocations(r, [...r.later, ...r.since]).some(({ statement: { predicate, subject }, keyids, since }) => {
    const about = predicate.what === "key" && subject[0].digest.sha256 === keyid && time >= since;
    return about && keyids.some((signer) => r.trust.allows(signer, ["revocation", "release"], since));
  });

function rolesFor(statement) {
  const kind = kindOf(statement);
  if (statement.predicateType === PROVENANCE || ["intent", "validation", "evaluation"].includes(kind)) return ["steps"];
  if (statement.predicateType === MODEL_SIGNATURE) return ["release"];
  return { release: ["release"], promotion: ["release"], approval: ["approval"], reproduction: ["reproduction"] }[kind] ?? ["revocation", "release"];
}

/** When the ledger saw a statement, in seconds. */
function timeOf(r, name) {
  if (name === "intent") return r.opening().receipt.block_time;
  if (name === "champion/release") return r.note("champion/promotion").receipt.block_time;
  return (r.later.includes(name) || name.startsWith("champion/") ? r.note(name) : r.closing()).receipt.block_time;
}

function readEpisodes(r) {
  const text = r.evidence("evaluate/episodes.jsonl").toString("utf8");
  need(text.endsWith("\n"), "episodes.jsonl does not end with a line feed");
  const returns = {};
  const labels = {};
  for (const line of text.slice(0, -1).split("\n")) {
    const row = parseCanonical(Buffer.from(line), "episodes.jsonl");
    need(hasExactly(row, "actor", "episode", "length", "return"), "an episode has other members");
    need(typeof row.actor === "string" && typeof row.episode === "string", "an episode has no label");
    need(typeof row.return === "number" && Number.isSafeInteger(row.length) && row.length > 0, "an episode has no return or length");
    if (!Object.hasOwn(returns, row.actor)) [returns[row.actor], labels[row.actor]] = [[], []];
    returns[row.actor].push(row.return);
    labels[row.actor].push(row.episode);
  }
  const actors = ["policy", ...(r.resolved.champion ? ["champion"] : []), ...r.spec.evaluation.baselines.map((b) => b.name)];
  need(same(Object.keys(returns).sort(), [...actors].sort()), "episodes.jsonl has other actors");
  need(new Set(labels.policy).size === labels.policy.length, "an episode is there twice");
  for (const actor of actors) need(same(labels[actor], labels.policy), `${actor} has other episodes`);
  return { returns, labels: labels.policy };
}

/** Verdict and reason of the release (section 8, outcome). */
function outcome(r, decision) {
  const { spec, code } = r.resolved;
  const approval = r.has("approval") ? r.predicate("approval") : null;
  const held = (reason) => ({ verdict: "HOLD", reason });
  if (approval) {
    const asked = spec.promotion.require_approval && decision.verdict === "PROMOTE";
    need(asked, "an approval that nobody asked for");
    need(approval.evaluation === r.envelope("evaluation").digest && approval.verdict === decision.verdict, "an approval of another evaluation or verdict");
  }
  if (decision.verdict !== "PROMOTE") return decision;
  if (code.dirty === true) return held("The source tree had uncommitted changes, so nothing can be promoted: commit them and run again.");
  if (code.dirty === null)
    return held("Nobody can tell which source code ran, so nothing can be promoted: run from a git checkout, or from an image whose build left its stamp.");
  if (!spec.promotion.require_approval) return decision;
  const { answer, approver, comment } = approval ?? { answer: "unanswered", approver: "", comment: "" };
  if (answer === "approved") return decision;
  const said = [approver, comment].filter((text) => text !== "");
  const begin = answer === "rejected" ? "The approver rejected the promotion" : "Nobody answered the request for approval, so nothing is promoted";
  const text = [begin, ...said].join(": ");
  return held(said.length > 0 && /[.!?]$/.test(text) ? text : `${text}.`);
}

/** What section 10 says of the account by itself. */
function isAccount(account) {
  need(hasExactly(account, "format", "head", "entries") && account.format === "drl.account/1", "account.json is something else");
  const { head, entries } = account;
  need(hasExactly(head, "number", "hash", "time") && /^0x[0-9a-f]{64}$/.test(head.hash), "no head");
  need([head.number, head.time].every((n) => Number.isSafeInteger(n) && n >= 0), "no head");
  need(Array.isArray(entries) && entries.every(isEntry), "an entry is something else");
}

/** That the account shows an entry, where it is an account: what it is not is false under 29. */
function isInAccount(r, entry) {
  const { entries } = r.accountOrNone();
  need(entries === null || entries.some((e) => same(e, entry)), "account.json has no such entry");
}

/** That the entries are those of the record's writer and pipeline, as a ledger would have them. */
function isOfRun(r, { head, entries }) {
  const [open, once] = [new Set(), new Set()];
  entries.forEach((entry, i) => {
    const { run, block_number, block_time } = entry.receipt;
    need(same(placeOf(entry), placeOf(r.predicate("release").opening)), "an entry of another ledger, writer or pipeline");
    need(i === 0 || isBehind(entry, entries[i - 1]), "entries are not in the order of the chain");
    need(block_number <= head.number && block_time <= head.time, "an entry behind the head");
    if (entry.entry === "opening") {
      need(run === open.size + 1, "openings are not numbered without a gap");
      open.add(run);
    } else need(open.has(run), "an entry before the opening of its run");
    const what = `${entry.entry} ${run} ${entry.statement}`;
    need(!once.has(what), "a run closed twice, or a note twice");
    once.add(what);
  });
}

function standing(r) {
  if (revocations(r).some((v) => v.statement.predicate.what !== "key")) return "revoked";
  const said = r.later.filter((name) => kindOf(r.statement(name)) === "promotion");
  said.sort((a, b) => (isBehind(r.note(a), r.note(b)) ? 1 : -1));
  return said.length ? r.predicate(said.at(-1)).outcome : "not promoted";
}

/** Run one check and say what came of it. */
function run(check, r) {
  const finding = (label, text) => ({ check, label, text });
  try {
    const said = CHECKS[check](r);
    if (typeof said === "string") return [finding("RECOMPUTED", said)];
    const pairs = [];
    for (let i = 0; i < said.length; i += 2) pairs.push(finding(said[i], said[i + 1]));
    return pairs;
  } catch (error) {
    if (error instanceof Untold) return [finding("NOT CHECKED", error.message)];
    if (error instanceof False || error instanceof Malformed) return [finding("FALSE", error.message)];
    if (error instanceof TypeError || error instanceof RangeError) return [finding("FALSE", `malformed: ${error.message}`)];
    throw error;
  }
}

function levelOf(findings) {
  const bad = (f) => f.label === "FALSE" || (f.label === "NOT CHECKED" && NEEDED.has(f.check) && !f.text.startsWith(AWAY));
  let level = 0;
  for (const next of [1, 2]) {
    if (findings.some((f) => LEVELS[next].includes(f.check) && bad(f))) break;
    level = next;
  }
  return level;
}

/** Everything that the checks say of a record's files: {findings, level, verdict, false, stands}. */
export function verify(files, trust) {
  const record = new Record(files, trust);
  const findings = Object.keys(CHECKS).flatMap((check) => run(Number(check), record));
  return {
    findings,
    level: levelOf(findings),
    verdict: record.envelopes.get("release")?.statement?.predicate?.verdict ?? null,
    false: [...new Set(findings.filter((f) => f.label === "FALSE").map((f) => f.check))],
    stands: findings.find((f) => f.check === 30).text === "promoted",
  };
}
