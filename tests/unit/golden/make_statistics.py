"""Make ``statistics.json``: what rliable and scipy say about fixed scores.

Run it in a throw-away environment, because rliable does not work with the versions used here:

    pip install rliable==1.2.0 "arch<8" "pandas<3" scipy
    python tests/unit/golden/make_statistics.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.stats
from rliable import library, metrics

RESAMPLES = 50_000


def bootstrap_indices(scores, count):
    """Row indices drawn by rliable, found by resampling a table that holds its own row numbers."""
    rows = np.broadcast_to(np.arange(len(scores))[:, None], scores.shape)
    stream = library.StratifiedBootstrap(rows, random_state=np.random.RandomState(7))
    return [data[0][0] for data in stream.bootstrap(count)]


def main():
    """Write the file beside this script."""
    rng = np.random.RandomState(2026)
    x = np.round(rng.normal(1.0, 0.4, (10, 5)), 3)
    y = np.round(rng.normal(0.8, 0.5, (8, 5)), 3)
    y[0, 0], y[1, 2] = x[0, 0], x[3, 2]  # ties
    thresholds = np.linspace(-0.5, 2.5, 13)
    indices = bootstrap_indices(x, 20)
    columns = np.arange(x.shape[1])
    _, intervals = library.get_interval_estimates(
        {"x": x},
        lambda s: np.array([metrics.aggregate_iqm(s)]),
        reps=RESAMPLES,
        random_state=np.random.RandomState(1),
    )
    series = np.round(rng.normal(20.0, 60.0, 52), 3)
    percentile = scipy.stats.bootstrap(
        (series,),
        np.mean,
        method="percentile",
        n_resamples=RESAMPLES,
        confidence_level=0.95,
        random_state=np.random.RandomState(3),
    ).confidence_interval
    golden = {
        "made_with": {name: version(name) for name in ("rliable", "arch", "scipy", "numpy")},
        "x": x.tolist(),
        "y": y.tolist(),
        "iqm_x": float(metrics.aggregate_iqm(x)),
        "iqm_y": float(metrics.aggregate_iqm(y)),
        "probability_of_improvement": float(metrics.probability_of_improvement(x, y)),
        "thresholds": thresholds.tolist(),
        "profile_x": [float(library.run_score_deviation(x, t)) for t in thresholds],
        "bootstrap_indices": np.array(indices).tolist(),
        "bootstrap_iqm": [float(metrics.aggregate_iqm(x[i, columns])) for i in indices],
        "iqm_interval": intervals["x"][:, 0].tolist(),
        "trim_mean": {str(f): float(scipy.stats.trim_mean(series, f)) for f in (0.0, 0.05, 0.1, 0.25, 0.4)},
        "series": series.tolist(),
        "quantiles": {str(q): float(np.quantile(series, q)) for q in (0.0, 0.025, 0.1, 0.5, 0.975, 1.0)},
        "scipy_mean_interval": [float(percentile.low), float(percentile.high)],
    }
    path = Path(__file__).with_name("statistics.json")
    path.write_text(json.dumps(golden) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
