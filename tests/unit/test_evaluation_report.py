"""The report: complete, self-contained, well-formed, safe against hostile text, and the same every time."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drl.errors import InputError
from drl.evaluation.comparison import compare
from drl.evaluation.episodes import Episodes
from drl.evaluation.report.charts import Compared, whiskers
from drl.evaluation.report.curves import LearningCurve, read_learning_curves
from drl.evaluation.report.render import ReportInputs, render_report
from drl.evaluation.report.svg import Scale, number
from drl.evaluation.report.trace import median_episode
from drl.evaluation.statistics import Interval
from drl.evaluation.words import Words
from drl.spec import PipelineSpec

WEEKS, HOURS = 12, 168
LABELS = [f"2024-W{week:02d}" for week in range(1, WEEKS + 1)]


def pipeline(description="Buy low, sell high."):
    return PipelineSpec.model_validate(
        {
            "pipeline": "battery",
            "description": description,
            "environment": {"entry_point": "somewhere:Battery"},
            "training": {"settings": {"algorithm": "PPO"}, "time_steps": 1024, "reward": "regret"},
            "evaluation": {
                "unit": "EUR",
                "upper_bound": "foresight",
                "baselines": [
                    {"name": "idle", "kind": "idle"},
                    {"name": "clock", "kind": "clock"},
                    {"name": "mpc", "kind": "mpc"},
                    {"name": "foresight", "kind": "foresight"},
                ],
            },
            "promotion": {"gate": "clock", "block": 4, "resamples": 200, "margin": 10.0},
            "registration": {"model": "battery"},
        }
    )


def inputs(description="Buy low, sell high.", policy=0.88, trace=True, curves=True, champion=False):
    spec = pipeline(description)
    best = 1000 + 500 * Words("report").uniforms((WEEKS,))
    shares = {"policy": policy, "idle": 0.0, "clock": 0.7, "mpc": 0.87, "foresight": 1.0}
    returns = {name: share * best for name, share in shares.items()}
    if champion:
        returns["champion"] = 0.8 * best
    lengths = {name: np.full(WEEKS, HOURS) for name in returns}
    time = 1_704_067_200 + 3600 * np.arange(WEEKS * HOURS)
    power = np.tile(np.r_[np.ones(4), np.zeros(8), -np.ones(4), np.zeros(8)], WEEKS * 7)
    columns = {"time": time, "price [EUR/MWh]": 80.0 - 20 * power, "power [MW]": power}
    evaluation = {
        "pipeline": "battery",
        "unit": "EUR",
        "protocol": {
            "rollouts": 1,
            "seed": 0,
            "episodes": WEEKS,
            "first": LABELS[0],
            "last": LABELS[-1],
            "test_data": "ab" * 32,
        },
        "alpha": 0.05,
        "model_root": "cd" * 32,
        "champion_root": "ef" * 32 if champion else None,
        **compare(spec.evaluation, spec.promotion, returns, alpha=0.05, identical=False),
        "validation": {"rule": "highest mean", "released": 1, "means": [1.0, 2.0]},
        "onnx": {"observations": WEEKS * HOURS, "max_abs_difference": 3e-6, "equal_actions": 0.99996},
    }
    return ReportInputs(
        spec=spec,
        evaluation=evaluation,
        episodes=Episodes(LABELS, returns, lengths),
        curves=[LearningCurve(i, [0, 512, 1024], [-9.0, -4.0, -3.0 - i]) for i in range(2)] if curves else [],
        trace=columns if trace else None,
    )


class Page(HTMLParser):
    """Collects tags and ids, and insists that tags close in order."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, html):
        super().__init__()
        self.open, self.seen, self.ids, self.words = [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, name, attributes):
        self.seen.append((name, dict(attributes)))
        self.ids += [value for key, value in attributes if key == "id"]
        if name not in self.VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        self.words.append(data)


def drawings(html):
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


def test_the_page_is_well_formed_and_self_contained():
    html = render_report(inputs())
    page = Page(html)
    names = {name for name, _ in page.seen}
    assert not names & {"script", "link", "img", "iframe", "object"}
    assert not re.search(r"https?:|url\(|@import|src=|href=| on\w+=", html)
    assert len(page.ids) == len(set(page.ids))
    assert page.seen[0] == ("html", {"lang": "en"})


def test_every_chart_says_in_words_what_it_shows():
    charts = drawings(render_report(inputs()))
    assert len(charts) == 5
    for chart in charts:
        title, description = chart.find("title"), chart.find("desc")
        assert chart.get("role") == "img"
        assert chart.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
        assert title.text
        assert description.text


@pytest.mark.parametrize("champion", [False, True])
def test_verdict_reason_and_every_actor_are_shown(champion):
    shown = inputs(champion=champion)
    words = " ".join(Page(render_report(shown)).words)
    assert shown.evaluation["decision"]["verdict"] in words
    assert shown.evaluation["decision"]["reason"] in words
    for name in shown.evaluation["actors"]:
        assert name in words
    assert "Minus the strongest baseline, mpc" in words
    assert "3 independent blocks" in words


