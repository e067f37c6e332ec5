"""The prepare step, real Great Expectations: the flagship's price file, and tables made to fail."""

import io
import json
import socket
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from drl.artifact import Artifact
from drl.data.columns import CONTEXT, content_digest, read_columns
from drl.data.sources import fetch
from drl.digest import sha256_file
from drl.errors import DataError, InputError
from drl.progress import Progress
from drl.spec import parse_pipeline
from drl.steps.exchange import FolderExchange
from drl.steps.prepare import prepare
from drl.steps.request import StepRequest
from drl.steps.runner import StepContext, _prepare

DAGS = Path(__file__).parents[2] / "dags"
SUITE = DAGS / "battery_arbitrage.expectations.json"
RUN_DATE = date(2026, 1, 1)
TABLES = ("train.parquet", "validation.parquet", "test.parquet", "test.npy")
EVIDENCE = ("cleaning.json", "expectations.json", "data_docs.html", "profile.json")


def spec_with(data, **training):
    value = yaml.safe_load((DAGS / "cartpole.yaml").read_text())
    value["training"].update(training)
    if training:
        value["environment"] = {"entry_point": "drl.envs.battery:BatteryArbitrage"}
    return parse_pipeline({**value, "data": data}, path=Path("test.yaml"))


def run(spec, source_file, out, base=DAGS):
    stream = io.StringIO()
    summary = prepare(
        spec,
        source_file=source_file,
        run_date=RUN_DATE,
        suite=base / spec.data.expectations,
        out=out,
        progress=Progress(stream),
    )
    return summary, [json.loads(line) for line in stream.getvalue().splitlines()]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ------------------------------------------------------------------------------------- the price file


def flagship_data():
    return yaml.safe_load((DAGS / "battery_arbitrage.yaml").read_text())["data"]


