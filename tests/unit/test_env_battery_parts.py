"""The battery's physics and money, the market's calendar, and plans that are exact."""

import itertools
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drl.envs.battery.market import LOOK_BACK, Market
from drl.envs.battery.planning import hindsight_action_values, hindsight_values, plan_action_values
from drl.envs.battery.storage import Battery
from drl.errors import DataError, InputError

PRICES = st.lists(st.floats(-500, 1000), min_size=1, max_size=6)


def columns(start="2023-11-01", hours=LOOK_BACK + 100, context=LOOK_BACK, **changes):
    begin = int(datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp())
    made = {
        "timestamp": begin + 3600 * np.arange(hours),
        "price": np.random.default_rng(0).normal(60.0, 40.0, hours),
        "context": np.arange(hours) < context,
    }
    return made | changes


# ------------------------------------------------------------------------------------------- storage


def test_the_default_battery_moves_on_five_levels():
    battery = Battery()
    assert (battery.levels, battery.actions, battery.idle) == (5, 5, 2)
    assert battery.next_level.tolist() == [
        [0, 0, 0, 1, 2],
        [0, 0, 1, 2, 3],
        [0, 1, 2, 3, 4],
        [1, 2, 3, 4, 4],
        [2, 3, 4, 4, 4],
    ]


def test_charging_buys_more_and_discharging_sells_less_than_is_moved():
    profit = Battery().profit(np.array(100.0))
    assert profit[0, 4] == pytest.approx(-100 / 0.95 - 4)  # buys 1 / 0.95 MWh for 1 MWh at the terminals
    assert profit[4, 0] == pytest.approx(100 * 0.95 - 4)
    assert profit[4, 1] == pytest.approx(0.5 * 100 * 0.95 - 2)
    assert profit[0, 0] == profit[4, 4] == profit[2, 2] == 0  # nothing fits, or nothing is wanted
    assert profit[1, 0] == profit[1, 1]  # cut to what is there


@given(
    st.integers(1, 9),
    st.sets(st.integers(-4, 4), min_size=1, max_size=6),
    st.floats(0.1, 1),
    st.floats(0, 50),
)
def test_energy_and_money_are_accounted_for(full, steps, efficiency, wear):
    lattice = 0.25
    battery = Battery(
        capacity_mwh=full * lattice,
        power_levels_mw=[lattice * step for step in sorted(steps | {0, 1})],
        lattice_mwh=lattice,
        efficiency=efficiency,
        wear_eur_per_mwh=wear,
    )
    moved = (battery.next_level - np.arange(battery.levels)[:, None]) * lattice
    wanted = np.array(battery.power_levels_mw)
    assert battery.next_level.min() >= 0
    assert battery.next_level.max() == full
    assert (np.abs(moved) <= np.abs(wanted)).all()
    assert (moved * wanted >= 0).all()
    bought, sold = np.maximum(-battery.sold_mwh, 0), np.maximum(battery.sold_mwh, 0)
    np.testing.assert_allclose(bought * efficiency - sold / efficiency, moved, atol=1e-12)
    np.testing.assert_allclose(battery.wear_eur, wear * np.abs(moved))


def test_among_equals_the_gentlest_action_is_best():
    battery = Battery()
    assert battery.best_action(np.zeros(5)) == battery.idle
    assert battery.best_action(np.array([7.0, 7.0, 0.0, 1.0, 7.0])) == 1


@pytest.mark.parametrize(
    "setting",
    [
        {"capacity_mwh": 1.9},
        {"capacity_mwh": 0.0},
        {"power_levels_mw": [-1.0, 1.0]},
        {"power_levels_mw": [0.0]},
        {"power_levels_mw": [0.0, 1.0, 1.0]},
        {"power_levels_mw": [0.0, 0.7]},
        {"lattice_mwh": 0.0},
        {"efficiency": 1.1},
        {"efficiency": 0.0},
        {"wear_eur_per_mwh": -1.0},
        {"wear_eur_per_mwh": float("nan")},
        {"capacity_mwh": "2"},
        {"power_levels_mw": 1.0},
        {"power_levels_mw": [0.0, "1"]},
    ],
)
def test_impossible_batteries_are_refused_by_name(setting):
    with pytest.raises(InputError, match=next(iter(setting))):
        Battery(**setting)


# ------------------------------------------------------------------------------------------ planning


def search(battery, price, level):
    """The best profit by trying every sequence of actions."""
    best = -np.inf
    for actions in itertools.product(range(battery.actions), repeat=len(price)):
        now, total = level, 0.0
        for eur, action in zip(price, actions, strict=True):
            moved = (battery.next_level[now, action] - now) * battery.lattice_mwh
            total += -eur * moved / 0.95 if moved > 0 else -eur * moved * 0.95
            total -= 4.0 * abs(moved)
            now = battery.next_level[now, action]
        best = max(best, total)
    return best


