"""The embedded stack with its real servers: start, crash, restart, stop."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import boto3
import psutil
import psycopg2
import pytest
from botocore.config import Config
from eth_account import Account
from neo4j import GraphDatabase
from typer.testing import CliRunner
from web3 import Web3

from drl.cli.stack import app
from drl.errors import DrlError, InputError
from drl.local import airflow_home, postgres, processes
from drl.local.doctor import examine
from drl.local.processes import ProcessRecord
from drl.local.servers import NAMES
from drl.local.stack import Stack
from drl.local.state import State

REPOSITORY = Path(__file__).resolve().parents[2]
START_LIMIT = 45.0
"""Seconds; 11 cold and 7 warm are usual on two idle cores, the rest is for machines under load."""


def recorded(stack: Stack) -> dict[str, ProcessRecord]:
    state = State.load(stack.home.state)
    assert state is not None
    return state.processes


def pids(stack: Stack) -> dict[str, int]:
    return {name: record.pid for name, record in recorded(stack).items()}


def living(stack: Stack) -> list[int]:
    """Every process of the machine that has this home in its command line or works inside it."""
    home = str(stack.home.path)
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        texts = [*(process.info["cmdline"] or []), process.info["cwd"] or ""]
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(home in text for text in texts):
            found.append(process.pid)
    return found


def s3(settings: dict[str, str], step: bool = False):
    kind = "STEP_" if step else ""
    return boto3.client(
        "s3",
        endpoint_url=settings["DRL_S3_ENDPOINT"],
        aws_access_key_id=settings[f"DRL_S3_{kind}ACCESS_KEY"],
        aws_secret_access_key=settings[f"DRL_S3_{kind}SECRET_KEY"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )


def row(settings: dict[str, str], value: str | None = None) -> str:
    connection = psycopg2.connect(settings["DRL_POSTGRES_URI"])
    try:
        with connection, connection.cursor() as cursor:
            if value is not None:
                cursor.execute("CREATE TABLE kept (value text)")
                cursor.execute("INSERT INTO kept VALUES (%s)", (value,))
            cursor.execute("SELECT value FROM kept")
            return cursor.fetchone()[0]
    finally:
        connection.close()


def node(settings: dict[str, str], value: str | None = None) -> str:
    login = (settings["DRL_BOLT_USER"], settings["DRL_BOLT_PASSWORD"])
    with (
        GraphDatabase.driver(settings["DRL_BOLT_URI"], auth=login) as driver,
        driver.session(database=settings["DRL_BOLT_DATABASE"]) as session,
    ):
        if value is not None:
            session.execute_write(lambda t: t.run("CREATE (:Kept {value: $value})", value=value).consume())
        return session.execute_read(lambda t: t.run("MATCH (n:Kept) RETURN n.value").single()[0])


def send_transaction(settings: dict[str, str]) -> str:
    chain = Web3(Web3.HTTPProvider(settings["DRL_EVM_RPC_URL"]))
    account = Account.from_key(settings["DRL_EVM_PRIVATE_KEY"])
    signed = account.sign_transaction(
        {
            "to": account.address,
            "value": 0,
            "data": b"kept",
            "gas": 60_000,
            "gasPrice": chain.eth.gas_price,
            "nonce": chain.eth.get_transaction_count(account.address),
            "chainId": int(settings["DRL_EVM_CHAIN_ID"]),
        }
    )
    return chain.eth.wait_for_transaction_receipt(
        chain.eth.send_raw_transaction(signed.raw_transaction)
    ).transactionHash.hex()


def genesis(settings: dict[str, str]) -> str:
    return Web3(Web3.HTTPProvider(settings["DRL_EVM_RPC_URL"])).eth.get_block(0).hash.hex()


def block_of(settings: dict[str, str], transaction: str) -> int:
    chain = Web3(Web3.HTTPProvider(settings["DRL_EVM_RPC_URL"]))
    return chain.eth.get_transaction_receipt(transaction).blockNumber


def time_of(settings: dict[str, str], transaction: str) -> int:
    chain = Web3(Web3.HTTPProvider(settings["DRL_EVM_RPC_URL"]))
    return chain.eth.get_block(chain.eth.get_transaction_receipt(transaction).blockHash).timestamp


def test_a_session_stack_is_healthy_and_loopback_only_and_keeps_its_promises(stack: Stack) -> None:
    findings = list(examine(stack))
    assert [f"{f.name}: {f.detail}" for f in findings if not f.good] == []
    names = {finding.name for finding in findings}
    assert {f"{name} on loopback only" for name in NAMES} <= names
    assert {"object lock on sealed", "step identity", "Bolt write", "chain id", "stack.json"} <= names


def test_credentials_are_private_and_on_no_command_line(stack: Stack) -> None:
    assert stat.S_IMODE(stack.home.state.stat().st_mode) == 0o600
    settings = stack.environment()
    hidden = {
        value for key, value in settings.items() if key.endswith(("PASSWORD", "SECRET_KEY", "PRIVATE_KEY"))
    }
    assert len(hidden) == 4
    shown = [text for record in recorded(stack).values() for text in psutil.Process(record.pid).cmdline()]
    assert not [text for text in shown for secret in hidden if secret in text]
    logs = b"".join(path.read_bytes() for path in stack.home.path.glob("log/*.log"))
    assert not [secret for secret in hidden if secret.encode() in logs]


def test_a_second_up_changes_nothing_and_is_quick(stack: Stack) -> None:
    before = pids(stack)
    begin = time.monotonic()
    stack.up()
    assert time.monotonic() - begin < 5
    assert pids(stack) == before
    assert set(before) == set(NAMES)


def test_mlflow_keeps_artifacts_in_s3_without_credentials_of_its_clients(
    stack: Stack, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(stack.environment()["DRL_MLFLOW_URI"])
    run = client.create_run(client.create_experiment("test_local_stack"))
    (tmp_path / "kept.txt").write_text("kept")
    client.log_artifact(run.info.run_id, str(tmp_path / "kept.txt"))
    got = client.download_artifacts(run.info.run_id, "kept.txt", str(tmp_path))
    assert Path(got).read_text() == "kept"
    keys = s3(stack.environment()).list_objects_v2(Bucket="mlflow")["Contents"]
    assert [key["Key"] for key in keys if key["Key"].endswith(f"{run.info.run_id}/artifacts/kept.txt")]


def test_airflows_variables_name_the_same_servers(stack: Stack) -> None:
    settings = stack.environment()
    minio = json.loads(settings["AIRFLOW_CONN_MINIO_DEFAULT"])
    assert minio["extra"]["endpoint_url"] == settings["DRL_S3_ENDPOINT"]
    assert minio["extra"]["step_login"] == settings["DRL_S3_STEP_ACCESS_KEY"]
    graph = json.loads(settings["AIRFLOW_CONN_NEO4J_DEFAULT"])
    assert settings["DRL_BOLT_URI"] == f"bolt://{graph['host']}:{graph['port']}"
    evm = json.loads(settings["AIRFLOW_CONN_EVM_DEFAULT"])
    assert (evm["host"], evm["extra"]["chain_id"]) == (settings["DRL_EVM_RPC_URL"], 31337)
    address = settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")
    psycopg2.connect(address).close()


def test_a_wrong_password_is_refused(stack: Stack) -> None:
    secret = State.load(stack.home.state).credentials.postgres_password
    with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
        psycopg2.connect(stack.environment()["DRL_POSTGRES_URI"].replace(secret, "guess"))


@pytest.fixture
def unmigrated(stack: Stack, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Airflow's environment with an empty database and home of its own, on the session's PostgreSQL."""
    environment = airflow_home.airflow_environment(stack.home.path, REPOSITORY, stack.environment())
    connection = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
    address = environment[connection].replace("+psycopg2", "")
    name = f"migration_{uuid4().hex[:8]}"
    with closing(psycopg2.connect(address)) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
            yield environment | {
                connection: f"{environment[connection].rsplit('/', 1)[0]}/{name}",
                "AIRFLOW_HOME": str(tmp_path),
            }
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_airflows_database_is_migrated_once(unmigrated: dict[str, str]) -> None:
    said: list[str] = []
    assert airflow_home.migrate_if_needed(unmigrated, said.append)
    begin = time.monotonic()
    assert not airflow_home.migrate_if_needed(unmigrated, said.append)
    assert time.monotonic() - begin < 1.0
    assert said == ["airflow: migrating its database"]
    values = subprocess.run(
        [sys.executable, "-m", "airflow", "config", "get-value", "core", "plugins_folder"],
        env=unmigrated,
        capture_output=True,
        text=True,
        check=True,
    )
    assert values.stdout.strip().endswith(str(REPOSITORY / "plugins"))