@pytest.fixture(scope="module")
def flagship(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flagship")
    spec = spec_with(flagship_data())
    source = fetch(spec.data.source, folder, base=DAGS, s3=None)
    summary, lines = run(spec, source.path, folder / "out")
    return spec, source.path, folder / "out", summary, lines


def test_the_dirt_of_the_price_file_is_counted(flagship):
    _, _, out, summary, _ = flagship
    assert summary["cleaning"] == [
        {"rule": "rename_columns", "touched": 0},
        {"rule": "drop_rows_without", "touched": 1},
        {"rule": "parse_timestamps", "touched": 17_711},
        {"rule": "parse_numbers", "touched": 0},
        {"rule": "drop_duplicates", "touched": 6_553},
        {"rule": "sort_by", "touched": 0},
        {"rule": "fill_missing_steps", "touched": 2},
    ]
    reports = json.loads((out / "cleaning.json").read_bytes())
    assert (reports[0]["rows_before"], reports[-1]["rows_after"]) == (94_392, 87_840)
    assert [row["timestamp"] for row in reports[-1]["first"]] == [
        "2023-12-30T23:00:00",
        "2024-12-30T23:00:00",
    ]


def test_splits_of_the_price_file_are_regular_hours(flagship):
    _, _, out, summary, _ = flagship
    years = {"train": (2015, 2023), "validation": (2023, 2024), "test": (2024, 2025)}
    for name, (first, end) in years.items():
        columns = read_columns(out / f"{name}.parquet")
        acted = columns["timestamp"][~columns[CONTEXT]].astype("datetime64[s]")
        expected = np.arange(f"{first}-01-01", f"{end}-01-01", dtype="datetime64[h]")
        # Train begins with the data, so that its own first four weeks are what it may look back on.
        assert (acted == expected[672 if name == "train" else 0 :]).all()
        assert (np.diff(columns["timestamp"]) == 3600).all()
        assert columns[CONTEXT].sum() == 672
        assert np.isfinite(columns["price"]).all()
        assert summary["contents"][name] == content_digest(columns)
    assert content_digest(read_columns(out / "test.npy")) == summary["contents"]["test"]


def test_no_hour_of_the_price_file_is_misdated(flagship):
    """Read against the raw file by another way: fixed positions in the text."""
    _, source, out, _, _ = flagship
    raw = [line.rstrip("\n").split(",") for line in source.open()][1:]
    iso = {utc[:13]: float(price) for _, utc, _, price in raw if len(utc) == 19}
    dated = {
        f"{utc[6:10]}-{utc[3:5]}-{utc[:2]} {utc[11:13]}": float(price)
        for _, utc, _, price in raw
        if len(utc) == 16
    }
    prices = {**iso, **dated}
    compared = 0
    for name in ("train", "validation", "test"):
        columns = read_columns(out / f"{name}.parquet")
        texts = np.datetime_as_string(columns["timestamp"].astype("datetime64[s]"), unit="h")
        for text, price in zip(texts, columns["price"], strict=True):
            key = text.replace("T", " ")
            if key in prices:
                assert prices[key] == price, key
                compared += 1
    assert compared == 70_128 + 8_760 + 8_784 + 2 * 672 - 2 - 1


def test_guessing_would_misdate_6480_rows(flagship):
    """The trap that the declared formats avoid."""
    texts = pd.read_csv(flagship[1], usecols=["Datetime (UTC)"]).iloc[:, 0].dropna()
    guessed = pd.to_datetime(texts, format="mixed")
    first = pd.to_datetime(texts, format="%Y-%m-%d %H:%M:%S", errors="coerce")
    right = first.fillna(pd.to_datetime(texts, format="%d/%m/%Y %H:%M", errors="coerce"))
    assert int((guessed != right).sum()) == 6_480


def test_a_second_run_writes_the_same_bytes(flagship, tmp_path):
    spec, source, out, _, _ = flagship
    run(spec, source, tmp_path / "out")
    assert set(contents(out)) == {*TABLES, *EVIDENCE}
    assert contents(out) == contents(tmp_path / "out")


def test_progress_tells_phases_and_rules(flagship):
    lines = flagship[4]
    phases = [line["name"] for line in lines if line["event"] == "phase"]
    assert phases == ["clean", "import Great Expectations", "validate", "data docs", "split"]
    assert any("drop_duplicates: 6553 rows touched" in line.get("message", "") for line in lines)


# ------------------------------------------------------------------------------------- small tables


def hours(days=800, start="2022-01-01", **changed):
    times = pd.date_range(start, periods=24 * days, freq="h")
    prices = 60 + 30 * np.sin(np.arange(len(times)) / 24 * 2 * np.pi)
    table = pd.DataFrame({"timestamp": times.strftime("%Y-%m-%d %H:%M:%S"), "price": prices.round(2)})
    for row, price in changed.get("prices", {}).items():
        table.loc[row, "price"] = price
    return table.drop(index=changed.get("without", []))


def small_data(**changed):
    data = {
        "source": {"kind": "file", "path": "unused.csv", "sha256": "0" * 64},
        "cleaning": [
            {"rule": "parse_timestamps", "column": "timestamp", "formats": ["%Y-%m-%d %H:%M:%S"]},
            {"rule": "parse_numbers", "columns": ["price"]},
        ],
        "expectations": SUITE.name,
        "splits": {
            "time_column": "timestamp",
            "context_rows": 672,
            "train": {"from": "2022-01-01", "to": "2023-01-01"},
            "validation": {"from": "2023-01-01", "to": "2024-01-01"},
            "test": {"from": "2024-01-01", "to": "2024-02-01"},
        },
    }
    return {**data, **changed}


def prepared(tmp_path, table, data=None, base=DAGS, **training):
    table.to_csv(tmp_path / "table.csv", index=False)
    return run(spec_with(data or small_data(), **training), tmp_path / "table.csv", tmp_path / "out", base)


def test_nothing_is_sent_anywhere_or_left_behind(tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))

    def refuse(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    summary, _ = prepared(tmp_path, hours())
    assert summary["expectations"] == {"evaluated": 9, "failed": 0}
    assert list((tmp_path / "scratch").iterdir()) == []


def test_data_docs_are_one_page_that_loads_nothing(tmp_path):
    prepared(tmp_path, hours())
    page = (tmp_path / "out" / "data_docs.html").read_text()
    assert "values must belong to this set" in page
    for loading in ("<script", "<link", "<img", "src=", "http:", "https:", "@import", "url("):
        assert loading not in page


def test_rows_behind_the_last_split_are_not_looked_at(tmp_path):
    known, _ = prepared(tmp_path, hours(days=761))
    before = contents(tmp_path / "out")
    later, _ = prepared(tmp_path, hours(days=800, prices={24 * 761 + 5: 99999.0}))
    assert known["contents"] == later["contents"]
    after = contents(tmp_path / "out")
    assert {n for n in after if after[n] != before[n]} == {"cleaning.json"}


def test_failed_expectations_name_and_keep_the_rows(tmp_path):
    wrong = {100 + i: 9000.0 + i for i in range(7)}
    with pytest.raises(DataError, match="2 of 9 expectations failed") as caught:
        prepared(tmp_path, hours(prices=wrong, without=[500]))
    message = str(caught.value)
    assert 'expect_column_values_to_be_between {"column": "price", "min_value": -500.0' in message
    assert "7 of 18263 rows" in message
    assert message.count("'price': 900") == 5
    assert "2022-01-05T04:00:00Z" in message
    kept = pd.read_parquet(tmp_path / "out" / "rejected.parquet")
    assert kept["price"].tolist()[-7:] == list(wrong.values())
    assert kept["utc"].tolist()[0] == "2022-01-21T21:00:00Z"
    assert kept["failed_expectation"].nunique() == 2
    result = json.loads((tmp_path / "out" / "expectations.json").read_bytes())
    assert [r["success"] for r in result["results"]].count(False) == 2
    assert "data_docs.html" in message
    assert not (tmp_path / "out" / "train.parquet").exists()


def test_an_aggregate_that_fails_tells_what_was_observed(tmp_path):
    table = hours()
    table["price"] /= 1000  # EUR/kWh instead of EUR/MWh
    with pytest.raises(DataError, match=r"expect_column_mean_to_be_between .*: observed 0\.0[56]"):
        prepared(tmp_path, table)


def test_a_refused_rule_keeps_its_rows(tmp_path):
    table = hours().astype({"timestamp": object})
    table.loc[7, "timestamp"] = "yesterday"
    with pytest.raises(DataError, match=r"rule 1 \(parse_timestamps\): timestamp: 1 rows fit none of"):
        prepared(tmp_path, table)
    kept = pd.read_parquet(tmp_path / "out" / "rejected.parquet")
    assert kept[["line", "timestamp"]].to_dict("records") == [{"line": 9, "timestamp": "yesterday"}]


@pytest.mark.parametrize(
    ("expectation", "message"),
    [
        ({"type": "expect_nonsense", "kwargs": {}}, "expectation 1: expect_nonsense not found"),
        (
            {"type": "expect_column_mean_to_be_between", "kwargs": {"columm": "price"}},
            "(?s)expectation 1: .*columm",
        ),
    ],
)
def test_a_suite_that_the_library_does_not_know_is_refused(tmp_path, expectation, message):
    """The library itself would leave such an expectation out, and succeed."""
    (tmp_path / SUITE.name).write_text(json.dumps({"name": "bad", "expectations": [expectation]}))
    with pytest.raises(InputError, match=message):
        prepared(tmp_path, hours(), base=tmp_path)


def test_an_expectation_about_a_missing_column_fails(tmp_path):
    entry = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "volume", "min_value": 0}}
    (tmp_path / SUITE.name).write_text(json.dumps({"name": "other", "expectations": [entry]}))
    with pytest.raises(DataError, match=r'could not be evaluated: .*"volume"'):
        prepared(tmp_path, hours(), base=tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"name": "x", "expectations": []}'])
