"""The embedded stack's bookkeeping: home, state, ports, processes; no servers."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from drl.errors import ConflictError, Falsified, InputError, Undetermined
from drl.local import airflow_home, anvil_package, home, packages, ports, processes
from drl.local.anvil import Anvil
from drl.local.home import Home
from drl.local.processes import ProcessRecord
from drl.local.seaweedfs import S3Key
from drl.local.servers import KINDS, Servers
from drl.local.stack import Stack
from drl.local.state import Credentials, State


@pytest.fixture
def state() -> State:
    key = S3Key("access-1", "secret-1")
    return State(
        Credentials("secret-2", "secret-3", key, key, key, "secret-4", "secret-5", "0xadd2e5"),
        ports={k.name: {n: 12_000 + i for i, n in enumerate(k.port_names)} for k in KINDS},
        processes={"evm": ProcessRecord(1, 2.0, ("a", "b"), "f", True)},
    )


def test_state_survives_a_round_trip_in_a_private_file(tmp_path: Path, state: State) -> None:
    path = tmp_path / "stack.json"
    state.save(path)
    assert State.load(path) == state
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["stack.json"]


def test_no_state_is_none_and_a_damaged_one_is_an_error_without_secrets(tmp_path: Path, state: State) -> None:
    path = tmp_path / "stack.json"
    assert State.load(path) is None
    state.save(path)
    for text in ("", path.read_text()[:-40], path.read_text().replace("drl.stack/1", "drl.stack/9")):
        path.write_text(text)
        with pytest.raises(InputError, match=r"stack\.json") as failure:
            State.load(path)
        assert "secret-" not in str(failure.value)


def test_secrets_are_in_no_repr_and_are_redacted_from_logs(state: State, tmp_path: Path) -> None:
    servers = Servers.of(Home(tmp_path), state)
    assert "secret-" not in repr(state.credentials) + repr(servers)
    assert state.redact("a secret-2 b secret-5 c 0xadd2e5") == "a *** b *** c 0xadd2e5"


def test_no_server_has_a_secret_on_its_command_line(state: State, tmp_path: Path) -> None:
    for server in Servers.of(Home(tmp_path), state).all():
        assert not [part for part in server.command() if "secret-" in part], server.name


def test_a_changed_port_changes_the_fingerprint_of_every_server_that_uses_it(
    state: State, tmp_path: Path
) -> None:
    def fingerprints() -> dict[str, str]:
        return {server.name: server.fingerprint() for server in Servers.of(Home(tmp_path), state).all()}

    before = fingerprints()
    assert before == fingerprints()
    state.ports["postgres"]["main"] += 1
    after = fingerprints()
    assert {name for name in before if before[name] != after[name]} == {"postgres", "mlflow"}


def test_credentials_are_random_and_the_address_belongs_to_the_key() -> None:
    from eth_account import Account

    one, other = Credentials.random(), Credentials.random()
    assert one != other
    assert Account.from_key(one.evm_private_key).address == one.evm_address


def test_home_is_found_from_the_variable_then_from_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRL_HOME", str(tmp_path / "set"))
    assert Home.at().path == tmp_path / "set"
    assert Home.at(tmp_path / "given").path == tmp_path / "given"
    monkeypatch.delenv("DRL_HOME")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert Home.at().path == tmp_path / ".drl"


def test_a_home_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written") as failure:
        Stack.at(tmp_path / "file" / "home").up()
    assert "DRL_HOME" in failure.value.remedy


def test_a_home_is_held_by_one_command_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "LOCK_TIMEOUT", 0.2)
    said: list[str] = []
    one, other = Home(tmp_path), Home(tmp_path)
    with one.lock(said.append), pytest.raises(ConflictError), other.lock(said.append):
        pytest.fail("two hold it")
    assert said == ["waiting for another drl stack command to end"]
    with other.lock(said.append):
        assert len(said) == 1


def test_a_large_log_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "LOG_LIMIT", 10)
    place = Home(tmp_path)
    place.create()
    for text in (b"x" * 11, b"new"):
        with place.open_log("s3") as log:
            os.write(log, text)
    assert place.log("s3").read_bytes() == b"new"
    assert place.log("s3").with_suffix(".log.1").read_bytes() == b"x" * 11


def test_a_chosen_port_is_free_and_a_listening_one_is_not() -> None:
    port = ports.choose(set(), offset=10_000)
    assert ports.is_free(port)
    assert ports.is_free(port + 10_000)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        assert not ports.is_free(holder.getsockname()[1])


def test_no_free_port_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "ATTEMPTS", 3)
    with pytest.raises(Undetermined, match="no free loopback port"):
        ports.choose(set(range(ports.LOW, ports.HIGH)))


def test_a_process_is_ours_only_if_pid_time_and_command_agree(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (tmp_path / "log").open("wb") as log:
        process = processes.spawn(command, folder=tmp_path, log=log.fileno(), environment={}, account=None)
    record = ProcessRecord(process.pid, process.create_time(), tuple(command), "")
    try:
        assert processes.find(record) == process
        assert processes.find_by_command([command]) == [process]
        for other in (
            replace(record, pid=os.getpid()),
            replace(record, create_time=record.create_time - 60),
            replace(record, command=(*command, "other")),
        ):
            assert processes.find(other) is None
        assert os.getsid(process.pid) == process.pid, "it outlives the terminal"
    finally:
        assert processes.stop(process, with_signal=signal.SIGTERM, timeout=10)
    assert processes.find(record) is None


def test_stop_kills_what_does_not_end_with_its_whole_group(tmp_path: Path) -> None:
    script = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "subprocess.Popen([sys.executable, '-c', 'import signal, time;"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)']);"
        "print('up', flush=True); time.sleep(60)"
    )
    with (tmp_path / "log").open("wb") as log:
        process = processes.spawn(
            [sys.executable, "-c", script], folder=tmp_path, log=log.fileno(), environment={}, account=None
        )
    deadline = time.monotonic() + 10
    while not (tmp_path / "log").read_bytes() and time.monotonic() < deadline:
        time.sleep(0.02)
    children = process.children(recursive=True)
    assert len(children) == 1
    assert not processes.stop(process, with_signal=signal.SIGTERM, timeout=0.2)
    assert not [p for p in (process, *children) if processes.alive(p)]


def test_down_needs_no_installed_programs(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: str) -> Path:
        raise packages.missing("some-wheel")

    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (tmp_path / "log").open("wb") as log:
        process = processes.spawn(command, folder=tmp_path, log=log.fileno(), environment={}, account=None)
    state.processes["evm"] = ProcessRecord(process.pid, process.create_time(), tuple(command), "")
    state.save(Home(tmp_path).state)
    monkeypatch.setattr("drl.local.seaweedfs.installed_script", gone)
    monkeypatch.setattr("drl.local.arcadedb.package_folder", gone)
    Stack.at(tmp_path).down()
    assert not processes.alive(process)


def test_a_port_about_to_be_released_is_waited_for() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        assert not ports.becomes_free(port, 0, patience=0.1)
        timer = threading.Timer(0.2, holder.close)
        timer.start()
        assert ports.becomes_free(port, 0, patience=5.0)
        timer.join()


def test_a_missing_wheel_is_named_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for attempt in (
        lambda: packages.package_folder("no_such_package", "no-such-wheel"),
        lambda: packages.installed_script("no-such-wheel", "program"),
        lambda: packages.installed_script("psutil", "no-such-program"),
        lambda: packages.version("no-such-wheel"),
    ):
        with pytest.raises(Undetermined, match="is not installed") as failure:
            attempt()
        assert "pip install" in failure.value.remedy


def test_a_package_with_another_digest_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "anvil.tgz"
    archive.write_bytes(b"something else")
    with pytest.raises(Falsified, match="sha512"):
        anvil_package.verify(archive, anvil_package.INTEGRITY["linux-amd64"])


def test_a_platform_without_a_pinned_package_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRL_ANVIL", raising=False)
    monkeypatch.setattr(anvil_package, "target", lambda: "plan9-mips")
    with pytest.raises(Undetermined, match="plan9-mips") as failure:
        anvil_package.fetch(tmp_path, lambda line: None)
    assert "DRL_ANVIL" in failure.value.remedy


def test_a_torn_chain_state_falls_back_to_the_last_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRL_ANVIL", sys.executable)
    chain = Anvil(tmp_path, {"main": 1}, address="0x0", cache=tmp_path)
    said: list[str] = []
    state = tmp_path / "state.json"
    state.write_text('{"block": 1}')
    chain.prepare(said.append)
    state.write_text('{"block": 2, "acc')
    chain.prepare(said.append)
    assert json.loads(state.read_text()) == {"block": 1}
    assert (tmp_path / "state.json.torn").exists()
    assert len(said) == 1
    assert "cut off" in said[0]


def test_airflows_environment_is_complete_private_and_stable(tmp_path: Path) -> None:
    (repository := tmp_path / "repository").mkdir()
    inherited = {
        "PATH": "/usr/bin",
        "AIRFLOW__CORE__EXECUTOR": "Other",
        "PYTHONPATH": "/elsewhere",
        "KEPT": "1",
    }
    stack = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://x"}
    made = airflow_home.airflow_environment(tmp_path / "home", repository, stack, inherited)
    assert made == airflow_home.airflow_environment(tmp_path / "home", repository, stack, inherited)
    assert made["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert made["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert made["PYTHONPATH"] == f"{repository}:/elsewhere"
    assert made["KEPT"] == "1"
    bundle = json.loads(made["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])[0]
    assert bundle["kwargs"] == {"path": str(repository)}
    user, password = airflow_home.admin_login(tmp_path / "home")
    written = Path(made["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    assert json.loads(written.read_text()) == {user: password}
    for path in (written, tmp_path / "home" / "airflow" / "secrets.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert password not in repr(airflow_home.AirflowSecrets.of(tmp_path / "home" / "airflow"))


def test_looking_at_a_stack_imports_nothing_heavy() -> None:
    code = (
        "import sys; from drl.cli.stack import app; from drl.local.stack import Stack;"
        "print(sorted({'boto3', 'neo4j', 'mlflow', 'web3', 'eth_account', 'airflow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.stdout.strip() == "[]"