def test_life_of_a_stack(stack_home: Path) -> None:
    """Two starts at once, kill -9 of everything, one death, taken ports, a stop: the data stay."""
    stack = Stack.at(stack_home)

    # Two commands at once are run one after the other, and start every server once.
    begin = time.monotonic()
    command = [sys.executable, "-c", "from drl.cli.stack import app; app()", "up", "--home", str(stack_home)]
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(
            pool.map(
                lambda _: subprocess.run(
                    command, capture_output=True, text=True, timeout=120, cwd=REPOSITORY
                ),
                range(2),
            )
        )
    assert [outcome.returncode for outcome in outcomes] == [0, 0], [outcome.stderr for outcome in outcomes]
    assert time.monotonic() - begin < START_LIMIT
    first = pids(stack)
    roots = [pid for pid in living(stack) if psutil.Process(pid).ppid() not in living(stack)]
    assert sorted(roots) == sorted(first.values())

    settings = stack.environment()
    row(settings, "a row")
    node(settings, "a node")
    s3(settings).put_object(Bucket="staging", Key="kept", Body=b"an object")
    transaction = send_transaction(settings)
    chain = genesis(settings)
    time.sleep(1.5)  # anvil writes its state every second

    # kill -9 of all servers and their children.
    for pid in living(stack):
        os.kill(pid, signal.SIGKILL)
    wait_until_dead(first)
    assert {server.state for server in stack.status()} == {"stopped"}
    begin = time.monotonic()
    stack.up()
    assert time.monotonic() - begin < START_LIMIT
    assert stack.environment() == settings, "ports and credentials stay"
    assert not set(pids(stack).values()) & set(first.values())
    assert_kept(settings, transaction)

    # One server dies: its status says so, the others stay as they are, and its data are there again.
    before = pids(stack)
    os.kill(before["postgres"], signal.SIGKILL)
    wait_until_dead({"postgres": before["postgres"]})
    assert {s.name: s.state for s in stack.status()}["postgres"] == "stopped"
    stack.up()
    after = pids(stack)
    assert {name for name in NAMES if before[name] != after[name]} == {"postgres"}
    assert row(settings) == "a row"

    # A stop leaves no process; while it is down another program takes ports; new ones are chosen.
    stack.down()
    assert living(stack) == []
    taken = {name: State.load(stack.home.state).ports[name] for name in ("s3", "postgres", "evm")}
    holders = [held(port) for ports in taken.values() for port in ports.values()]
    said: list[str] = []
    stack.up(said.append)
    for holder in holders:
        holder.close()
    assert len([line for line in said if "is taken by another program" in line]) == len(holders)
    assert stack.environment() != settings
    assert_kept(stack.environment(), transaction)
    assert genesis(stack.environment()) == chain, "after two starts it is still the chain that receipts name"
    later = send_transaction(stack.environment())
    assert abs(time_of(stack.environment(), later) - time.time()) < 30
    assert {server.state for server in stack.status()} == {"healthy"}

    # A process that only has the recorded pid is somebody else's, and is left alone.
    bystander = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        ours = recorded(stack)["evm"].pid
        forge(stack, "evm", pid=bystander.pid, create_time=psutil.Process(bystander.pid).create_time())
        stack.up()
        assert bystander.poll() is None
        assert recorded(stack)["evm"].pid != bystander.pid
        assert not psutil.pid_exists(ours) or psutil.Process(ours).status() == psutil.STATUS_ZOMBIE
        forge(stack, "bolt", create_time=1.0)
        stack.down()
        assert bystander.poll() is None
        assert living(stack) == []
    finally:
        bystander.kill()
        bystander.wait()

    stack.reset()
    assert sorted(path.name for path in stack_home.iterdir()) == ["stack.lock"]


