"""Small real records without a server: real builders, real signatures, real evaluation, an invented ledger.

A pipeline on CartPole (with ``prices``: on the battery) with hand-made policies. ``build_record(folder)``
gives a record that verifies; ``build_record(folder, KNOB=...)`` gives one whose owner lies with all keys in
hand. Statements are made *after* the lie, so that every signature and digest holds. The knobs are the fields
of :class:`Lies`.

``trust_text()`` is the verifier's policy for these records; ``InventedLedger`` is a stand-in for a chain and
answers with given entries (the chain itself is asked in ``tests/stack``).
"""

from __future__ import annotations

import functools
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, SSlibKey

from drl.artifact import Artifact, describe_folder
from drl.data.columns import Columns, content_digest, write_npy, write_parquet
from drl.data.splits import known_by, resolve_spans, split
from drl.digest import canonical_json, sha256_bytes, sha256_file, sha256_json
from drl.envs.identity import environment_identity, test_identity
from drl.envs.loading import make_environment
from drl.evaluation.promotion import spent_alpha
from drl.evaluation.selection import select_seed
from drl.policy.root import model_root
from drl.policy.writing import write_policy
from drl.progress import Progress
from drl.record import predicates
from drl.record.dsse import sign
from drl.record.key_files import key_id, public_pem
from drl.record.ledger import Closing, Entry, Note, Opening, Receipt, pipeline_id
from drl.record.outcome import release_outcome
from drl.record.seeds import SCHEME, derive_seeds
from drl.record.statement import Subject, predicate_type, statement
from drl.spec import PipelineSpec
from drl.steps.evaluate import evaluate

CODE_HASH = "0x99eea40741921fd1d571be9fb050a368737abaadde028ca9082620f1bccc06c4"
GENESIS, CONTRACT, WRITER = "0x" + "01" * 32, "0x" + "c6" * 20, "0x" + "f3" * 20
CHAIN_ID = 31337
TIME0 = 1_790_000_000
AT = "2026-11-24T10:00:00+00:00"

SPEC: dict[str, Any] = {
    "pipeline": "cartpole",
    "description": "Balance a pole.",
    "environment": {"entry_point": "CartPole-v1", "settings": {"max_episode_steps": 60}},
    "training": {"settings": {"algorithm": "PPO"}, "time_steps": 2048, "seeds": 2},
    "evaluation": {
        "episodes": 10,
        "seed": 1000,
        "unit": "time steps",
        "baselines": [
            {"name": "lean", "kind": "constant", "settings": {"action": 1}},
            {"name": "random", "kind": "random"},
        ],
    },
    "promotion": {"gate": "random", "resamples": 100},
    "registration": {"model": "cartpole"},
}


DATA_SPEC: dict[str, Any] = {
    "pipeline": "battery",
    "description": "Trade a battery on invented prices.",
    "data": {
        "source": {"kind": "file", "path": "prices.csv", "sha256": "0" * 64},
        "redistributable": True,
        "cleaning": [
            {"rule": "parse_timestamps", "column": "timestamp", "formats": ["%Y-%m-%d %H:%M"]},
            {"rule": "parse_numbers", "columns": ["price"]},
        ],
        "expectations": "suite.json",
        "splits": {
            "time_column": "timestamp",
            "context_rows": 672,
            "train": {"from": "2024-01-01", "to": "2024-03-01"},
            "validation": {"from": "2024-03-01", "to": "2024-03-15"},
            "test": {"from": "2024-03-15", "to": "2024-04-15"},
        },
    },
    "environment": {"entry_point": "drl.envs.battery:BatteryArbitrage"},
    "training": {"settings": {"algorithm": "PPO"}, "time_steps": 2048, "seeds": 2},
    "evaluation": {
        "unit": "EUR",
        "upper_bound": "foresight",
        "baselines": [
            {"name": "nothing", "kind": "nothing"},
            {"name": "clock", "kind": "clock"},
            {"name": "foresight", "kind": "foresight"},
        ],
    },
    "promotion": {"gate": "clock", "resamples": 100, "fixed_test": True},
    "registration": {"model": "battery"},
}


