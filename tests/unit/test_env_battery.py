"""The battery environment: what is seen, what is earned, and that single and vector form agree."""

import hashlib
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from drl.envs.battery import BatteryArbitrage, BatteryArbitrageVector
from drl.envs.battery.baselines import BASELINES, Clock
from drl.envs.battery.market import LOOK_BACK, Market
from drl.envs.battery.observation import Observations
from drl.envs.battery.planning import hindsight_values
from drl.envs.battery.storage import Battery
from drl.errors import InputError
from drl.evaluation.baselines import construct_baselines, fit_baselines
from drl.evaluation.rollout import rollout
from drl.spec import EvaluationSpec

HOURS = LOOK_BACK + 24 * 20
BEGIN = 1_704_067_200 - 3600 * LOOK_BACK  # so that 2024 is acted in


def columns(seed=0, hours=HOURS):
    """Prices with a daily and a weekly shape, noise, and some below zero."""
    rng, hour = np.random.default_rng(seed), np.arange(hours)
    price = 60 + 40 * np.sin(2 * np.pi * hour / 24) + 20 * np.sin(2 * np.pi * hour / 168)
    return {
        "timestamp": BEGIN + 3600 * hour,
        "price": price + rng.normal(0, 25, hours),
        "context": hour < LOOK_BACK,
    }


DATA = columns()


@pytest.fixture(scope="module")
def evaluation():
    return BatteryArbitrage(DATA, "evaluate")


def play(environment, actions, seed=None):
    """Everything that an environment answers to a list of actions."""
    outcome = [environment.reset(seed=seed)[0]]
    for action in actions:
        outcome.append(environment.step(action)[:4])
    return outcome


def digest(outcome):
    return hashlib.sha256(b"".join(np.asarray(x).tobytes() for step in outcome for x in step)).hexdigest()


# ---------------------------------------------------------------------------------------- contract


@pytest.mark.parametrize("arguments", [("evaluate",), ("train",), ("train", "regret")])
def test_gymnasium_accepts_it(arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(BatteryArbitrage(DATA, *arguments, episode_hours=48), skip_render_check=True)


def test_the_observation_is_documented_value_by_value(evaluation):
    values = evaluation.simulation.observations.values
    assert len(values) == evaluation.observation_space.shape[0] == 182
    assert len({value.name for value in values}) == 182
    assert all(value.unit for value in values)


def test_the_documented_table_covers_every_value_once():
    document = Path(__file__).parents[2] / "docs" / "battery.md"
    ranges = re.findall(r"^\| (\d+)(?:–(\d+))? \|", document.read_text(encoding="utf-8"), re.MULTILINE)
    covered = [index for first, last in ranges for index in range(int(first), int(last or first) + 1)]
    assert covered == list(range(182))


def test_another_battery_is_accepted_too():
    options = {"capacity_mwh": 3, "power_levels_mw": [0.0, 1.5, -0.75], "lattice_mwh": 0.75}
    environment = BatteryArbitrage(DATA, "train", "regret", episode_hours=48, **options)
    check_env(environment, skip_render_check=True)
    assert environment.observation_space.shape == (172 + 2 * 3,)
    assert environment.simulation.battery.idle == 0


def test_same_seed_same_trajectory():
    actions = np.random.default_rng(0).integers(5, size=60)
    first, again, other = (
        digest(play(BatteryArbitrage(DATA, "train", "regret", episode_hours=48), actions, seed))
        for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("action", [-1, 5, 0.5, "charge", None])
def test_actions_that_are_none_are_refused(evaluation, action):
    evaluation.reset()
    with pytest.raises(InputError, match="give integers from 0 to 4"):
        evaluation.step(action)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("test",), "mode 'test'"),
        (("train", "regert"), "one of regret"),
        (("evaluate", "regret"), "training only"),
    ],
)
def test_unknown_modes_and_rewards_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        BatteryArbitrage(DATA, *arguments)


def test_an_episode_longer_than_the_data_is_refused():
    for hours in (480, 0, 24.0):
        with pytest.raises(InputError, match=f"episode_hours = {hours} with 480 hours"):
            BatteryArbitrage(DATA, "train", episode_hours=hours)


def test_equal_arguments_share_what_is_computed_and_others_do_not():
    one = BatteryArbitrage(DATA, "train", "regret", episode_hours=48)
    copied = {name: values.copy() for name, values in DATA.items()}
    vector = BatteryArbitrageVector(2, copied, "train", "regret", episode_hours=48)
    assert vector.simulation is one.simulation
    copied["price"][-1] += 1
    for other in (
        BatteryArbitrage(copied, "train", "regret", episode_hours=48),
        BatteryArbitrage(DATA, "train", None, episode_hours=48),
        BatteryArbitrage(DATA, "train", "regret", episode_hours=47),
        BatteryArbitrage(DATA, "evaluate", episode_hours=48),
    ):
        assert other.simulation is not one.simulation