def assert_kept(settings: dict[str, str], transaction: str) -> None:
    assert row(settings) == "a row"
    assert node(settings) == "a node"
    assert s3(settings).get_object(Bucket="staging", Key="kept")["Body"].read() == b"an object"
    assert block_of(settings, transaction) == 1


def wait_until_dead(which: dict[str, int]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        alive = [p for p in which.values() if psutil.pid_exists(p) and processes.alive(psutil.Process(p))]
        if not alive:
            return
        time.sleep(0.05)
    pytest.fail(f"still alive: {alive}")


def held(port: int) -> socket.socket:
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", port))
    holder.listen()
    return holder


def forge(stack: Stack, server: str, **changes: float) -> None:
    value = json.loads(stack.home.state.read_text())
    value["processes"][server] |= changes
    stack.home.state.write_text(json.dumps(value))


def test_root_keeps_postgres_data_reachable_without_opening_anybodys_folder(tmp_path: Path) -> None:
    """Below a folder closed to others, the data go to a place of their own, and the folder stays closed."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    chosen = postgres.data_folder(closed / "home" / "data" / "postgres")
    if os.geteuid() == 0:
        assert postgres.ROOTS_PLACE in chosen.parents
    else:
        assert closed in chosen.parents
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_a_stack_in_a_closed_folder_serves_postgres(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    stack = Stack.at(closed / "home")
    try:
        stack.up()
        row(stack.environment(), "a row")
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        data = Path(recorded(stack)["postgres"].command[2])
        if os.geteuid() == 0:
            assert data.stat().st_uid != 0
    finally:
        stack.reset()
    assert not data.exists()


def test_missing_programs_are_named_with_a_remedy(stack_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRL_ANVIL", "/nowhere/anvil")
    with pytest.raises(DrlError, match="no anvil program at /nowhere/anvil") as failure:
        Stack.at(stack_home).up()
    assert "DRL_ANVIL" in failure.value.remedy
    seen = {server.name: server.state for server in Stack.at(stack_home).status()}
    assert seen.pop("evm") == "stopped"
    assert set(seen.values()) == {"healthy"}, "the others run on"
    monkeypatch.delenv("DRL_ANVIL")
    Stack.at(stack_home).up()
    assert {server.state for server in Stack.at(stack_home).status()} == {"healthy"}


def test_data_without_their_credentials_are_not_touched(stack_home: Path) -> None:
    (stack_home / "data" / "s3").mkdir(parents=True)
    with pytest.raises(InputError, match=r"stack\.json"):
        Stack.at(stack_home).up()


def test_the_command_line_speaks_json_and_uses_exit_codes(stack: Stack, stack_home: Path) -> None:
    run = CliRunner()
    seen = run.invoke(app, ["status", "--json", "--home", str(stack.home.path)])
    assert seen.exit_code == 0
    assert {server["name"]: server["state"] for server in json.loads(seen.stdout)} == dict.fromkeys(
        NAMES, "healthy"
    )
    assert run.invoke(app, ["status", "--home", str(stack_home)]).exit_code == 2
    assert run.invoke(app, ["env", "--home", str(stack_home)]).exit_code == 2
    script = run.invoke(app, ["env", "--home", str(stack.home.path)]).stdout
    asked = subprocess.run(
        ["sh", "-c", f'{script}\nprintf %s "$AIRFLOW_CONN_MINIO_DEFAULT"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(asked.stdout) == json.loads(stack.environment()["AIRFLOW_CONN_MINIO_DEFAULT"])
    assert run.invoke(app, ["doctor", "--home", str(stack.home.path)]).exit_code == 0