@pytest.mark.parametrize(("policy", "verdict"), [(0.88, "PROMOTE"), (0.7, "HOLD"), (0.5, "REJECT")])
def test_the_colour_of_the_page_follows_the_verdict(policy, verdict):
    html = render_report(inputs(policy=policy))
    assert f'<div class="verdict {verdict.lower()}">' in html
    assert f"<title>battery: {verdict}</title>" in html


def test_what_an_environment_does_not_offer_is_left_out():
    charts = drawings(render_report(inputs(trace=False, curves=False)))
    assert [chart.find("title").text for chart in charts] == [
        "Policy against each other actor",
        "Episode by episode",
        "Performance profile",
    ]


def test_text_of_the_pipeline_file_cannot_inject_anything():
    html = render_report(inputs(description='<script>alert("x")</script>'))
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_the_same_inputs_give_the_same_page():
    assert render_report(inputs()) == render_report(inputs())


def test_the_episode_in_detail_is_the_median_one():
    trace = {"time": np.arange(9), "power": np.arange(9.0)}
    excerpt = median_episode(
        trace,
        labels=["short", "best", "middle", "long"],
        returns=np.array([4.0, 9.0, 5.0, 1.0]),
        lengths=np.array([1, 2, 2, 4]),
    )
    assert excerpt.label == "middle"  # of the three that are not short
    assert excerpt.time.tolist() == [3, 4]
    even = median_episode(
        {"time": np.arange(8), "power": np.arange(8.0)},
        labels=["low", "high", "best", "worst"],
        returns=np.array([4.0, 5.0, 9.0, 1.0]),
        lengths=np.full(4, 2),
    )
    assert even.label == "low"
    assert even.columns["power"].tolist() == [0.0, 1.0]


def test_trace_columns_of_another_length_are_refused():
    with pytest.raises(InputError, match="for 4 actions"):
        median_episode({"time": np.arange(3)}, labels=["a"], returns=np.array([1.0]), lengths=np.array([4]))


def test_a_far_baseline_does_not_press_the_others_together():
    rows = [
        Compared("gate", "decides", Interval(10.0, 5.0, 15.0)),
        Compared("far", "", Interval(5000.0, 4900.0, 5100.0)),
        Compared("deep", "", Interval(-5000.0, -5100.0, -4900.0)),
    ]
    drawn = ElementTree.fromstring(whiskers(rows, unit="EUR", margin=2.0, focus=["gate"], decisive="gate"))
    dots = [c for c in drawn.iter("circle")]
    assert len(dots) == 1
    assert len([p for p in drawn.iter("path") if "arrow" in p.get("class")]) == 2
    assert 200 < float(dots[0].get("cx")) < 570
    assert "5,000" in " ".join(drawn.itertext())


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"), (1234.5, "1,234"), (-12.25, "\N{MINUS SIGN}12.2"), (0.5, "0.5"), (1e-9, "0"),
        (99.96, "100"), (0.0304, "0.0304"), (-0.00004, "0"),
    ],
)  # fmt: skip
def test_numbers_are_short(value, shown):
    assert number(value) == shown


def test_signs_are_shown_where_they_matter():
    assert [number(v, sign=True) for v in (3.0, -3.0, 0.0)] == ["+3", "\N{MINUS SIGN}3", "0"]


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_are_few_and_inside(low, extent):
    scale = Scale(low, low + extent, 0.0, 100.0)
    if scale.high - scale.low < 1e-9 * abs(low):
        return
    ticks = scale.ticks(6)
    assert 1 <= len(ticks) <= 8
    slack = 1e-6 * extent
    assert all(scale.low - slack <= tick <= scale.high + slack for tick in ticks)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
def test_scales_around_values_hold_them(values):
    scale = Scale.around(values, 0.0, 100.0)
    assert all(0 <= scale(value) <= 100 for value in values)


def test_curves_are_read_in_order_of_the_seed_without_lines_that_have_no_return(tmp_path):
    for seed in (10, 2):
        folder = tmp_path / f"seed-{seed}"
        folder.mkdir()
        (folder / "metrics.jsonl").write_text(
            '{"iteration":1,"time_steps":5,"values":{}}\n'
            f'{{"iteration":2,"time_steps":9,"values":{{"return_mean_100":{seed}}}}}\n'
        )
    curves = read_learning_curves(sorted(tmp_path.glob("*/metrics.jsonl")))
    assert curves == [LearningCurve(2, [9], [2.0]), LearningCurve(10, [9], [10.0])]


@pytest.mark.parametrize(
    ("folder", "text", "says"),
    [("seed-0", "[]\n", "line 1"), ("seed-0", "{}\n", "line 1"), ("elsewhere", "", "lies in 'elsewhere'")],
)
def test_metrics_that_are_none_are_refused(tmp_path, folder, text, says):
    file = tmp_path / folder / "metrics.jsonl"
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(InputError, match=says):
        read_learning_curves([file])
