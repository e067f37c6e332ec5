// The decision, derived again (docs/record.md, section 8): every operation in the order that is written there.
import { createHash } from "node:crypto";

const MASK = (1n << 128n) - 1n;
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;

/** A function that gives the stream's next 64-bit word. */
export function words(text) {
  const digest = createHash("sha256").update(text, "utf8").digest("hex");
  let state = BigInt(`0x${digest.slice(0, 32)}`);
  const increment = BigInt(`0x${digest.slice(32)}`) | 1n;
  return () => {
    state = (state * MULTIPLIER + increment) & MASK;
    const mixed = BigInt.asUintN(64, (state >> 64n) ^ state);
    const turn = state >> 122n;
    return BigInt.asUintN(64, (mixed >> turn) | (mixed << (64n - turn)));
  };
}

/** An index below n from one word, without a BigInt product: both factors are below 2^32 and 2^21. */
export const indexBelow = (n, word) => Math.floor((Number(word >> 32n) * n) / 4294967296);

export const sum = (values) => values.reduce((total, value) => total + value);
export const mean = (values) => sum(values) / values.length;
const ascending = (values) => Array.from(values).sort((a, b) => a - b);

export function quantile(sorted, p) {
  const position = (sorted.length - 1) * p;
  const i = Math.floor(position);
  const j = Math.min(i + 1, sorted.length - 1);
  return sorted[i] + (position - i) * (sorted[j] - sorted[i]);
}

/** The chosen episodes of each resample, one after the other; the stream is the same for every interval. */
export function resamples(episodes, block, count) {
  const length = Math.min(block, episodes);
  const starts = Math.ceil(episodes / length);
  const next = words("drl.bootstrap/1");
  const chosen = new Uint32Array(count * episodes);
  for (let r = 0; r < count; r++) {
    let at = 0;
    for (let s = 0; s < starts; s++) {
      const start = indexBelow(episodes, next());
      for (let k = 0; k < length && at < episodes; k++) chosen[r * episodes + at++] = (start + k) % episodes;
    }
  }
  return { chosen, count };
}

function resampledMeans(x, { chosen, count }) {
  return Float64Array.from({ length: count }, (_, r) => {
    const from = r * x.length;
    let total = x[chosen[from]];
    for (let e = 1; e < x.length; e++) total += x[chosen[from + e]];
    return total / x.length;
  });
}

const ends = (estimate, values, alpha) => {
  const sorted = ascending(values);
  return { estimate, lower: quantile(sorted, alpha / 2), upper: quantile(sorted, 1 - alpha / 2) };
};
export const interval = (x, draws, alpha) => ends(mean(x), resampledMeans(x, draws), alpha);

/** ceil(fraction * episodes), the fraction as the decimal number that its shortest text shows. */
export function worstCount(fraction, episodes) {
  const [digits, exponent = "0"] = String(fraction).split("e");
  const [whole, decimals = ""] = digits.split(".");
  const power = decimals.length - Number(exponent);
  const above = BigInt(whole + decimals) * BigInt(episodes) * 10n ** BigInt(Math.max(-power, 0));
  const below = 10n ** BigInt(Math.max(power, 0));
  return Number((above + below - 1n) / below);
}

export const worstMean = (x, fraction) => mean(ascending(x).slice(0, worstCount(fraction, x.length)));

function interquartileMean(x) {
  const out = Math.floor(0.25 * x.length);
  return mean(ascending(x).slice(out, x.length - out));
}

function score(x, bound, draws, alpha) {
  if (!bound || !(mean(bound) > 0)) return null;
  const below = resampledMeans(bound, draws);
  if (!below.every((value) => value > 0)) return null;
  return ends(mean(x) / mean(bound), resampledMeans(x, draws).map((value, r) => value / below[r]), alpha);
}

function improvement(x, y) {
  let wins = 0;
  for (const a of x) for (const b of y) wins += (a > b) + (a >= b);
  return wins / (2 * x.length * x.length);
}

/** `actors`, `comparisons`, `decision` and `gap` of returns by actor. */
export function compare({ evaluation, promotion }, returns, alpha, identical) {
  const { policy } = returns;
  const draws = resamples(policy.length, promotion.block, promotion.resamples);
  const bound = evaluation.upper_bound === null ? null : returns[evaluation.upper_bound];
  const actors = {};
  const comparisons = {};
  for (const [name, x] of Object.entries(returns)) {
    actors[name] = {
      mean: interval(x, draws, alpha),
      interquartile_mean: interquartileMean(x),
      worst_mean: worstMean(x, promotion.guard.worst_fraction),
      total: sum(x),
      score: score(x, bound, draws, alpha),
    };
    if (name === "policy") continue;
    const difference = interval(policy.map((value, e) => value - x[e]), draws, alpha);
    comparisons[name] = { difference, probability_of_improvement: improvement(policy, x) };
  }
  const decision = decide({ evaluation, promotion }, returns, comparisons, alpha, identical);
  return { actors, comparisons, decision, gap: gap(evaluation, actors, comparisons) };
}

