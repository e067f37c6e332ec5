"""The vectors of docs/record.md, section 8: as committed, as computed, and as the document quotes them."""

from __future__ import annotations

import json
import math
from pathlib import Path

from by_path import module_at

from drl.digest import canonical_json
from drl.evaluation.promotion import BOOTSTRAP_SEED
from drl.evaluation.selection import RULE
from drl.record import outcome

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests" / "vectors"
KEPT = json.loads((VECTORS / "decision.json").read_text())
DOCUMENT = " ".join((ROOT / "docs" / "record.md").read_text().split())


def test_the_committed_vectors_are_what_the_code_computes():
    module = module_at(VECTORS / "make_decision.py")
    assert canonical_json(module.vectors()) == canonical_json(KEPT)


def plain_words(seed):
    """The recipe of the document, in integers."""
    import hashlib

    digest = hashlib.sha256(seed.encode()).digest()
    state, increment = int.from_bytes(digest[:16], "big"), int.from_bytes(digest[16:], "big") | 1
    while True:
        state = (state * 0x2360ED051FC65DA44385DF649FCCF645 + increment) % 2**128
        mixed = (state >> 64) ^ (state & (2**64 - 1))
        turn = state >> 122
        yield ((mixed >> turn) | (mixed << (64 - turn))) % 2**64


def plain_quantile(values, p):
    ordered = sorted(values)
    position = (len(ordered) - 1) * p
    i = int(position)
    j = min(i + 1, len(ordered) - 1)
    return ordered[i] + (position - i) * (ordered[j] - ordered[i])


def plain_mean(values):
    total = values[0]
    for value in values[1:]:
        total += value
    return total / len(values)


def plain_interval(series, block, resamples, alpha):
    words, count = plain_words(BOOTSTRAP_SEED), len(series)
    means = []
    for _ in range(resamples):
        starts = [((next(words) >> 32) * count) >> 32 for _ in range(-(-count // block))]
        chosen = [(s + k) % count for s in starts for k in range(block)][:count]
        means.append(plain_mean([series[i] for i in chosen]))
    return {
        "estimate": plain_mean(series),
        "lower": plain_quantile(means, alpha / 2),
        "upper": plain_quantile(means, 1 - alpha / 2),
    }


def test_the_documents_recipe_in_plain_python_gives_the_same_bits():
    comparison = KEPT["comparison"]
    returns, rule = comparison["returns"], comparison["promotion"]
    for name, other in returns.items():
        if name == "policy":
            continue
        series = [x - y for x, y in zip(returns["policy"], other, strict=True)]
        derived = comparison["derived"]["comparisons"][name]
        assert plain_interval(series, rule["block"], rule["resamples"], 0.05) == derived["difference"]
        pairs = [(x > y) + (x >= y) for x in returns["policy"] for y in other]
        assert sum(pairs) / (2 * len(other) ** 2) == derived["probability_of_improvement"]


def test_the_document_quotes_the_vectors_and_texts_of_the_code():
    words, bootstrap = KEPT["words"], KEPT["bootstrap"]
    quoted = [
        ", ".join(words["words"][:3]),
        ", ".join(str(i) for i in words["indices_below_8"]),
        " ".join(str(i) for i in bootstrap["first_two_resamples"][0]),
        " ".join(str(i) for i in bootstrap["first_two_resamples"][1]),
        ", ".join(str(row["spent"]) for row in KEPT["error_budget"][:3]),
        str(next(q["quantile"] for q in KEPT["quantiles"] if q["probability"] == 0.975)),
        ", ".join(str(seed) for seed in KEPT["seeds"]["first_three"]),
        str(math.pi**2),
        RULE,
        BOOTSTRAP_SEED,
        outcome.DIRTY,
        outcome.UNKNOWN_CODE,
        outcome.REJECTED,
        outcome.UNANSWERED,
    ]
    for text in quoted:
        assert text in DOCUMENT, text