# ------------------------------------------------------------------------------------ what is seen


def expected(market, battery, row, level):
    """An observation again, from its description and slice by slice."""
    price, now = market.price, market.price[row]
    week = price[row - 167 : row + 1]
    mean, scale = week.mean(), week.std() + 5
    lags = [price[row - lag] for lag in range(48)]
    seven = [np.mean([price[row + h - 24 * k] for k in range(1, 8)]) for h in range(25)]
    four = [np.mean([price[row + h - 168 * k] for k in range(1, 5)]) for h in range(25)]
    ago = [price[row + h - 168] for h in range(25)]
    daily = [price[row - 24 * d - 23 : row - 24 * d + 1].mean() for d in range(7)]
    day = price[row - 23 : row + 1]
    standard = (np.array([*lags, *seven, *four, *ago, *daily]) - mean) / scale
    rest = [(day < now).mean(), day.std() / scale, np.log(scale / 20), mean / scale]
    angle = market.year_angle[row]
    hot = [*(np.arange(24) == market.hour[row]), *(np.arange(7) == market.weekday[row])]
    clock = [*hot, np.sin(angle), np.cos(angle)]
    charge = [level / 4, level == 0, level == 4, min(2, 4 - level) / 2, min(2, level) / 2]
    plans = []
    half = (np.array(seven[:24]) + four[:24]) / 2
    for forecast in (np.array(seven[:24]), half + (now - half[0]) * 0.97 ** np.arange(24)):
        values = hindsight_values(battery, forecast)[1]
        worth = battery.profit(forecast[0])[level] + values[battery.next_level[level]]
        plans += list((worth - worth[2]) / scale)
    return np.concatenate([np.clip(standard, -6, 6), rest, clock, charge, np.clip(plans, -6, 6)])


@settings(max_examples=30, deadline=None)
@given(row=st.integers(LOOK_BACK, HOURS - 1), level=st.integers(0, 4))
def test_an_observation_is_what_its_description_says(row, level):
    market, battery = SEEN
    seen = OBSERVATIONS.at(np.array([row]), np.array([level]))[0]
    np.testing.assert_allclose(seen, expected(market, battery, row, level), atol=2e-6)


SEEN = (Market.of(DATA, "evaluate"), Battery())
OBSERVATIONS = Observations(*SEEN)


@settings(max_examples=10, deadline=None)
@given(row=st.integers(LOOK_BACK, HOURS - 2), seed=st.integers(0, 1000))
def test_the_future_changes_nothing_that_is_seen_or_done_before(row, seed):
    """Other prices after an hour: the same observations, tables and actions up to that hour, bit for bit."""
    changed = {name: values.copy() for name, values in DATA.items()}
    changed["price"][row + 1 :] = np.random.default_rng(seed).normal(0, 500, HOURS - row - 1)
    here, there = (BatteryArbitrage(data, "evaluate") for data in (DATA, changed))
    past = slice(0, row + 1 - LOOK_BACK)
    rows = np.repeat(np.arange(LOOK_BACK, row + 1), 5)
    levels = np.tile(np.arange(5), row + 1 - LOOK_BACK)
    np.testing.assert_array_equal(
        here.simulation.observe(rows, levels), there.simulation.observe(rows, levels)
    )
    for kind, options in LIVING:
        baseline = BASELINES[kind](BASELINES[kind].fit(DATA, **options), **options)
        tables = [baseline.table(environment.simulation)[past] for environment in (here, there)]
        np.testing.assert_array_equal(*tables)


LIVING = [("nothing", {}), ("threshold", {}), ("clock", {}), ("mpc", {}), ("mpc", {"forecast": "mix"})]


def test_the_past_beyond_the_look_back_changes_nothing_that_is_seen():
    changed = {name: values.copy() for name, values in DATA.items()}
    changed["price"][:300] = 0.0
    here, there = (BatteryArbitrage(data, "evaluate").simulation for data in (DATA, changed))
    rows = np.arange(LOOK_BACK + 300, HOURS)
    levels = rows % 5
    np.testing.assert_array_equal(here.observe(rows, levels), there.observe(rows, levels))


def test_an_hour_is_seen_the_same_in_any_data_set():
    """A single row gives the bits that it gives among many, so that any split can be replayed."""
    alone = {name: values[: LOOK_BACK + 1] for name, values in DATA.items()}
    rows, levels = np.full(5, LOOK_BACK), np.arange(5)
    np.testing.assert_array_equal(
        BatteryArbitrage(alone, "evaluate").simulation.observe(rows, levels), OBSERVATIONS.at(rows, levels)
    )


# ---------------------------------------------------------------------------------- what is earned


