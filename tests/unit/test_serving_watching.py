"""When the alias moves, comes to nothing, or names what cannot be proved. The registry is a stand-in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from served_policies import EXPECTED, policy_folder, proof_of

from drl.errors import StoreError, Undetermined
from drl.policy.root import FILES
from drl.serving.proof import Expected, Outcome, Proof, Target
from drl.serving.watching import PolicyWatch


class Deployment:
    """A registry and a prover whose answers a test sets."""

    def __init__(self, folder: Path) -> None:
        self.folders = {n: policy_folder(folder / f"v{n}", seed=n) for n in (1, 2, 3)}
        self.alias: int | None = 1
        self.gone = False
        self.answers: dict[int, tuple[Outcome, str]] = {}
        self.proved: list[int] = []
        self.played: list[int] = []
        self.unexpected: Exception | str | None = None

    def version(self, model: str, alias: str) -> int | None:
        if self.gone:
            raise StoreError("the registry cannot be reached", remedy="wait")
        return self.alias

    def target(self, model: str, version: int) -> Target:
        return proof_of(self.folders[version], version=version).target

    def prove(self, target: Target, into: Path) -> Proof:
        self.proved.append(target.version)
        outcome, reason = self.answers.get(target.version, ("holds", ""))
        if outcome == "undetermined":
            raise Undetermined(reason, remedy="wait")
        source = self.folders[target.version]
        for name in FILES:
            (into / name).write_bytes((source / name).read_bytes())
        proof = proof_of(source, version=target.version)
        return proof if outcome == "holds" else replace(proof, outcome=outcome, reasons=(reason,))

    def expect(self, target: Target, policy: Path) -> tuple[Expected | None, str | None]:
        assert {path.name for path in policy.iterdir()} == set(FILES)
        self.played.append(target.version)
        if isinstance(self.unexpected, Exception):
            raise self.unexpected
        return (None, self.unexpected) if self.unexpected else (EXPECTED, None)


@pytest.fixture
def there(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


@pytest.fixture
def watch(there: Deployment, tmp_path: Path) -> PolicyWatch:
    return PolicyWatch(
        "pole",
        "champion",
        registry=there,
        prove=there.prove,
        expect=there.expect,
        folder=tmp_path / "state",
        prove_seconds=300,
    )


def served(watch: PolicyWatch) -> int | None:
    return watch.loaded.target.version if watch.loaded else None


def test_follows_the_alias_and_proves_each_target_once(there: Deployment, watch: PolicyWatch) -> None:
    for alias in (1, 1, 2, 2, 1):
        there.alias = alias
        watch.look()
        assert served(watch) == alias
    assert there.proved == [1, 2, 1]
    assert watch.switches == 3


def test_what_is_false_is_refused_and_the_one_before_goes_on(there: Deployment, watch: PolicyWatch) -> None:
    watch.look()
    there.alias, there.answers[2] = 2, ("false", "check 14: another verdict")
    watch.look()
    watch.look()
    assert served(watch) == 1
    assert watch.refused is not None
    assert watch.refused.to_json() == {
        "version": 2,
        "outcome": "false",
        "reasons": ["check 14: another verdict"],
    }
    assert there.proved == [1, 2], "not asked again at every look"
    there.alias = 1
    watch.look()
    assert (served(watch), watch.refused) == (1, None)
    there.alias = 3
    watch.look()
    assert (served(watch), watch.refused) == (3, None)


def test_what_could_not_be_told_is_not_loaded_either(there: Deployment, watch: PolicyWatch) -> None:
    there.answers[1] = ("undetermined", "the chain cannot be reached")
    watch.look()
    assert served(watch) is None
    assert watch.refused is not None
    assert watch.refused.outcome == "undetermined"


def test_a_registry_that_is_gone_changes_nothing_but_is_told(there: Deployment, watch: PolicyWatch) -> None:
    watch.look()
    there.gone = True
    watch.look()
    assert served(watch) == 1
    assert watch.registry_trouble == "the registry cannot be reached"
    there.gone = False
    watch.look()
    assert watch.registry_trouble is None


def test_an_alias_that_points_nowhere_ends_the_answers(there: Deployment, watch: PolicyWatch) -> None:
    watch.look()
    there.alias = None
    watch.look()
    assert served(watch) is None
    assert watch.refused is not None
    assert "points nowhere" in watch.refused.reasons[0]
    there.alias = 1
    watch.look()
    assert served(watch) == 1


def aged(watch: PolicyWatch) -> None:
    """An hour goes by."""
    assert watch.loaded is not None
    watch.loaded = replace(watch.loaded, proved=watch.loaded.proved - 3600)
    watch.doubt = watch.doubt and replace(watch.doubt, at=watch.doubt.at - 3600)


def test_what_is_served_is_proved_again_and_withdrawn_when_found_false(
    there: Deployment, watch: PolicyWatch
) -> None:
    watch.look()
    before = watch.loaded
    watch.look()
    assert there.proved == [1]
    aged(watch)
    watch.look()
    assert there.proved == [1, 1]
    assert before is not None
    assert watch.loaded is not None
    assert watch.loaded.policy is before.policy, "the same policy, with a younger proof"
    assert (watch.loaded.drift is before.drift, there.played) == (True, [1]), "nothing is played again"
    there.answers[1] = ("undetermined", "the store cannot be reached")
    aged(watch)
    watch.look()
    watch.look()
    assert there.proved == [1, 1, 1], "not tried again at every look"
    assert served(watch) == 1, "nobody knows better: it goes on"
    assert watch.doubt is not None
    assert watch.doubt.reasons == ("the store cannot be reached",)
    there.answers[1] = ("false", "check 10: revoked")
    aged(watch)
    watch.look()
    assert (served(watch), watch.doubt) == (None, None)


@pytest.mark.parametrize("elsewhere", ["the registry is away", "the alias names what is false"])
def test_what_is_served_is_proved_again_wherever_the_alias_points(
    there: Deployment, watch: PolicyWatch, elsewhere: str
) -> None:
    watch.look()
    there.gone = elsewhere == "the registry is away"
    there.alias, there.answers[2] = 2, ("false", "check 14: another verdict")
    there.answers[1] = ("undetermined", "the newest promotion on the ledger makes version 2 the champion")
    aged(watch)
    watch.look()
    assert served(watch) == 1, "superseded, and nothing better can be proved"
    assert watch.doubt is not None
    there.answers[1] = ("false", "revoked at 2026-11-30")
    aged(watch)
    watch.look()
    assert served(watch) is None
    assert watch.refused is not None
    assert watch.refused.reasons == ("revoked at 2026-11-30",)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("the trust policy does not allow to import it", "does not allow"),
        (Undetermined("drl.serving.expectation did not end within 300 s", remedy="wait"), "within 300 s"),
        (KeyError("expected"), "KeyError"),
    ],
)
def test_a_policy_answers_whatever_comes_of_its_training_environment(
    there: Deployment, watch: PolicyWatch, trouble: Exception | str, words: str
) -> None:
    there.unexpected = trouble
    watch.look()
    assert watch.loaded is not None
    assert (watch.loaded.target.version, watch.loaded.drift, watch.refused) == (1, None, None)
    assert words in (watch.loaded.unexpected or "")
    there.unexpected, there.alias = None, 2
    watch.look()
    assert watch.loaded.drift is not None
    assert watch.loaded.unexpected is None


def test_files_that_are_not_the_proved_ones_do_not_replace_what_is_served(
    there: Deployment, watch: PolicyWatch
) -> None:
    watch.look()
    there.alias = 2
    (there.folders[2] / "policy.onnx").write_bytes((there.folders[3] / "policy.onnx").read_bytes())
    watch.look()
    assert served(watch) == 1
    assert watch.refused is not None
    assert "golden vectors" in watch.refused.reasons[0]


def test_nothing_of_earlier_targets_stays_on_the_disk(
    there: Deployment, watch: PolicyWatch, tmp_path: Path
) -> None:
    watch.look()
    there.alias = 2
    watch.look()
    assert list((tmp_path / "state" / "pole").iterdir()) == []


def test_a_prover_that_breaks_is_a_refusal_that_is_told(there: Deployment, tmp_path: Path) -> None:
    def full(target: Target, into: Path) -> Proof:
        raise OSError("no space left on device")

    watch = PolicyWatch(
        "pole",
        "champion",
        registry=there,
        prove=full,
        expect=there.expect,
        folder=tmp_path / "full",
        prove_seconds=300,
    )
    watch.look()
    assert watch.refused is not None
    assert (watch.refused.outcome, "no space left" in watch.refused.reasons[0]) == ("undetermined", True)