function gap(evaluation, actors, comparisons) {
  const names = evaluation.baselines.map((b) => b.name).filter((name) => name !== evaluation.upper_bound);
  if (names.length === 0) return null;
  names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const best = names.reduce((a, b) => (actors[b].mean.estimate > actors[a].mean.estimate ? b : a));
  return { baseline: best, estimate: comparisons[best].difference };
}

function decide({ evaluation, promotion }, returns, comparisons, alpha, identical) {
  const other = Object.hasOwn(returns, "champion") ? "champion" : promotion.gate;
  const name = other === "champion" ? "the champion" : other;
  const episodes = returns.policy.length;
  const end = (verdict, reason, estimate = null, guard = null) => ({ verdict, reason, other, estimate, guard, alpha, episodes });
  if (identical) return end("HOLD", `The policy is the same model as ${name}: there is nothing to promote.`);
  if (episodes < 2 * promotion.block) {
    const few = `Fewer episodes (${episodes}) than two blocks of ${promotion.block}, too few for an interval: `;
    return end("HOLD", `${few}nothing is known about the difference to ${name}.`);
  }
  const estimate = comparisons[other].difference;
  const fraction = promotion.guard.worst_fraction;
  const guard = {
    episodes: worstCount(fraction, episodes),
    policy: worstMean(returns.policy, fraction),
    other: worstMean(returns[other], fraction),
    margin: promotion.guard.margin,
  };
  guard.broken = guard.policy < guard.other - guard.margin;
  const text = measured(estimate, alpha, name, evaluation.unit);
  if (guard.broken) {
    const below = `The guard is broken: the mean of the policy's worst ${guard.episodes} episodes lies `;
    const much = `${shown(guard.other - guard.policy)} ${evaluation.unit} below that of ${name}, `;
    return end("REJECT", `${below}${much}more than the ${shown(guard.margin)} allowed. ${text}`, estimate, guard);
  }
  if (estimate.upper < 0) return end("REJECT", `${text} All of it lies below zero.`, estimate, guard);
  const margin = shown(promotion.margin);
  if (estimate.lower > promotion.margin)
    return end("PROMOTE", `${text} All of it lies above the margin of ${margin}.`, estimate, guard);
  return end("HOLD", `${text} Its lower end is not above the margin of ${margin}: not shown to be better.`, estimate, guard);
}

function measured({ estimate, lower, upper }, alpha, name, unit) {
  const size = `${shown(Math.abs(estimate))} ${unit} ${estimate > 0 ? "more" : "less"} than ${name}`;
  const amount = estimate === 0 ? `exactly as much as ${name}` : size;
  const part = shown(100 * (1 - alpha));
  return `Per episode the policy returns ${amount}, with a ${part} % interval of the difference from ${shown(lower)} to ${shown(upper)}.`;
}

/** A number in a reason: four digits, or a whole number with commas. */
export function shown(x) {
  const text = fourDigits(x);
  if (!text.includes("e+")) return text.replaceAll("-", "\u2212");
  const digits = String(halfToEven(Math.abs(x))).replace(/\B(?=(\d{3})+$)/g, ",");
  return (x < 0 ? "-" : "") + digits;
}

function halfToEven(x) {
  const low = Math.floor(x);
  const up = x - low > 0.5 || (x - low === 0.5 && low % 2 === 1);
  return BigInt(up ? low + 1 : low);
}

/** C's `%.4g`. JavaScript rounds a tie away from zero and C to even, so a tie is cut off here where it must be. */
function fourDigits(x) {
  if (x === 0) return Object.is(x, -0) ? "-0" : "0";
  const exact = x.toExponential(100);
  const [, , digits, exponent] = exact.match(/^(-?)([\d.]+)e([+-]\d+)$/);
  const plain = digits.replace(".", "");
  const tie = plain[4] === "5" && /^0*$/.test(plain.slice(5)) && Number(plain[3]) % 2 === 0;
  const rounded = tie ? Number(`${x < 0 ? "-" : ""}${plain[0]}.${plain.slice(1, 4)}e${exponent}`) : x;
  const [mantissa, power] = rounded.toExponential(3).split("e");
  const e = Number(power);
  const trim = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (e >= -4 && e < 4) return trim(rounded.toFixed(3 - e));
  return `${trim(mantissa)}e${e < 0 ? "-" : "+"}${String(Math.abs(e)).padStart(2, "0")}`;
}

/** Section 8, error budget. */
export const spent = (promotion, look) =>
  promotion.fixed_test ? (6 * promotion.alpha) / (9.869604401089358 * (look * look)) : promotion.alpha;