def test_an_evaluation_is_one_rollout_from_empty_to_the_last_row(evaluation):
    evaluation.reset(seed=0)
    assert (evaluation.row, evaluation.level) == (LOOK_BACK, 0)
    labels, total, over = [], 0.0, False
    while not over:
        _, reward, over, truncated, info = evaluation.step(evaluation.row % 5)
        assert not truncated
        assert reward == info["profit"]
        labels.append(info["episode_label"])
        total += reward
    assert len(labels) == HOURS - LOOK_BACK
    assert list(dict.fromkeys(labels)) == ["2024-W01", "2024-W02", "2024-W03"]
    level, money = 0, 0.0
    for row in range(LOOK_BACK, HOURS):
        after = min(4, max(0, level + (row % 5) - 2))
        moved = (after - level) * 0.5
        money -= DATA["price"][row] * (moved / 0.95 if moved > 0 else moved * 0.95) + 4 * abs(moved)
        level = after
    assert total == pytest.approx(money, abs=1e-8)


def test_regret_telescopes_to_what_foresight_had_earned_more():
    environment = BatteryArbitrage(DATA, "train", "regret", episode_hours=200)
    environment.reset(seed=3)
    start, level = environment.row, environment.level
    simulation, regret, profit, truncated = environment.simulation, 0.0, 0.0, False
    while not truncated:
        scale = simulation.observations.scale[environment.row - simulation.first]
        _, reward, _, truncated, info = environment.step(environment.row % 5)
        assert reward < 1e-12
        regret, profit = regret + reward * scale, profit + info["profit"]
    values = hindsight_values(simulation.battery, simulation.market.price[simulation.first :])
    hindsight = (
        values[start - simulation.first, level]
        - values[environment.row - simulation.first, environment.level]
    )
    assert regret == pytest.approx(profit - hindsight, abs=1e-8)


def test_demonstrations_have_no_regret():
    observations, actions = BatteryArbitrage.demonstrations(DATA, np.random.default_rng(0))
    again, _ = BatteryArbitrage.demonstrations(DATA, np.random.default_rng(0))
    np.testing.assert_array_equal(observations, again)
    assert observations.dtype == np.float32
    assert observations.shape == (HOURS - LOOK_BACK, 182)
    environment = BatteryArbitrage(DATA, "train", "regret", episode_hours=48)
    names = [value.name for value in environment.simulation.observations.values]
    levels = np.round(observations[:, names.index("charge")] * 4).astype(int)
    rows = np.arange(LOOK_BACK, HOURS)
    np.testing.assert_array_equal(environment.simulation.observe(rows, levels), observations)
    rewards = environment.simulation.advance(rows, levels, actions)[2]
    np.testing.assert_allclose(rewards, 0.0, atol=1e-12)
    assert 0.25 < np.mean(levels == 0) < 0.40  # 15 % and a fifth of the other 70 %
    assert 0.25 < np.mean(levels == 4) < 0.40


def test_the_trace_follows_the_actions():
    trace = BatteryArbitrage.trace_columns(DATA, np.array([4, 4, 4, 0, 2]))
    assert trace["charge [MWh]"].tolist() == [1, 2, 2, 1, 1]
    assert trace["power [MW], above zero charging"].tolist() == [1, 1, 0, -1, 0]
    np.testing.assert_array_equal(trace["time"], DATA["timestamp"][LOOK_BACK : LOOK_BACK + 5])


# ------------------------------------------------------------------------------------------ vector


@pytest.mark.parametrize(("mode", "reward"), [("train", None), ("train", "regret"), ("evaluate", None)])
def test_the_vector_form_gives_what_single_environments_give(mode, reward):
    options = {"episode_hours": 30, "wear_eur_per_mwh": 2.0}
    vector = BatteryArbitrageVector(3, DATA, mode, reward, staggered=False, **options)
    single = SyncVectorEnv(
        [lambda: BatteryArbitrage(DATA, mode, reward, **options)] * 3, autoreset_mode=AutoresetMode.NEXT_STEP
    )
    actions = np.random.default_rng(0).integers(5, size=(500, 3))
    for one, other in zip(play(vector, actions, seed=5), play(single, actions, seed=5), strict=True):
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_first_episodes_are_staggered_and_later_ones_are_not():
    vector = BatteryArbitrageVector(4, DATA, "train", episode_hours=40)
    outcome = play(vector, np.full((130, 4), 2), seed=0)
    ends = np.array([step[3] for step in outcome[1:]])
    first = [int(np.flatnonzero(column)[0]) + 1 for column in ends.T]
    assert first == [40, 30, 20, 10]
    lengths = {int(gap) for column in ends.T for gap in np.diff(np.flatnonzero(column))}
    assert lengths == {41}  # 40 hours and the step that resets