def write_prices(path: Path) -> Path:
    """Hourly prices from January to April 2024: a daily wave, a weekly one, and a bit of noise."""
    hours = np.arange(24 * 106)
    noise = np.sin(hours * 12.9898) * 43758.5453 % 1.0
    price = 60 + 30 * np.sin(hours * 2 * np.pi / 24) + 15 * np.sin(hours * 2 * np.pi / 168) + 20 * noise
    first = datetime(2024, 1, 1)
    times = [f"{first + timedelta(hours=int(hour)):%Y-%m-%d %H:%M}" for hour in hours]
    rows = [f"{time},{value:.2f}" for time, value in zip(times, price, strict=True)]
    path.write_text("timestamp,price\n" + "\n".join(rows) + "\n")
    return path


@dataclass
class Lies:
    """What the owner lies about; the default is nothing.

    Attributes:
        prices: file of :func:`write_prices`; the pipeline is then one with data (no lie by itself).
        spec: changes the pipeline, before anything is made (no lie by itself).
        resolved: changes the frozen run before it is signed.
        champion: direction of the champion's policy, None for no champion (no lie by itself). Its run is the
            ledger's first, at the blocks 2 to 4, and what shows it is below ``champion/``.
        proof: changes what shows it, by ``release`` or ``promotion``, before it is signed.
        since: later statements about the champion's run: name to (statement, role of the signer).
        directions: of the seeds' policies.
        seeds: training seeds instead of those that follow.
        chain: a real ledger client to write to, instead of inventing receipts (no lie).
        block_hash: of the opening's block.
        opening: changes ``opening.json`` after it was made.
        splits: changes the splits, by name, before they are written.
        selection: changes ``selection.json``.
        evaluated: changes the evaluate step's output folder before it is signed.
        evaluation: changes the evaluation statement.
        model: changes the model's signature before it is signed.
        release: changes the release statement before it is signed.
        closing: changes the closing.
        promotion: changes the promotion statement; ``promote`` False leaves it out, True forces it.
        approval: answer of an approver, None for none.
        notes: later statements: name to (statement, role of the signer).
        earlier: entries of the ledger before the opening, from ``made.run`` and ``made.block`` on.
        account: changes the list of entries that ``account.json`` shows.
        signers: role to the role whose key is taken instead.
        look: of the opening at its test data.
        after: changes the finished folder, unsigned.
    """

    prices: Path | None = None
    spec: Callable[[dict[str, Any]], None] = lambda spec: None
    resolved: Callable[[dict[str, Any]], None] = lambda resolved: None
    champion: float | None = None
    proof: Callable[[str, dict[str, Any]], None] = lambda name, statement: None
    since: Callable[[Made], dict[str, tuple[dict[str, Any], str]]] = lambda made: {}
    directions: tuple[float, ...] = (-1.0, 1.0)
    seeds: list[str] | None = None
    chain: Any = None
    block_hash: str = "0x" + "bb" * 32
    opening: Callable[[dict[str, Any]], None] = lambda opening: None
    splits: Callable[[dict[str, Columns]], None] = lambda splits: None
    selection: Callable[[dict[str, Any]], None] = lambda selection: None
    evaluated: Callable[[Path], None] = lambda folder: None
    evaluation: Callable[[dict[str, Any]], None] = lambda statement: None
    model: Callable[[dict[str, Any]], None] = lambda statement: None
    release: Callable[[dict[str, Any]], None] = lambda statement: None
    closing: Callable[[Closing], Closing] = lambda closing: closing
    promotion: Callable[[dict[str, Any]], None] = lambda statement: None
    promote: bool | None = None
    approval: str | None = None
    notes: Callable[[Made], dict[str, tuple[dict[str, Any], str]]] = lambda made: {}
    earlier: Callable[[Made], list[Entry]] = lambda made: []
    account: Callable[[list[Entry]], list[Entry]] = lambda entries: entries
    signers: dict[str, str] = field(default_factory=dict)
    look: int = 1
    after: Callable[[Path], None] = lambda folder: None


@dataclass
class Made:
    """What a knob may look at: the parts made so far."""

    intent: str = ""
    root: str = ""
    release: str = ""
    run: int = 1
    block: int = 2
    receipt: Callable[..., Receipt] = field(default=lambda: None)  # type: ignore[assignment]


