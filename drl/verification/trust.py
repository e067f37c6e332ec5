"""The trust policy: whom and what a verifier believes, pinned by the verifier and never by the record.

A YAML file that is a closed schema. Hexadecimal numbers need no quotes: ``0xc62b...`` stays a text.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from drl.errors import InputError
from drl.record.key_files import load_public

FORMAT = "drl.trust/1"
_SIZE_LIMIT = 256 << 10
_DEPTH_LIMIT = 12

Role = Literal["steps", "release", "approval", "reproduction", "revocation"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}\Z")]
Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}\Z")]
Address = Annotated[str, Field(pattern=r"^0x[0-9a-f]{40}\Z")]
Whole = Annotated[int, Field(ge=0, lt=2**53)]


class _Closed(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, regex_engine="python-re"
    )


class TrustedKey(_Closed):
    """A key, what it may sign, and when. Times are compared with the ledger's."""

    keyid: Digest | None = Field(default=None, description="SHA-256 of the SubjectPublicKeyInfo in DER")
    pem: str | None = Field(default=None, description="The public key itself, instead of its id")
    roles: list[Role] = Field(min_length=1)
    valid_from: int | None = Field(default=None, description="RFC 3339; seconds since the epoch once read")
    valid_until: int | None = Field(default=None, description="RFC 3339; from then on nothing it signs holds")
    name: str | None = Field(default=None, description="Whose it is, for people")

    @field_validator("valid_from", "valid_until", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        return _seconds(value)

    @model_validator(mode="after")
    def _one(self) -> TrustedKey:
        if (self.keyid is None) == (self.pem is None):
            raise ValueError("give either keyid or pem")
        if self.pem is not None:
            try:
                load_public(self.pem.encode(), where="pem")
            except InputError as error:
                raise ValueError(error.message) from error
        return self

    @property
    def id(self) -> str:
        """The key's id, given or computed from the PEM."""
        if self.pem is not None:
            return str(load_public(self.pem.encode(), where="pem").keyid)
        return str(self.keyid)

    def valid_at(self, time: int) -> bool:
        """Whether the key may sign at a ledger time, seconds since the epoch."""
        after = self.valid_from is None or time >= self.valid_from
        return after and (self.valid_until is None or time < self.valid_until)


class Checkpoint(_Closed):
    """A block that the verifier saw itself: the chain must still contain it."""

    number: Whole
    hash: Hash


class TrustedLedger(_Closed):
    """Which ledger, by everything that tells it from another."""

    chain_id: Whole
    genesis: Hash
    contract: Address
    code_hash: Hash = Field(description="Keccak-256 of the contract's runtime code")
    writers: list[Address] = Field(min_length=1)
    checkpoint: Checkpoint | None = None
    finality: str = Field(default="tag:finalized", pattern=r"^(instant|depth:\d{1,9}|tag:(safe|finalized))\Z")


class RuleBounds(_Closed):
    """The weakest promotion rule that is accepted."""

    alpha_at_most: float | None = Field(default=None, gt=0, lt=1)
    margin_at_least: float | None = None
    guard_margin_at_most: float | None = Field(default=None, ge=0)
    gates: list[str] | None = Field(
        default=None, min_length=1, description="Gate baselines that are accepted"
    )


class Sources(_Closed):
    """Source code that is accepted."""

    commits: list[Annotated[str, Field(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?\Z")]] = Field(min_length=1)


class Minimum(_Closed):
    """What a record must reach."""

    level: Literal[1, 2, 3, 4] = 2
    verdict: Literal["PROMOTE"] | None = Field(
        default=None, description="PROMOTE: the policy must be released for promotion and still stand"
    )


class TrustPolicy(_Closed):
    """Whom and what a verifier believes."""

    format: Literal["drl.trust/1"]
    keys: list[TrustedKey] = Field(min_length=1)
    ledger: TrustedLedger | None = None
    pipelines: list[str] | None = Field(default=None, min_length=1)
    sources: Sources | None = None
    environments: list[Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*\Z")]] = Field(
        default_factory=list,
        description="Packages beside drl.envs whose environment classes may be imported for a replay",
    )
    rule: RuleBounds = RuleBounds()
    minimum: Minimum = Minimum()

    def keys_for(self, role: str) -> list[TrustedKey]:
        """Keys that may act in a role."""
        return [key for key in self.keys if role in key.roles]


def load_trust(path: Path) -> TrustPolicy:
    """Read a trust policy.

    Raises:
        InputError: it cannot be read, is too large or nested, uses anchors, names a key twice, or does not
            fit the schema; with field and value.
    """
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8") if size <= _SIZE_LIMIT else ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}", remedy="give a trust policy in UTF-8") from error
    if size > _SIZE_LIMIT:
        raise InputError(
            f"{path}: {size} bytes, more than {_SIZE_LIMIT}", remedy="give a trust policy, a small YAML file"
        )
    return parse_trust(text, where=str(path))


def parse_trust(text: str, *, where: str) -> TrustPolicy:
    """Check the text of a trust policy; errors as :func:`load_trust`."""
    value = _plain(text, where)
    try:
        return TrustPolicy.model_validate(value)
    except ValidationError as error:
        raise InputError(
            "\n".join(
                f"{where}: {'.'.join(str(p) for p in problem['loc']) or '(the file)'}: "
                f"{problem['msg'].removeprefix('Value error, ')}"
                for problem in error.errors()
            ),
            remedy="mend the fields above; docs/record.md section 9 lists all of them",
        ) from error


class _TextLoader(yaml.SafeLoader):
    """Safe YAML in which only decimal integers, decimal fractions, booleans and null are not texts."""


_TextLoader.yaml_implicit_resolvers = {}
_TextLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_TextLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|)$"), ["~", "n", ""])
_TextLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^-?(0|[1-9]\d{0,15})$"), list("-0123456789")
)
_TextLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^-?\d{1,15}\.\d{1,17}$"), list("-0123456789")
)


def _plain(text: str, where: str) -> Any:
    try:
        _refuse_tricks(text, where)
        loader = _TextLoader(text)
        try:
            root = loader.get_single_node()
            _refuse_repetition(root, where)
            return None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise InputError(f"{where}: not plain YAML: {error}", remedy="mend the YAML there") from error


def _refuse_tricks(text: str, where: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_TextLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise InputError(f"{where}: an anchor or alias", remedy="write every value out")
        if (tag := getattr(event, "tag", None)) is not None:
            raise InputError(f"{where}: a tag {tag}", remedy="write plain values without tags")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEPTH_LIMIT:
            raise InputError(f"{where}: nested more than {_DEPTH_LIMIT} deep", remedy="write it flat")


def _refuse_repetition(node: yaml.Node | None, where: str) -> None:
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value]
        for name in names:
            if not isinstance(name, str) or names.count(name) > 1:
                raise InputError(f"{where}: {name!r} given twice, or no text", remedy="keep one of the two")
        for _, child in node.value:
            _refuse_repetition(child, where)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_repetition(child, where)


def _seconds(value: Any) -> Any:
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    if isinstance(value, date):
        return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())
    return value
