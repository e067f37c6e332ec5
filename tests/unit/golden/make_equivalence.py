"""Make ``equivalence.json``: what scipy says about Student's t and about one-sided paired tests.

python tests/unit/golden/make_equivalence.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.stats


def paired(rng, episodes, shift, margin):
    """One case: paired returns, a margin, and the two p-values and the interval that scipy gives."""
    first = np.round(rng.normal(100, 20, episodes), 3)
    second = np.round(first + rng.normal(shift, 4, episodes), 3)
    below = scipy.stats.ttest_1samp(first - second, -margin, alternative="greater")
    above = scipy.stats.ttest_1samp(first - second, margin, alternative="less")
    interval = scipy.stats.ttest_rel(first, second).confidence_interval(0.90)
    return {
        "first": first.tolist(),
        "second": second.tolist(),
        "margin": margin,
        "p_below": float(below.pvalue),
        "p_above": float(above.pvalue),
        "interval": [float(interval.low), float(interval.high)],
    }


def main():
    """Write the file beside this script."""
    rng = np.random.RandomState(2026)
    degrees = [1, 2, 3, 5, 12, 51, 99, 999]
    values = [-30.0, -2.5, -0.1, 0.0, 0.01, 0.3, 1.0, 2.0, 4.5, 12.0, 80.0]
    probabilities = [0.6, 0.9, 0.95, 0.975, 0.999]
    golden = {
        "made_with": {name: version(name) for name in ("scipy", "numpy")},
        "tail": [[t, d, float(scipy.stats.t.sf(t, d))] for d in degrees for t in values],
        "quantile": [[p, d, float(scipy.stats.t.ppf(p, d))] for d in degrees for p in probabilities],
        "paired": [
            paired(rng, 52, 0.5, 2.0),
            paired(rng, 52, 2.5, 2.0),
            paired(rng, 5, 0.0, 1.0),
            paired(rng, 100, -0.2, 3.0),
        ],
    }
    (Path(__file__).parent / "equivalence.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
