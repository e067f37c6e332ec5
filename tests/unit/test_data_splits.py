"""Splits by time: in order, without overlap, without a row from the future."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drl.data.columns import CONTEXT
from drl.data.splits import SPLIT_NAMES, known_by, resolve_spans, split
from drl.errors import DataError
from drl.spec import Splits

RUN = date(2024, 6, 1)
DAY = 86_400


def splits(train, validation, test, context_rows=0):
    windows = {
        n: {"from": a, "to": b} for n, (a, b) in zip(SPLIT_NAMES, (train, validation, test), strict=True)
    }
    return Splits.model_validate({"time_column": "t", "context_rows": context_rows, **windows})


def daily(first, days):
    start = (first - date(1970, 1, 1)).days
    return {"t": (start + np.arange(days)) * DAY, "x": np.arange(days, dtype=float)}


def cut(columns, declared, run_date=RUN):
    return split(columns, declared, resolve_spans(declared, run_date))


FIXED = splits(
    ("2024-01-01", "2024-01-11"), ("2024-01-11", "2024-01-16"), ("2024-01-16", "2024-01-21"), context_rows=3
)


def test_boundaries_and_context():
    parts = cut(daily(date(2023, 12, 25), 60), FIXED)
    assert list(parts) == list(SPLIT_NAMES)
    assert parts["train"]["x"].tolist() == [float(x) for x in range(4, 17)]
    assert parts["validation"]["x"].tolist() == [float(x) for x in range(14, 22)]
    assert parts["test"]["x"].tolist() == [float(x) for x in range(19, 27)]
    for part in parts.values():
        assert part[CONTEXT].tolist() == [True] * 3 + [False] * (len(part["x"]) - 3)


def test_the_first_split_may_begin_with_the_data():
    train = cut(daily(date(2024, 1, 1), 60), FIXED)["train"]
    assert train["x"].tolist() == [float(x) for x in range(10)]
    assert train[CONTEXT].tolist() == [True] * 3 + [False] * 7


@given(
    start=st.integers(-40, 40),
    lengths=st.tuples(*[st.integers(1, 30)] * 3),
    gaps=st.tuples(*[st.integers(0, 5)] * 2),
    context_rows=st.integers(0, 20),
    rows=st.integers(1, 150),
)
def test_no_row_is_acted_in_twice_and_nothing_looks_ahead(start, lengths, gaps, context_rows, rows):
    first = date(2024, 1, 1) + timedelta(days=start)
    edges = np.cumsum([0, lengths[0], gaps[0], lengths[1], gaps[1], lengths[2]])
    days = [(first + timedelta(days=int(edge))).isoformat() for edge in edges]
    declared = splits(days[0:2], days[2:4], days[4:6], context_rows)
    columns = daily(date(2024, 1, 1), rows)
    spans = resolve_spans(declared, RUN)
    data_from, data_to = columns["t"][0], columns["t"][-1] + DAY
    in_data = [max(0, min(span.end_s, data_to) - max(span.start_s, data_from)) // DAY for span in spans]
    missing_context = max(0, context_rows - max(0, (spans[0].start_s - data_from) // DAY))
    if 0 in in_data or in_data[0] <= missing_context:
        with pytest.raises(DataError, match=r"data\.splits\..*the data reach from 2024-01-01"):
            split(columns, declared, spans)
        return
    parts = split(columns, declared, spans)
    acted = [part["t"][~part[CONTEXT]] for part in parts.values()]
    together = np.concatenate(acted)
    assert (np.diff(together) > 0).all()
    for span, part, scored in zip(spans, parts.values(), acted, strict=True):
        assert part[CONTEXT].sum() == context_rows
        assert scored.min() >= span.start_s
        assert part["t"].max() < span.end_s
        assert (np.diff(part["t"]) == DAY).all()
        assert np.isin(part["x"], columns["x"]).all()


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        (
            (("2024-01-05", "2024-01-05"), *[("2024-02-01", "2024-03-01")] * 2),
            "train from .* an empty window",
        ),
        (
            (("2024-01-01", "2024-01-11"), ("2024-01-10", "2024-01-16"), ("2024-01-16", "2024-01-21")),
            "validation from 2024-01-10 .* begins before train",
        ),
        (
            (("2024-01-01", "2024-01-05"), ("2024-01-16", "2024-01-21"), ("2024-01-05", "2024-01-09")),
            "test from 2024-01-05 .* begins before validation",
        ),
        (
            (("run-9w", "run-4w"), ("run-4w", "run"), ("run", "run+1w")),
            "test from .* reaches beyond the run's date 2024-06-01",
        ),
    ],
)
def test_windows_out_of_order_are_refused(windows, message):
    with pytest.raises(DataError, match=message):
        resolve_spans(splits(*windows), RUN)


@pytest.mark.parametrize(
    ("days", "context_rows", "message"),
    [
        (15, 3, "test from 2024-01-16 to 2024-01-21: no row in this window; the data reach from 2024-01-01"),
        (60, 10, "train .* 10 rows, with 0 before them, are too few for 10 context rows"),
    ],
)
def test_empty_and_short_splits_are_refused_with_window_and_span(days, context_rows, message):
    declared = FIXED.model_copy(update={"context_rows": context_rows})
    with pytest.raises(DataError, match=message):
        cut(daily(date(2024, 1, 1), days), declared)


def test_times_must_ascend():
    columns = daily(date(2024, 1, 1), 60)
    columns["t"][5] = columns["t"][6]
    with pytest.raises(DataError, match="not strictly ascending"):
        cut(columns, FIXED)


def test_a_run_in_the_past_knows_nothing_later():
    declared = splits(("run-9w", "run-4w"), ("run-4w", "run-2w"), ("run-2w", "run"))
    columns = daily(date(2023, 1, 1), 900)
    for run_date in (date(2023, 6, 1), date(2024, 2, 29)):
        spans = resolve_spans(declared, run_date)
        known = known_by(columns, "t", spans)
        cut_off = (run_date - date(1970, 1, 1)).days * DAY
        assert known["t"].max() == cut_off - DAY
        assert split(known, declared, spans)["test"]["t"].max() == cut_off - DAY
    with pytest.raises(DataError, match="no row lies before 2022-01-01; the data reach from 2023-01-01"):
        known_by(columns, "t", resolve_spans(declared, date(2022, 1, 1)))
