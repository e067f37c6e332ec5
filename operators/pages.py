"""What the pages in Airflow's interface ask of the outside systems, by Airflow's connections.

Clients are made when first asked for and kept: a changed connection wants the api-server to be started again.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from airflow.exceptions import AirflowNotFoundException

from drl.errors import DrlError, InputError
from drl.pages.champions import ChampionLine, champions
from drl.pages.journals import Journals
from drl.pages.lineage import Surroundings, surroundings
from drl.pages.overview import recent_runs
from drl.pages.render import Overview, Site
from drl.pages.run import RunFacts
from drl.pages.verify_run import Question
from drl.pages.verifying import SECONDS
from drl.record.ledger import Account, Receipt
from drl.serving.registry import RegistryClient
from drl.stores.graph import LineageGraph
from drl.verification.trust import TrustPolicy, load_trust
from operators import connections
from operators.signing import keys_folder

TRUST = "DRL_TRUST"
"""Variable naming the trust policy that *verify now* uses instead of the deployment's own keys."""


@cache
def journals() -> Journals:
    """The journals of the deployment, with a memory."""
    return Journals(connections.record_documents(), connections.artifact_store())


@cache
def graph() -> LineageGraph:
    """The lineage graph."""
    return connections.lineage_graph()


def site(root: str) -> Site:
    """Where the pages are, and where the outside systems have pages of their own, as far as is known."""
    return Site(root, _or_none(connections.registry_page), _or_none(connections.transaction_page))


def overview(readable: Collection[str], page: int) -> Overview:
    """The first page for somebody who may see the pipelines ``readable``."""
    with ThreadPoolExecutor(1) as pool:
        known = pool.submit(_champions, readable)
        runs = recent_runs(journals(), readable)
        return Overview(known.result(), runs, page)


def _champions(readable: Collection[str]) -> list[ChampionLine] | DrlError:
    try:
        return champions(RegistryClient(connections.registry_settings().uri), journals(), readable)
    except DrlError as error:
        return error
    except AirflowNotFoundException as error:
        return missing_connection(error)


def around(sha256: str, depth: int, readable: Collection[str]) -> Surroundings | DrlError:
    """What is around a thing in the lineage graph, or why that is not known."""
    try:
        return surroundings(graph(), sha256, depth, readable.__contains__)
    except DrlError as error:
        return error
    except AirflowNotFoundException as error:
        return missing_connection(error)


def account(run: RunFacts) -> tuple[Account | DrlError, int]:
    """What the chain says of the run's pipeline, and up to which block."""
    from drl.stores.ledger_view import ChainView

    try:
        receipt, node = opening(run), connections.ledger_node()
        view = ChainView(
            node.rpc_url,
            contract=receipt.contract,
            writer=receipt.writer,
            pipeline=run.pipeline,
            finality=node.finality,
            first_block=node.first_block,
        )
        return Account.of(view.entries()), view.head()[0]
    except DrlError as error:
        return error, 0
    except AirflowNotFoundException as error:
        return missing_connection(error), 0


def record_zip(run: RunFacts) -> tuple[BinaryIO, int]:
    """What ``drl record export`` writes of the run, open, and its size in bytes.

    Raises:
        DrlError: the run is not closed, or something that it takes is not there.
    """
    from drl.pages.run_record import record_zip, stored_record
    from drl.stores.ledger_view import ledger_at

    opening(run)
    node = connections.ledger_node()
    ask = ledger_at(node.rpc_url, node.first_block)
    settings = connections.artifact_store().settings
    return record_zip(stored_record(run.key, settings, ask, node.finality))


def opening(run: RunFacts) -> Receipt:
    """Where the run was opened on the ledger.

    Raises:
        InputError: it was not yet.
    """
    if not run.lines:
        raise InputError(f"{run.key} is not on the ledger yet", remedy="wait for the task `open_run`")
    return run.lines[0].entry.receipt


def question(run: RunFacts) -> Question:
    """What a verifier of this run is asked.

    Raises:
        DrlError: something that it takes is not there.
    """
    node = connections.ledger_node()
    trust = _trust(opening(run), node.finality)
    return Question(
        run=run.key,
        store=connections.artifact_store().settings,
        rpc_url=node.rpc_url,
        first_block=node.first_block,
        trust=trust.model_dump(mode="json", by_alias=True) if trust else None,
        seconds=SECONDS,
    )


def trust_words() -> str:
    """Whom *verify now* believes."""
    if path := os.environ.get(TRUST):
        return f"with the trust policy {Path(path).name}"
    return "with this deployment's own keys and ledger as trust"


def missing_connection(error: Exception) -> InputError:
    """An Airflow connection that the api-server does not know."""
    return InputError(str(error), remedy="give the api-server this connection: see docs/operations.md")


def _trust(receipt: Receipt, finality: str) -> TrustPolicy | None:
    """That of ``DRL_TRUST``, else what the deployment trusts of itself; None without its key ring."""
    if path := os.environ.get(TRUST):
        return load_trust(Path(path))
    from drl.champions.record_check import deployment_trust
    from drl.record.keyring import Keyring

    entries = Keyring(keys_folder()).entries()
    return deployment_trust(entries, receipt, finality) if entries else None


def _or_none(ask: Any) -> Any:
    try:
        return ask()
    except (AirflowNotFoundException, DrlError):
        return None