def test_what_a_step_returned_is_not_changed_by_the_next():
    vector = BatteryArbitrageVector(2, DATA, "train", episode_hours=3, staggered=False)
    vector.reset(seed=0)
    kept = [vector.step(np.array([4, 0])) for _ in range(8)]
    assert [bool(step[3].all()) for step in kept] == [False, False, True, False, False, False, True, False]


def test_the_vector_form_refuses_what_it_cannot_step():
    vector = BatteryArbitrageVector(2, DATA, "train", episode_hours=3)
    vector.reset(seed=[1, 2])
    with pytest.raises(InputError, match="give 2 actions"):
        vector.step(np.array([0]))
    with pytest.raises(InputError, match="3 reset seeds"):
        vector.reset(seed=[1, 2, 3])
    with pytest.raises(InputError, match="num_envs = 0"):
        BatteryArbitrageVector(0, DATA, "train")


# --------------------------------------------------------------------------------------- baselines


def test_nothing_beats_foresight_which_is_exact(evaluation):
    spec = EvaluationSpec.model_validate(
        {
            "baselines": [
                {"name": "nothing", "kind": "nothing"},
                {"name": "threshold", "kind": "threshold"},
                {"name": "clock", "kind": "clock"},
                {"name": "mpc_mean7", "kind": "mpc"},
                {"name": "mpc_mix", "kind": "mpc", "settings": {"forecast": "mix"}},
                {"name": "foresight", "kind": "foresight"},
                {"name": "random", "kind": "random"},
            ]
        }
    )
    parameters = json.loads(json.dumps(fit_baselines(spec, BatteryArbitrage, columns(1))))
    actors = construct_baselines(parameters, BatteryArbitrage)
    score = {n: rollout(a, evaluation, episodes=1, seed=0).returns.sum() for n, a in actors.items()}
    values = hindsight_values(Battery(), DATA["price"][LOOK_BACK:])
    assert score["foresight"] == pytest.approx(values[0, 0], abs=1e-8)
    assert score["foresight"] == max(score.values())
    assert score["nothing"] == 0
    assert score["random"] < 0
    assert min(score["clock"], score["threshold"], score["mpc_mean7"], score["mpc_mix"]) > 0
    assert all(
        actor.parameters() == parameters[name]["fitted"] for name, actor in actors.items() if name != "random"
    )


def test_the_clock_is_the_best_daily_cycle(evaluation):
    profile = [50.0] * 24
    profile[3], profile[4], profile[18], profile[19] = 10.0, 12.0, 90.0, 95.0
    schedule = Clock({"profile": profile}).schedule(evaluation.simulation)
    assert np.flatnonzero(schedule == 4).tolist() == [3, 4]
    assert np.flatnonzero(schedule == 0).tolist() == [18, 19]
    assert np.sum(schedule == 2) == 20
    profile[2], profile[23], profile[3], profile[4] = 10.0, 8.0, 50.0, 50.0  # charges over midnight
    schedule = Clock({"profile": profile}).schedule(evaluation.simulation)
    assert np.flatnonzero(schedule == 4).tolist() == [2, 23]


def test_the_clock_learns_the_last_year_by_local_hour():
    fitted = Clock.fit(DATA)
    market = Market.of(DATA, "train")
    noon = market.price[market.first :][market.hour[market.first :] == 12]
    assert fitted["profile"][12] == pytest.approx(noon.mean())


def test_the_threshold_takes_the_quantiles_that_numpy_takes(evaluation):
    table = BASELINES["threshold"]({}, low=0.3, high=0.7, hours=20).table(evaluation.simulation)
    for row in range(LOOK_BACK, HOURS):
        window = DATA["price"][row - 19 : row + 1]
        low, high = np.quantile(window, 0.3), np.quantile(window, 0.7)
        wanted = 4 if window[-1] <= low else 0 if window[-1] >= high else 2
        assert table[row - LOOK_BACK, 0] == wanted


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BASELINES["mpc"]({}, forecast="mean8"), "mean7, mix"),
        (lambda: BASELINES["threshold"]({}, low=0.9), "0 <= low <= high"),
        (lambda: BASELINES["threshold"]({}, hours=0), "hours 0"),
        (lambda: BASELINES["clock"]({"profile": [1.0]}), "what Clock.fit returned"),
        (lambda: BASELINES["clock"].fit(None), "there is none"),
        (lambda: BASELINES["mpc"]({}).act(np.zeros(182)), "call reset first"),
    ],
)
def test_baselines_refuse_what_they_cannot_use(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_baselines_refuse_another_environment():
    import gymnasium

    with pytest.raises(InputError, match="CartPoleEnv"):
        BASELINES["foresight"]({}).reset(gymnasium.make("CartPole-v1").unwrapped)
