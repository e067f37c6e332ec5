"""Each rule touches what it should, counts it, and refuses what it cannot settle, keeping the rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from drl.data.cleaning import clean
from drl.data.rejection import RejectedRows
from drl.data.text_table import read_text_table, to_columns
from drl.errors import DataError
from drl.spec import CleaningRule

FORMATS = ["%Y-%m-%d %H:%M:%S", "%d/%m/%Y %H:%M"]
PARSE = {"rule": "parse_timestamps", "column": "t", "formats": FORMATS}


def rules(*values):
    return TypeAdapter(list[CleaningRule]).validate_python(list(values))


@pytest.fixture
def run(tmp_path):
    def run(text, *values):
        path = tmp_path / "table.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return clean(read_text_table(path), rules(*values))

    return run


def test_reading_guesses_nothing(run):
    table, _ = run("a,b,c\r\n007,NA,\n 1 ,true,1e3\n")
    assert table.to_numpy().tolist() == [["007", "NA", ""], [" 1 ", "true", "1e3"]]
    assert table.index.tolist() == [2, 3]


def test_a_byte_order_mark_is_no_part_of_a_name(run):
    assert list(run(b"\xef\xbb\xbfa,b\n1,2\n")[0].columns) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 rows below the header"),
        ("a,b\n", "0 rows below the header"),
        ("a,a\n1,2\n", r"below the header \['a', 'a'\]"),
        ("a,b\n1,2\n\n3\n", "line 4: 1 fields, header 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3: 3 fields, header 2"),
        ('a,b\n1,"2\n', "not a readable CSV"),
        (b"a\n\xff\xfe\n", "not a readable CSV"),
    ],
)
def test_a_broken_file_is_refused(run, text, message):
    with pytest.raises(DataError, match=message):
        run(text)


def test_rename_keeps_what_it_names(run):
    table, (report,) = run("x,y,z\n1,2,3\n", {"rule": "rename_columns", "columns": {"z": "a", "x": "b"}})
    assert table.to_dict("list") == {"a": ["3"], "b": ["1"]}
    assert report.to_json() == {
        "rule": "rename_columns",
        "touched": 0,
        "rows_before": 1,
        "rows_after": 1,
        "first": [],
        "details": {"columns_dropped": ["y"]},
    }


def test_two_columns_cannot_get_one_name(run):
    with pytest.raises(DataError, match="same name"):
        run("x,y\n1,2\n", {"rule": "rename_columns", "columns": {"x": "a", "y": "a"}})


def test_a_missing_column_is_named_with_those_there(run):
    with pytest.raises(
        DataError, match=r"cleaning rule 1 \(sort_by\): no column 'q'; there are \['x', 'y'\]"
    ):
        run("x,y\n1,2\n", {"rule": "sort_by", "column": "q"})


def test_rows_without_a_value_are_dropped_and_shown(run):
    table, (report,) = run("t,p\na,1\n,2\nb,3\n,4\n", {"rule": "drop_rows_without", "columns": ["t"]})
    assert table["p"].tolist() == ["1", "3"]
    assert (report.touched, report.rows_after) == (2, 2)
    assert report.first == [{"line": 3, "t": "", "p": "2"}, {"line": 5, "t": "", "p": "4"}]


def test_more_than_at_most_is_refused_with_the_rows(run, tmp_path):
    text = "t,p\n" + "".join(f",{i}\n" for i in range(7)) + "a,7\n"
    with pytest.raises(RejectedRows, match=r"cleaning rule 1 .*touched 7 rows, at_most is 6") as caught:
        run(text, {"rule": "drop_rows_without", "columns": ["t"], "at_most": 6})
    assert str(caught.value).count("'line'") == 5
    caught.value.keep(tmp_path / "rejected.parquet")
    kept = pd.read_parquet(tmp_path / "rejected.parquet")
    assert kept["p"].tolist() == list("0123456")
    assert kept["line"].tolist() == [2, 3, 4, 5, 6, 7, 8]
    other_process = pickle.loads(pickle.dumps(caught.value))
    assert str(other_process) == str(caught.value)


def test_a_rule_that_leaves_nothing_is_refused(run):
    with pytest.raises(RejectedRows, match="no row is left"):
        run('t\n""\n', {"rule": "drop_rows_without", "columns": ["t"]})


def test_days_and_months_are_not_swapped(run):
    """``format="mixed"`` reads 02/01/2023 as 1 February and 13/01/2023 as 13 January, without a word."""
    text = "t\n2022-12-31 23:00:00\n02/01/2023 05:00\n13/01/2023 05:00\n"
    table, (report,) = run(text, PARSE)
    right = pd.to_datetime(["2022-12-31 23:00", "2023-01-02 05:00", "2023-01-13 05:00"])
    assert table["t"].tolist() == right.tolist()
    assert report.touched == 2
    assert report.details == {"rows_by_format": {FORMATS[0]: 1, FORMATS[1]: 2}}
    guessed = pd.to_datetime(pd.Series(text.split("\n")[1:4]), format="mixed")
    assert guessed.tolist()[1] == pd.Timestamp("2023-02-01 05:00")


@pytest.mark.parametrize(
    "text", ["31/02/2023 00:00", "2023-01-01", "2023-01-01 00:00:00 or so", "", "12/31/2023 00:00"]
)
def test_a_time_that_no_format_reads_is_refused(run, text):
    with pytest.raises(RejectedRows, match="1 rows fit none of") as caught:
        run(f'x,t\n1,2023-01-01 00:00:00\n2,"{text}"\n', PARSE)
    assert caught.value.rows["x"].tolist() == ["2"]


def test_local_time_becomes_utc_and_the_doubled_hour_is_refused(run):
    local = {**PARSE, "timezone": "Europe/Amsterdam"}
    table, _ = run("t\n2024-01-01 01:00:00\n01/07/2024 02:00\n", local)
    assert table["t"].tolist() == [pd.Timestamp("2024-01-01 00:00"), pd.Timestamp("2024-07-01 00:00")]
    for text in ("2024-10-27 02:30:00", "2024-03-31 02:30:00"):
        with pytest.raises(RejectedRows, match="twice or never in Europe/Amsterdam"):
            run(f"t\n2024-01-01 01:00:00\n{text}\n", local)
    with pytest.raises(DataError, match="timezone 'Europe/Amstredam': unknown"):
        run("t\n2024-01-01 01:00:00\n", {**PARSE, "timezone": "Europe/Amstredam"})


def test_a_written_offset_wins_over_the_declared_zone(run):
    rule = {**PARSE, "formats": ["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S"], "timezone": "Europe/Amsterdam"}
    table, _ = run("t\n2024-01-01T00:00:00+05:00\n2024-01-01T00:00:00Z\n2024-01-01 01:00:00\n", rule)
    assert [str(t) for t in table["t"]] == [
        "2023-12-31 19:00:00",
        "2024-01-01 00:00:00",
        "2024-01-01 00:00:00",
    ]


def test_numbers_are_read_exactly(run):
    table, _ = run("p\n0.1\n-500\n+.5\n5.\n1e3\n872.96\n", {"rule": "parse_numbers", "columns": ["p"]})
    assert table["p"].tolist() == [0.1, -500.0, 0.5, 5.0, 1000.0, 872.96]


@pytest.mark.parametrize("text", ["1,5", "NaN", "inf", "1_000", " 1", "0x10", "--1", "1e999", "", "\u0661"])
def test_what_is_no_plain_number_is_refused(run, text):
    with pytest.raises(RejectedRows, match="1 rows are no finite decimal number"):
        run(f'p\n1\n"{text}"\n', {"rule": "parse_numbers", "columns": ["p"]})


def test_equal_duplicates_are_dropped_and_contradictions_refused(run):
    rule = {"rule": "drop_duplicates", "key": "t"}
    table, (report,) = run("t,p\n1,5\n2,6\n1,5\n1,5\n", rule)
    assert table.index.tolist() == [2, 3]
    assert report.touched == 2
    with pytest.raises(RejectedRows, match="1 values of t have rows that contradict each other") as caught:
        run("t,p\n1,5\n2,6\n1,5\n1,7\n", rule)
    assert caught.value.rows["p"].tolist() == ["5", "5", "7"]


def test_sorting_counts_the_rows_out_of_place(run):
    table, (report,) = run("t\n1\n3\n2\n4\n", {"rule": "sort_by", "column": "t"})
    assert table["t"].tolist() == ["1", "2", "3", "4"]
    assert report.touched == 2


GAP = "t,p\n2024-01-01 00:00:00,1\n2024-01-01 01:00:00,2\n2024-01-01 04:00:00,8\n"
NUMBERS = {"rule": "parse_numbers", "columns": ["p"]}


@pytest.mark.parametrize(("method", "expected"), [("previous", [1, 2, 2, 2, 8]), ("linear", [1, 2, 4, 6, 8])])
def test_missing_steps_are_filled(run, method, expected):
    fill = {"rule": "fill_missing_steps", "column": "t", "every": "1h", "method": method, "at_most": 2}
    table, (*_, report) = run(GAP, PARSE, NUMBERS, fill)
    assert table["p"].tolist() == expected
    assert table.index.tolist() == [2, 3, 0, 0, 4]
    assert report.touched == 2
    assert [row["t"] for row in report.first] == ["2024-01-01T02:00:00", "2024-01-01T03:00:00"]
    columns = to_columns(table, time_column="t")
    assert set(np.diff(columns["t"])) == {3600}
    assert columns["t"][0] == 1704067200


@pytest.mark.parametrize(
    ("text", "before", "message"),
    [
        (GAP, [PARSE, NUMBERS], "2 rows are missing, at most 1 may be added"),
        (GAP.replace("2024-01-01 04", "2224-01-01 04"), [PARSE, NUMBERS], "rows are missing"),
        (GAP.replace("04:00:00", "03:30:00"), [PARSE, NUMBERS], "1 rows lie between two steps"),
        (GAP.replace("04:00:00", "01:00:00"), [PARSE, NUMBERS], "not strictly ascending"),
        (GAP, [NUMBERS], "no time yet"),
        (GAP, [PARSE], r"\['p'\] are texts"),
    ],
)
def test_steps_that_cannot_be_filled_are_refused(run, text, before, message):
    with pytest.raises(DataError, match=message):
        run(text, *before, {"rule": "fill_missing_steps", "column": "t", "every": "1h", "at_most": 1})


def test_a_wrong_year_makes_no_million_rows_even_without_at_most(run):
    text = GAP.replace("2024-01-01 04", "2224-01-01 04")
    with pytest.raises(RejectedRows, match="at most 3 may be added"):
        run(text, PARSE, NUMBERS, {"rule": "fill_missing_steps", "column": "t", "every": "1min"})


def test_columns_must_be_numbers_and_times(run):
    table, _ = run(GAP, PARSE)
    with pytest.raises(DataError, match="column 'p' holds object"):
        to_columns(table, time_column="t")
    with pytest.raises(DataError, match="no time in the cleaned columns"):
        to_columns(table, time_column="p")
    fine = run("t\n2024-01-01 00:00:00.5\n", {**PARSE, "formats": ["%Y-%m-%d %H:%M:%S.%f"]})[0]
    with pytest.raises(DataError, match="finer than a second"):
        to_columns(fine, time_column="t")
