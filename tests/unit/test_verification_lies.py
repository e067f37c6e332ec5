"""An owner who holds every key and lies: each lie with the check that catches it.

Every record here is validly signed, digested and closed on the ledger.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from record_factory import (
    AT,
    InventedLedger,
    block_hash,
    built,
    later_statement,
    receipt,
    trust_text,
)

from drl.digest import canonical_json
from drl.record import predicates
from drl.record.files import open_record
from drl.record.ledger import Closing, Note, Opening
from drl.verification.findings import Label
from drl.verification.trust import parse_trust
from drl.verification.verify import Means, verify_record

ANY = "{level: 1}"


def change(name, edit):
    """A knob that edits one JSON file of the evaluate step."""

    def apply(folder):
        value = json.loads((folder / name).read_bytes())
        edit(value)
        (folder / name).write_bytes(canonical_json(value))

    return apply


def better_returns(folder):
    lines = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    for line in lines:
        if line["actor"] == "random":
            line["return"] -= 5
    (folder / "episodes.jsonl").write_bytes(b"".join(canonical_json(x) + b"\n" for x in lines))


def release(**fields):
    return lambda statement: statement["predicate"].update(fields)


def earlier_promotion(made):
    return [
        Opening("12" * 32, "34" * 32, 1, receipt(1, 2)),
        Closing("56" * 32, "PROMOTE", receipt(1, 3)),
        Note("78" * 32, receipt(1, 4)),
    ]


def revoked(made):
    value = predicates.revocation_statement(
        "release", name="release.dsse.json", sha256=made.release, reason="the data were wrong", since=AT
    )
    return {"revocation-1": (value, "release")}


def revoked_key(made):
    from record_factory import signer

    value = predicates.revocation_statement(
        "key", name="steps", sha256=signer("steps").public_key.keyid, reason="lost", since=AT
    )
    return {"revocation-1": (value, "release")}


def reproduction(outcome, root=None, role="reproduction"):
    def make(made):
        predicate = {
            "release": made.release,
            "outcome": outcome,
            "root": root or made.root,
            "test": None,
            "first_difference": None,
            "environment": {},
            "started": AT,
            "finished": AT,
        }
        return {"reproduction-1": (later_statement("reproduction", made.root, predicate), role)}

    return make


def without_last_line_feed(folder):
    path = folder / "episodes.jsonl"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))


def twice(kind):
    """The last entry of a kind once more, in a later block, as no ledger could hold it."""

    def apply(entries):
        last = [e for e in entries if isinstance(e, kind)][-1]
        block = entries[-1].receipt.block_number + 1
        return [*entries, replace(last, receipt=receipt(last.receipt.run, block))]

    return apply


LIES = {
    "returns whose last line is open": (14, {"evaluated": without_last_line_feed}),
    "a run that was closed twice": (29, {"account": twice(Closing)}),
    "a champion's file listed twice": (
        5,
        {"champion": 1.0, "resolved": lambda r: r["champion"]["files"].append(r["champion"]["files"][0])},
    ),
    "returns invented after the evaluation": (14, {"evaluated": better_returns}),
    "a verdict that does not follow": (
        14,
        {"evaluated": change("evaluation.json", lambda v: v["decision"].update(verdict="REJECT"))},
    ),
    "a rule that the intent does not have": (
        14,
        {"evaluated": change("evaluation.json", lambda v: v["decision"]["guard"].update(margin=9.0))},
    ),
    "more error spent than the look allows": (
        15,
        {
            "spec": lambda s: s["promotion"].update(fixed_test=True),
            "look": 4,
            "opening": lambda o: o.update(alpha=0.05),
        },
    ),
    "training seeds shopped for": (8, {"seeds": ["1", "2"]}),
    "another seed than the best on validation": (
        16,
        {"selection": lambda s: s.update(released=0)},
    ),
    "forged validation scores": (25, {"selection": lambda s: s.update(means=[600.0, 500.0], released=0)}),
    "an evaluation statement that says better": (
        17,
        {"evaluation": lambda s: s["predicate"]["participants"][1].update(mean=999.0)},
    ),
    "a HOLD sold as PROMOTE": (
        18,
        {"directions": (-1.0, -1.0), "release": release(verdict="PROMOTE", reason="It is good.")},
    ),
    "a dirty tree released": (
        18,
        {
            "resolved": lambda r: r["code"].update(dirty=True),
            "release": release(verdict="PROMOTE", reason="It is good."),
        },
    ),
    "a promotion without the approval that is asked for": (
        18,
        {
            "spec": lambda s: s["promotion"].update(require_approval=True),
            "release": release(verdict="PROMOTE", reason="It is good."),
        },
    ),
    "another verdict on the ledger": (7, {"closing": lambda c: replace(c, verdict="HOLD")}),
    "another release closed": (7, {"closing": lambda c: replace(c, record="ab" * 32)}),
    "promoted after a HOLD": (10, {"directions": (-1.0, -1.0), "promote": True}),
    "promotion of another policy": (
        10,
        {"promotion": lambda s: s["subject"][0]["digest"].update(sha256="ab" * 32)},
    ),
    "a revoked release": (10, {"notes": revoked}),
    "a revoked key that signed before is no lie": (None, {"notes": revoked_key}),
    "the release signed with the key of the steps": (12, {"signers": {"release": "steps"}}),
    "the steps signed with a stranger's key": (12, {"signers": {"steps": "stranger"}}),
    "a run hidden from the account": (
        29,
        {
            "earlier": lambda made: [
                Opening("12" * 32, "34" * 32, 1, receipt(1, 2)),
                Closing("56" * 32, "REJECT", receipt(1, 3)),
            ],
            "account": lambda entries: entries[2:],
        },
    ),
    "another held-out set in the intent": (27, {"resolved": lambda r: r.update(test_data="cd" * 32)}),
    "a foreign environment": (23, {"resolved": lambda r: r["environment"].update(entry_point="Other-v0")}),
    "other weights than the champion's": (
        21,
        {
            "champion": -1.0,
            "resolved": lambda r: r["champion"]["files"][2].update(
                sha256=r["champion"]["files"][0]["sha256"]
            ),
        },
    ),
    "a reproduction that came to something else": (31, {"notes": reproduction("different", "ab" * 32)}),
    "an identical reproduction with another root": (31, {"notes": reproduction("identical", "ab" * 32)}),
    "the truth": (None, {}),
    "a reproduction by a trusted key": (None, {"notes": reproduction("identical")}),
    "a rejected approval": (
        None,
        {"spec": lambda s: s["promotion"].update(require_approval=True), "approval": "rejected"},
    ),
    "a given approval": (
        None,
        {"spec": lambda s: s["promotion"].update(require_approval=True), "approval": "approved"},
    ),
    "seeds that the owner chose, and says so": (
        None,
        {"spec": lambda s: s["training"].update(seeds=[3, 4])},
    ),
    "a champion that was promoted before": (None, {"champion": -1.0}),
}


def verified(builder, minimum=ANY):
    trust = parse_trust(trust_text(minimum=minimum), where="trust")
    with open_record(builder.folder) as files:
        return verify_record(files, Means(trust=trust, open_ledger=InventedLedger(builder.entries)))


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_caught_by_its_check_and_a_truth_by_none(tmp_path, lie):
    check, knobs = LIES[lie]
    result = verified(built(tmp_path / "record", **knobs))
    false = [(f.check, f.sentence) for f in result.findings if f.label == Label.FALSE]
    assert (check in {number for number, _ in false}) if check else false == [], false
    assert result.exit_code == (1 if check else 0)


def test_a_noted_reproduction_by_a_trusted_key_is_level_four(tmp_path):
    result = verified(built(tmp_path / "record", notes=reproduction("identical")), "{level: 4}")
    assert (result.level, result.exit_code) == (4, 0)


def test_a_reproduction_by_a_stranger_is_a_claim(tmp_path):
    result = verified(built(tmp_path / "record", notes=reproduction("identical", role="stranger")))
    assert result.level == 3
    assert {f.label for f in result.findings if f.check == 31} == {Label.CLAIMED, Label.NOT_CHECKED}


def test_a_champion_that_the_intent_does_not_name_cannot_be_told(tmp_path):
    result = verified(built(tmp_path / "record", earlier=earlier_promotion), "{level: 2}")
    assert (result.level, result.exit_code) == (1, 2)
    assert {f.label for f in result.findings if f.check == 21} == {Label.NOT_CHECKED}


def test_a_rolled_back_policy_does_not_stand(tmp_path):
    def rolled_back(made):
        predicate = {
            "release": made.release,
            "version": "2",
            "alias": "champion",
            "outcome": "rolled-back",
            "replaced": None,
            "restored": None,
            "reason": "it lost money",
            "decided": AT,
        }
        return {"rollback-1": (later_statement("promotion", made.root, predicate), "release")}

    result = verified(built(tmp_path / "record", notes=rolled_back), "{level: 2, verdict: PROMOTE}")
    assert (result.standing.state, result.exit_code) == ("rolled back", 1)
    assert "Rolled back" in result.sentence


def test_a_revoked_key_does_not_sign_after_its_revocation(tmp_path):
    def then_reproduced(made):
        return revoked_key(made) | {
            "z-late": (reproduction("identical", role="steps")(made)["reproduction-1"][0], "steps")
        }

    trust = trust_text(minimum=ANY).replace("roles: [steps]", "roles: [steps, reproduction]")
    builder = built(tmp_path / "record", notes=then_reproduced)
    with open_record(builder.folder) as files:
        result = verify_record(
            files,
            Means(trust=parse_trust(trust, where="t"), open_ledger=InventedLedger(builder.entries), level=1),
        )
    false = [f.sentence for f in result.findings if f.label == Label.FALSE]
    assert [text for text in false if "z-late" in text and "revoked" in text]


def test_the_seeds_follow_from_the_block_that_the_ledger_gives(tmp_path):
    builder = built(tmp_path / "record", block_hash=block_hash(9))
    assert verified(builder).exit_code == 0
