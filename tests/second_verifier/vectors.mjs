// tests/vectors/decision.json, derived again: prints the same document from its inputs alone.
import { readFileSync } from "node:fs";
import { pipelineId, seedsOf } from "./checks.mjs";
import { compare, indexBelow, interval, mean, quantile, resamples, spent, words, worstCount } from "./decision.mjs";

const given = JSON.parse(readFileSync(new URL("../vectors/decision.json", import.meta.url)));
const take = (count, seed, change) => {
  const next = words(seed);
  return Array.from({ length: count }, () => change(next()));
};

const { seed } = given.words;
const { episodes, block, values } = given.bootstrap;
const draws = resamples(episodes, block, 100);
const chosen = [0, 1].map((r) => [...draws.chosen.slice(r * episodes, (r + 1) * episodes)]);
const { evaluation, promotion, returns, alpha } = given.comparison;
const decide = (changed, rule = {}) => compare({ evaluation, promotion: { ...promotion, ...rule } }, changed, alpha, false);
const few = Object.fromEntries(Object.entries(returns).map(([name, x]) => [name, x.slice(0, 5)]));
const swapped = { ...returns, policy: returns.clock, clock: returns.policy };

console.log(
  JSON.stringify({
    words: {
      seed,
      words: take(6, seed, String),
      indices_below_8: take(6, seed, (word) => indexBelow(8, word)),
      uniforms: given.words.uniforms, // of the random baseline, whose actions a verifier of level 3 needs
    },
    bootstrap: {
      episodes,
      block,
      values,
      first_two_resamples: chosen,
      first_two_means: chosen.map((indices) => mean(indices.map((i) => values[i]))),
      "interval_of_100_at_alpha_0.05": interval(values, draws, 0.05),
    },
    quantiles: given.quantiles.map((q) => ({ ...q, quantile: quantile(q.values, q.probability) })),
    worst_counts: given.worst_counts.map((w) => ({ ...w, count: worstCount(w.fraction, w.episodes) })),
    error_budget: given.error_budget.map((b) => ({ ...b, spent: spent({ alpha: b.alpha, fixed_test: true }, b.look) })),
    seeds: { ...given.seeds, first_three: seedsOf(given.seeds.intent, given.seeds.block_hash, 3) },
    pipeline_id: { ...given.pipeline_id, id: pipelineId(given.pipeline_id.name) },
    comparison: {
      ...given.comparison,
      derived: decide(returns),
      derived_when_few: decide(few).decision,
      derived_with_a_margin_of_3: decide(returns, { margin: 3 }).decision,
      derived_when_swapped: decide(swapped).decision,
    },
  }),
);