def test_an_empty_suite_is_refused(tmp_path, text):
    (tmp_path / SUITE.name).write_text(text)
    with pytest.raises(InputError, match=SUITE.name):
        prepared(tmp_path, hours(), base=tmp_path)


def test_demonstrations_for_a_warm_start_are_reproducible(tmp_path):
    files = []
    for _ in range(2):
        summary, _ = prepared(tmp_path, hours(), warm_start={"passes": 1})
        files.append((tmp_path / "out" / "demonstrations.parquet").read_bytes())
    assert files[0] == files[1]
    table = pd.read_parquet(tmp_path / "out" / "demonstrations.parquet")
    assert list(table.columns) == ["observation", "action"]
    assert len(table) == summary["splits"]["train"]["rows"]
    assert table["observation"].iloc[0].dtype == np.float32
    assert table["observation"].map(len).nunique() == 1
    assert set(table["action"]) <= set(range(5))


@pytest.mark.parametrize("place", ["{here}/elsewhere/suite.json", "../../suite.json"])
def test_a_step_keeps_the_suite_in_its_own_folder(tmp_path, place):
    """Wherever the suite lay for whoever resolved the run, which in a pod is another machine."""
    table = hours()
    table.to_csv(tmp_path / "table.csv", index=False)
    source = {
        "kind": "file",
        "path": str(tmp_path / "table.csv"),
        "sha256": sha256_file(tmp_path / "table.csv"),
    }
    spec = spec_with(small_data(source=source, expectations=place.format(here=tmp_path)))
    folders = {name: tmp_path / "scratch" / name for name in ("inputs", "work", "out")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    resolved = {"expectations": json.loads(SUITE.read_text()), "run_date": RUN_DATE.isoformat()}
    request = StepRequest("prepare", "tiny/run", "1", Artifact("resolved.json", "0" * 64, 1))
    exchange = FolderExchange(tmp_path / "exchange")
    summary = _prepare(
        StepContext(request, resolved, spec, **folders, exchange=exchange, progress=Progress(io.StringIO()))
    )
    assert summary["success"]
    assert {path.name for path in tmp_path.iterdir()} == {"scratch", "table.csv"}