def signer(role: str) -> CryptoSigner:
    """The role's key, the same in every test run."""
    private = Ed25519PrivateKey.from_private_bytes(sha256_bytes(f"test key {role}".encode()).encode()[:32])
    public = private.public_key()
    return CryptoSigner(private, SSlibKey.from_crypto(public, key_id(public)))


def receipt(run: int, block: int, index: int = 0, **changes: Any) -> Receipt:
    """A receipt of the invented ledger."""
    values: dict[str, Any] = {
        "chain_id": CHAIN_ID,
        "genesis": GENESIS,
        "contract": CONTRACT,
        "writer": WRITER,
        "pipeline": pipeline_id("cartpole"),
        "run": run,
        "tx": "0x" + sha256_bytes(f"tx {block} {index}".encode()),
        "block_number": block,
        "block_hash": block_hash(block),
        "block_time": TIME0 + 60 * block,
        "log_index": index,
    }
    return Receipt(**(values | changes))


def block_hash(number: int) -> str:
    """Hash of an invented block."""
    return "0x" + sha256_bytes(f"block {number}".encode())


def linear_policy(folder: Path, direction: float) -> Path:
    """Push towards where the pole falls; a direction of -1 is as bad as can be."""
    return _write(folder, direction * np.array([[0, 0, -1, -0.5], [0, 0, 1, 0.5]], np.float32))


def scattered_policy(folder: Path, direction: float, inputs: int, actions: int) -> Path:
    """A policy of some fixed weights, another one for each direction."""
    weight = np.sin(np.arange(actions * inputs) * (78.233 + direction)).astype(np.float32)
    return _write(folder, weight.reshape(actions, inputs))


def _write(folder: Path, weight: np.ndarray) -> Path:
    actions, inputs = weight.shape
    description = {
        "format": "drl.policy/1",
        "algorithm": "PPO",
        "observation_space": {"kind": "box", "shape": [inputs]},
        "action_space": {"kind": "discrete", "n": actions},
        "layers": [{"weight": "w", "bias": "b", "activation": "identity"}],
        "head": "categorical",
    }
    write_policy(folder, description, {"w": weight, "b": np.zeros(actions, np.float32)})
    return folder


@functools.cache
def _environment(entry_point: str) -> dict[str, Any]:
    return environment_identity(entry_point)


