"""Scripts that the pods run, as far as they need no server."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from k8s_manifests import SOURCE

SCRIPTS = SOURCE / "components" / "backups" / "scripts"


def bash(script: str, *arguments: Path | str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(SCRIPTS / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.sh")), ids=lambda path: path.name)
def test_shell_scripts_are_whole(path: Path) -> None:
    assert subprocess.run(["bash", "-n", str(path)], capture_output=True).returncode == 0
    assert path.stat().st_mode & 0o111


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.name)
def test_python_scripts_are_whole(path: Path) -> None:
    compile(path.read_text(), str(path), "exec")


def test_a_chain_is_saved_and_restored(tmp_path: Path) -> None:
    state, folder, target = tmp_path / "state.json", tmp_path / "copies", tmp_path / "restored.json"
    state.write_text('{"block": 1}')
    saved = bash("backup-chain.sh", state, folder)
    assert saved.returncode == 0, saved.stderr
    restored = bash("restore-chain.sh", folder, target)
    assert restored.returncode == 0, restored.stderr
    assert target.read_text() == state.read_text()


def test_a_torn_state_is_not_taken_for_a_backup(tmp_path: Path) -> None:
    state, folder = tmp_path / "state.json", tmp_path / "copies"
    state.write_text('{"block": ')
    saved = bash("backup-chain.sh", state, folder)
    assert saved.returncode == 1
    assert "each of three looks" in saved.stderr
    assert not list(folder.glob("*.json"))


def test_old_copies_go_and_the_newest_is_restored(tmp_path: Path) -> None:
    state, folder, target = tmp_path / "state.json", tmp_path / "copies", tmp_path / "restored.json"
    folder.mkdir()
    for hour in range(60):
        (folder / f"2026-01-{1 + hour // 24:02}T{hour % 24:02}-00-00Z.json").write_text("{}")
    state.write_text('{"block": 2}')
    assert bash("backup-chain.sh", state, folder).returncode == 0
    assert len(list(folder.iterdir())) == 48
    assert bash("restore-chain.sh", folder, target).returncode == 0
    assert target.read_text() == '{"block": 2}'


@pytest.mark.parametrize("script", ["restore-chain.sh", "restore-postgres.sh"])
def test_restoring_nothing_is_an_error_that_says_so(tmp_path: Path, script: str) -> None:
    done = bash(script, tmp_path, tmp_path / "target")
    assert done.returncode == 1
    assert "put the backup there first" in done.stderr