@settings(max_examples=25, deadline=None)
@given(PRICES.filter(lambda prices: len(prices) <= 4), st.integers(0, 4))
def test_hindsight_is_what_a_search_of_all_plans_finds(prices, level):
    battery = Battery()
    values = hindsight_values(battery, np.array(prices))
    assert values[0, level] == pytest.approx(search(battery, prices, level), abs=1e-9)


@given(PRICES)
def test_a_plan_on_known_prices_is_hindsight(prices):
    battery, price = Battery(), np.array(prices)
    values = hindsight_values(battery, price)
    known = hindsight_action_values(battery, price, values)[0]
    np.testing.assert_array_equal(plan_action_values(battery, price[:, None])[:, :, 0], known)
    np.testing.assert_array_equal(known.max(axis=1), values[0])


def test_plans_made_together_are_those_made_alone():
    battery = Battery()
    forecast = np.random.default_rng(0).normal(50, 40, (24, 9001))
    together = plan_action_values(battery, forecast)
    for column in (0, 8191, 8192, 9000):
        alone = plan_action_values(battery, forecast[:, [column]])
        np.testing.assert_array_equal(together[:, :, [column]], alone)


def test_a_finer_lattice_earns_nothing_more():
    """The states that five levels leave out are never needed, so five levels lose nothing."""
    price = np.random.default_rng(1).normal(50, 60, 500)
    fine = Battery(lattice_mwh=0.125, power_levels_mw=list(np.arange(-8, 9) / 8))
    coarse = hindsight_values(Battery(), price)[0, 0]
    assert hindsight_values(fine, price)[0, 0] == pytest.approx(coarse, abs=1e-8)


# -------------------------------------------------------------------------------------------- market


def year(number):
    """One year of hours with its look-back."""
    begin = datetime(number, 1, 1, tzinfo=UTC).timestamp() - LOOK_BACK * 3600
    hours = (datetime(number + 1, 1, 1, tzinfo=UTC).timestamp() - begin) // 3600
    start = datetime.fromtimestamp(begin, UTC).strftime("%Y-%m-%dT%H:%M")
    return Market.of(columns(start, int(hours)), "evaluate")


@pytest.mark.parametrize("number", [2023, 2024])
def test_a_year_has_52_scored_weeks(number):
    market = year(number)
    weeks = market.scored_weeks()[market.first :]
    assert list(dict.fromkeys(weeks)) == [f"{number}-W{week:02d}" for week in range(1, 53)]
    assert min(weeks.count(week) for week in set(weeks)) >= 166


def test_the_edges_of_2024_are_scored_as_documented():
    market = year(2024)
    weeks = market.scored_weeks()[market.first :]
    assert weeks.count("2024-W01") == 167  # the year begins at 01:00 local time on a Monday
    assert weeks.count("2024-W52") == 168 + 49  # with the first 49 hours of 2025-W01
    assert market.week[-1] == "2025-W01"


def test_a_short_window_is_one_week():
    market = Market.of(columns(hours=LOOK_BACK + 5), "evaluate")
    assert len(set(market.scored_weeks()[market.first :])) == 1


def test_local_time_follows_daylight_saving():
    market = Market.of(columns("2024-03-01"), "evaluate")
    spring = int(np.searchsorted(market.time, datetime(2024, 3, 31, 0, tzinfo=UTC).timestamp()))
    assert market.hour[spring : spring + 3].tolist() == [1, 3, 4]
    assert market.weekday[spring] == 6


def test_training_begins_after_its_own_look_back():
    assert Market.of(columns(context=0), "train").first == LOOK_BACK
    assert Market.of(columns(context=LOOK_BACK + 3), "train").first == LOOK_BACK + 3


def broken_price(value):
    made = columns()
    made["price"][700] = value
    return made


def skipped_hour():
    return {name: np.delete(values, 690) for name, values in columns().items()}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (broken_price(np.nan), r"row 700 \(2023-11-30 04:00 UTC\) is nan; 1 such"),
        (broken_price(np.inf), "is inf"),
        (skipped_hour(), "2023-11-29 17:00 UTC is followed by 2023-11-29 19:00 UTC"),
        (columns(context=100), "100 context rows.*672"),
        (columns(hours=LOOK_BACK), "nothing is left to act in"),
        (columns(context=LOOK_BACK, timestamp=np.zeros(772, dtype=np.int64)), "771 such places"),
        ({name: v for name, v in columns().items() if name != "price"}, "no column price"),
    ],
)
def test_unusable_data_are_refused(data, words):
    with pytest.raises(DataError, match=words):
        Market.of(data, "evaluate")


def test_context_in_the_middle_is_refused():
    data = columns()
    data["context"][700] = True
    with pytest.raises(DataError, match="row 700 is context after"):
        Market.of(data, "evaluate")