class Builder:
    """Makes one record; every method adds one part."""

    def __init__(self, folder: Path, lies: Lies) -> None:
        self.folder, self.lies, self.made = folder, lies, Made()
        self.work = folder.parent / f".{folder.name}-work"
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        (folder / "sha256").mkdir(parents=True)
        (folder / "keys").mkdir()
        value = json.loads(json.dumps(DATA_SPEC if lies.prices else SPEC))
        if lies.prices:
            value["data"]["source"]["sha256"] = sha256_file(lies.prices)
        lies.spec(value)
        self.spec = PipelineSpec.model_validate(value)
        self.receipt = functools.partial(receipt, pipeline=pipeline_id(self.spec.pipeline))
        self.model = self.spec.registration.model
        self.made.receipt = self.receipt
        self.earlier: list[Entry] = []
        self.splits: dict[str, Columns] = {}
        self.prepared: list[Artifact] = []
        self.statements: dict[str, str] = {}
        self.block = 9

    def keep(self, path: Path, name: str) -> Artifact:
        """Put a file below ``sha256/``."""
        artifact = Artifact.of(path, name=name)
        data = self.spec.data
        if path.suffix != ".parquet" and (path.name != "test.npy" or (data and data.redistributable)):
            shutil.copyfile(path, self.folder / "sha256" / artifact.sha256)
        return artifact

    def write(self, name: str, value: Any) -> None:
        """Write canonical JSON."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(canonical_json(value))

    def sign(self, name: str, value: dict[str, Any], role: str) -> str:
        """Sign and store a statement; returns its envelope's digest."""
        key = signer(self.lies.signers.get(role, role))
        stored = sign(value, [key])
        path = self.folder / f"{name}.dsse.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stored)
        public = key.public_key
        (self.folder / "keys" / f"{public.keyid}.pem").write_bytes(public_pem(public))
        return sha256_bytes(stored)

    def build(self) -> Path:
        """Everything, in the order of a run."""
        self._resolve()
        self._open()
        if self.lies.prices:
            self._prepare(self.lies.prices)
        self._train()
        self._evaluate()
        self._release()
        self._later()
        self._account()
        shutil.rmtree(self.work)
        self.lies.after(self.folder)
        return self.folder

    def _resolve(self) -> None:
        frozen = json.loads(canonical_json(self.spec.to_json()))
        champion = None
        if self.lies.champion is not None:
            at = self._policy(self.work / "champion", self.lies.champion)
            files = [self.keep(at / a.name, a.name) for a in describe_folder(at)]
            champion = {
                "model": self.model,
                "version": 1,
                "model_root": model_root(at),
                "run_key": f"{self.spec.pipeline}/earlier",
                "files": [a.to_json() for a in files],
                **self._champions_run(files),
            }
        self.resolved: dict[str, Any] = {
            "format": "drl.resolved/1",
            "run": f"{self.spec.pipeline}/manual-1",
            "run_date": "2026-11-24",
            "spec": frozen,
            "expectations": None,
            "test_data": test_identity(frozen),
            "champion": champion,
            "code": {"commit": "ab" * 20, "tree": "cd" * 20, "dirty": False, "from": "git", "archive": None},
            "environment": dict(_environment(frozen["environment"]["entry_point"])),
            "packages": {"lock_sha256": None, "differences": {}},
        }
        self.lies.resolved(self.resolved)
        self.write("resolved.json", self.resolved)
        intent = predicates.intent_statement(self.resolved)
        self.made.intent = self.statements["intent.dsse.json"] = self.sign("intent", intent, "steps")

    def _champions_run(self, files: list[Artifact]) -> dict[str, str]:
        """The run that made the champion, as the ledger has it and the record shows it."""
        made = self.made
        opening = Opening("12" * 32, "34" * 32, 1, self.receipt(1, 2))
        release = predicates.release_statement(
            intent=opening.intent,
            model=self.model,
            policy=files,
            evidence=[Artifact("train/metrics.jsonl", "ef" * 32, 9)],
            verdict="PROMOTE",
            reason="It was better.",
            statements={"intent.dsse.json": opening.intent},
            opening=opening,
        )
        self.lies.proof("release", release)
        made.root = release["subject"][0]["digest"]["sha256"]
        made.release = self.sign("champion/release", release, "release")
        promotion = predicates.promotion_statement(
            release=made.release,
            model=self.model,
            root=made.root,
            version="1",
            alias="champion",
            outcome="promoted",
            replaced=None,
            decided=AT,
        )
        self.lies.proof("promotion", promotion)
        noted = Note(self.sign("champion/promotion", promotion, "release"), self.receipt(1, 4))
        self.write("champion/promotion.note.json", noted.to_json())
        self.earlier = [opening, Closing(made.release, "PROMOTE", self.receipt(1, 3)), noted]
        made.run, made.block = 2, 5
        for index, (name, (value, role)) in enumerate(self.lies.since(made).items()):
            called = f"champion/notes/run-1-{name}"
            later = Note(self.sign(called, value, role), self.receipt(1, 4, index + 1))
            self.write(f"{called}.note.json", later.to_json())
            self.earlier.append(later)
        return {"release": made.release, "promotion": noted.statement}

    def _open(self) -> None:
        self.earlier += self.lies.earlier(self.made)
        self.run = self.made.run = 1 + sum(isinstance(e, Opening) for e in self.earlier)
        self.made.root = self.made.release = ""
        rule = self.spec.promotion
        self.entry = self._opening()
        self.run = self.made.run = self.entry.receipt.run
        wanted = self.spec.training.seeds
        seeds = (
            wanted
            if isinstance(wanted, list)
            else derive_seeds(self.made.intent, self.entry.receipt.block_hash, wanted)
        )
        self.opening = {
            "entry": self.entry.to_json(),
            "seeds": self.lies.seeds or [str(seed) for seed in seeds],
            "seeds_from": "owner-chosen" if isinstance(wanted, list) else SCHEME,
            "alpha": spent_alpha(rule.alpha, self.lies.look) if rule.fixed_test else rule.alpha,
        }
        self.lies.opening(self.opening)
        self.write("opening.json", self.opening)

    def _opening(self) -> Opening:
        intent, test_data = self.made.intent, self.resolved["test_data"]
        if self.lies.chain is not None:
            return self.lies.chain.open(self.spec.pipeline, intent, test_data)
        place = self.receipt(self.run, self.block, block_hash=self.lies.block_hash)
        return Opening(intent, test_data, self.lies.look, place)

    def _closing(self) -> Closing:
        if self.lies.chain is not None:
            return self.lies.chain.close(self.spec.pipeline, self.run, self.made.release, self.verdict)
        return Closing(self.made.release, self.verdict, self.receipt(self.run, self.block))

    def _note(self, statement: str) -> Note:
        if self.lies.chain is not None:
            return self.lies.chain.note(self.spec.pipeline, self.run, statement)
        return Note(statement, self.receipt(self.run, self.block))

    def _provenance(
        self, step: str, inputs: list[Artifact], outputs: list[Artifact], parameters: Any
    ) -> None:
        beside = [a for a in outputs if a.name.endswith((".html", "metrics.jsonl"))]
        resolved = Artifact.of(self.folder / "resolved.json")
        value = predicates.provenance_statement(
            step,
            intent=self.made.intent,
            parameters=parameters,
            inputs=[resolved, *inputs],
            outputs=[a for a in outputs if a not in beside],
            byproducts=beside,
            code=self.resolved["code"],
            execution=predicates.Execution(
                "subprocess", f"{self.resolved['run']}/{step}/1", AT, AT, {"exit_code": 0}
            ),
        )
        self.statements[f"{step}.dsse.json"] = self.sign(step, value, "steps")

    def _policy(self, folder: Path, direction: float) -> Path:
        if self.spec.data is None:
            return linear_policy(folder, direction)
        environment = self._environment("test")
        inputs, actions = environment.observation_space.shape[0], int(environment.action_space.n)
        return scattered_policy(folder, direction, inputs, actions)

    def _environment(self, split: str) -> Any:
        return make_environment(self.spec.environment, data=self.splits.get(split), mode="evaluate")

    def _prepare(self, prices: Path) -> None:
        """The data step without Great Expectations, whose results are invented."""
        from drl.data.cleaning import clean
        from drl.data.text_table import read_text_table, to_columns

        data, out = self.spec.data, self.work / "prepare"
        out.mkdir()
        table, reports = clean(read_text_table(prices), data.cleaning)
        columns = to_columns(table, time_column=data.splits.time_column)
        spans = resolve_spans(data.splits, date(2026, 11, 24))
        self.splits = split(known_by(columns, data.splits.time_column, spans), data.splits, spans)
        self.lies.splits(self.splits)
        for name, part in self.splits.items():
            write_parquet(part, out / f"{name}.parquet")
        write_npy(self.splits["test"], out / "test.npy")
        (out / "cleaning.json").write_bytes(canonical_json([r.to_json() for r in reports]))
        (out / "expectations.json").write_bytes(
            canonical_json({"success": True, "results": [{"success": True}] * 3})
        )
        self.prepared = [self.keep(out / a.name, a.name) for a in describe_folder(out)]
        self._provenance("prepare", [], self.prepared, {})
        named = {a.name: a for a in self.prepared}
        value = predicates.validation_statement(
            intent=self.made.intent,
            splits=[named[f"{name}.parquet"] for name in ("train", "validation", "test")],
            result=named["expectations.json"],
            success=True,
            expectations={"evaluated": 3, "failed": 0},
            cleaning=[{"rule": r.rule, "touched": r.touched} for r in reports],
            contents={name: content_digest(part) for name, part in self.splits.items()},
        )
        self.statements["validation.dsse.json"] = self.sign("validation", value, "steps")

    def _train(self) -> None:
        out = self.work / "train"
        for index, direction in enumerate(self.lies.directions):
            self._policy(out / f"seed-{index}", direction)
            lines = [
                {"iteration": i, "time_steps": 1024 * i, "values": {"return_mean_100": 20.0 * i}}
                for i in (1, 2)
            ]
            (out / f"seed-{index}" / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
        environment = self._environment("validation")
        policies = [out / f"seed-{i}" for i in range(len(self.lies.directions))]
        self.selection = select_seed(self.spec, policies=policies, environment=environment, out=out)
        environment.close()
        self.lies.selection(self.selection)
        (out / "selection.json").write_bytes(canonical_json(self.selection))
        self.trained = [self.keep(out / a.name, a.name) for a in describe_folder(out)]
        inputs = [a for a in self.prepared if a.name in ("train.parquet", "validation.parquet")]
        self._provenance("train", inputs, self.trained, {"seeds": self.opening["seeds"]})
        self.policy = out / f"seed-{self.selection['released']}"
        self.made.root = model_root(self.policy)

    def _evaluate(self) -> None:
        out = self.work / "evaluate"
        out.mkdir()
        champion = self.resolved["champion"]
        root = champion["model_root"] if champion else None
        evaluate(
            self.spec,
            policy=self.policy,
            champion=self.work / "champion" if champion else None,
            champion_root=root,
            test_data=self.work / "prepare" / "test.npy" if self.spec.data else None,
            train_data=self.work / "prepare" / "train.parquet" if self.spec.data else None,
            out=out,
            alpha=self.opening["alpha"],
            learning_curves=[self.policy / "metrics.jsonl"],
            validation=self.selection,
            progress=Progress(io.StringIO()),
        )
        self.lies.evaluated(out)
        self.evaluated = [self.keep(out / a.name, a.name) for a in describe_folder(out)]
        released = f"seed-{self.selection['released']}/"
        inputs = [a for a in self.trained if a.name.startswith(released) or a.name == "selection.json"]
        inputs += [a for a in self.prepared if a.name in ("train.parquet", "test.npy")]
        inputs += [
            replace(Artifact.from_json(a), name=f"champion/{a['name']}")
            for a in (champion or {}).get("files", [])
        ]
        parameters = {
            "released": self.selection["released"],
            "alpha": self.opening["alpha"],
            "champion_root": root,
        }
        self._provenance("evaluate", inputs, self.evaluated, parameters)
        self.result = json.loads((out / "evaluation.json").read_bytes())
        kinds = {b.name: b.kind for b in self.spec.evaluation.baselines}
        roots = {"policy": self.result["model_root"], "champion": self.result["champion_root"]}
        value = predicates.evaluation_statement(
            intent=self.made.intent,
            model=self.model,
            root=self.made.root,
            test_data=self.resolved["test_data"],
            participants=[
                {
                    "name": name,
                    "kind": kinds.get(name, "policy"),
                    "root": roots.get(name),
                    "mean": actor["mean"]["estimate"],
                    "files": ["episodes.jsonl", f"actions/{name}.npy"],
                }
                for name, actor in sorted(self.result["actors"].items())
            ],
            decision=self.result["decision"],
            evidence=self.evaluated,
        )
        self.lies.evaluation(value)
        self.statements["evaluation.dsse.json"] = self.sign("evaluation", value, "steps")

    def _release(self) -> None:
        decision = self.result["decision"]
        approval: Any = None
        answer: dict[str, Any] | None = None
        if self.spec.promotion.require_approval and decision["verdict"] == "PROMOTE":
            approval = self.lies.approval or "unanswered"
        if self.lies.approval is not None:
            answer = predicates.approval_statement(
                intent=self.made.intent,
                model=self.model,
                root=self.made.root,
                evaluation=self.statements["evaluation.dsse.json"],
                verdict=decision["verdict"],
                answer=self.lies.approval,  # type: ignore[arg-type]
                approver="ada",
                answered=AT,
            )
            self.statements["approval.dsse.json"] = self.sign("approval", answer, "approval")
        outcome = release_outcome(
            decision, code=self.resolved["code"], approval=approval, answer=answer and answer["predicate"]
        )
        policy = [Artifact.of(self.policy / n) for n in ("policy.json", "policy.onnx", "policy.safetensors")]
        evidence = [replace(a, name=f"prepare/{a.name}") for a in self.prepared]
        evidence += [replace(a, name=f"train/{a.name}") for a in self.trained]
        evidence += [replace(a, name=f"evaluate/{a.name}") for a in self.evaluated]
        model = predicates.model_statement(model=self.model, policy=policy)
        self.lies.model(model)
        self.statements["model.dsse.json"] = self.sign("model", model, "release")
        value = predicates.release_statement(
            intent=self.made.intent,
            model=self.model,
            policy=policy,
            evidence=evidence,
            verdict=outcome.verdict,
            reason=outcome.reason,
            statements=self.statements,
            opening=self.entry,
        )
        self.lies.release(value)
        self.verdict = value["predicate"]["verdict"]
        self.made.release = self.sign("release", value, "release")
        self.block += 3
        self.closing = self.lies.closing(self._closing())
        self.write("closing.json", self.closing.to_json())
        self.entries: list[Entry] = [*self.earlier, self.entry, self.closing]

    def note(self, name: str, value: dict[str, Any], role: str) -> None:
        """Sign a later statement and note it."""
        self.block += 1
        entry = self._note(self.sign(name, value, role))
        self.write(f"{name}.note.json", entry.to_json())
        self.entries.append(entry)

    def _later(self) -> None:
        promote = self.lies.promote if self.lies.promote is not None else self.verdict == "PROMOTE"
        if promote:
            champion = self.resolved["champion"]
            value = predicates.promotion_statement(
                release=self.made.release,
                model=self.model,
                root=self.made.root,
                version="2",
                alias="champion",
                outcome="promoted",
                replaced={"version": str(champion["version"]), "root": champion["model_root"]}
                if champion
                else None,
                decided=AT,
            )
            self.lies.promotion(value)
            self.note("promotion", value, "release")
        for name, (value, role) in self.lies.notes(self.made).items():
            self.note(f"notes/{name}", value, role)

    def _account(self) -> None:
        shown = self.lies.account(list(self.entries))
        number = self.block + 1
        head = {"number": number, "hash": block_hash(number), "time": TIME0 + 60 * number}
        if self.lies.chain is not None:
            last = self.entries[-1].receipt
            head = {"number": last.block_number, "hash": last.block_hash, "time": last.block_time}
        self.write(
            "account.json",
            {"format": "drl.account/1", "head": head, "entries": [e.to_json() for e in shown]},
        )


def build_record(folder: Path, **lies: Any) -> Path:
    """A record in ``folder``, told with the given lies."""
    return Builder(folder, Lies(**lies)).build()


def built(folder: Path, **lies: Any) -> Builder:
    """The builder after it built, for its ledger ``entries``."""
    builder = Builder(folder, Lies(**lies))
    builder.build()
    return builder


class InventedLedger:
    """A stand-in for a chain: answers with given entries."""

    def __init__(self, entries: list[Entry], *, code_hash: str = CODE_HASH, final: int = 10**9) -> None:
        self._entries, self._code_hash, self._final = entries, code_hash, final

    def __call__(self, address: Any) -> InventedLedger:
        return self

    def identity(self) -> tuple[int, str]:
        return CHAIN_ID, GENESIS

    def code_hash(self) -> str:
        return self._code_hash

    def block(self, number: int) -> tuple[str, int] | None:
        return block_hash(number), TIME0 + 60 * number

    def head(self) -> tuple[int, str, int]:
        return 100, block_hash(100), TIME0 + 6000

    def entries(self) -> list[Entry]:
        return self._entries

    def final(self, block_number: int) -> bool:
        return block_number <= self._final


def trust_text(**changes: str) -> str:
    """A trust policy of ten lines for records of this factory; ``changes`` replace whole sections."""
    sections = {
        "format": "drl.trust/1",
        "keys": "".join(
            f"\n  - {{keyid: {signer(role).public_key.keyid}, roles: [{role}]}}"
            for role in ("steps", "release", "approval", "reproduction")
        ),
        "ledger": f"{{chain_id: {CHAIN_ID}, genesis: {GENESIS}, contract: {CONTRACT}, "
        f"code_hash: {CODE_HASH}, writers: [{WRITER}], finality: instant}}",
        "pipelines": "[cartpole]",
        "minimum": "{level: 3, verdict: PROMOTE}",
    }
    return "".join(f"{name}: {value}\n" for name, value in (sections | changes).items())


def later_statement(kind: str, subject: str, predicate: dict[str, Any]) -> dict[str, Any]:
    """A statement of a kind that has no builder yet."""
    return statement([Subject("cartpole", subject)], predicate_type(kind), predicate)


__all__ = [
    "Builder",
    "InventedLedger",
    "Lies",
    "build_record",
    "built",
    "later_statement",
    "sha256_json",
    "trust_text",
]
