"""What does an answer cost? drl-api against ``mlflow models serve`` and Ray Serve: one policy, one client, one machine.

Wants a running stack with a champion, and Ray Serve's packages beside the environment:

    uv pip install --target .venv/benchmarks --no-deps -r benchmarks/serving-requirements.txt
    drl trust init --out trust.yaml
    PYTHONPATH=.venv/benchmarks python benchmarks/serving.py cartpole --trust trust.yaml

Latency: one kept connection, one observation after the other. Throughput: two client processes with four
connections each beside the server, on the same cores. Memory: resident, of all processes of the server.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from drl.cli.main import use_stack

WARM, REQUESTS, BATCHES, BATCH = 200, 3000, 300, 256
CLIENTS, CONNECTIONS, SECONDS = 2, 4, 6.0
PATIENCE = 180.0
RAY = """
import sys
import numpy as np, onnxruntime, ray
from ray import serve

@serve.deployment(num_replicas=1, max_ongoing_requests=64)
class Policy:
    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    async def __call__(self, request):
        rows = np.asarray((await request.json())["observations"], np.float32)
        return {"actions": self.session.run(["outputs"], {"observation": rows})[0].argmax(axis=1).tolist()}

ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[2])})
serve.run(Policy.bind(sys.argv[1]), route_prefix="/act")
import threading
threading.Event().wait()
"""


@dataclass(frozen=True)
class Candidate:
    """A server: how it is started, asked, and asked for a batch."""

    name: str
    command: Callable[[int], list[str]]
    path: str
    body: Callable[[np.ndarray], bytes]


@dataclass(frozen=True)
class Measured:
    """Figures of one server: milliseconds, requests a second, MiB, seconds to the first answer."""

    p50: float
    p99: float
    batch: float
    rate: float
    memory: float
    start: float


def main() -> None:
    options = _options()
    use_stack()
    with tempfile.TemporaryDirectory() as folder:
        onnx = _onnx(options.model, Path(folder))
        size = _inputs(onnx)
        found: dict[str, Measured] = {}
        for candidate in _candidates(options, onnx, Path(folder)):
            with _started(candidate, Path(folder), size) as (port, process, seconds):
                found[candidate.name] = _measure(candidate, port, process, size, seconds)
            print(f"… {candidate.name} measured", file=sys.stderr, flush=True)
        proof = _proof_seconds(Path(folder) / "drl-api.log")
    _print(found, proof, size)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--trust", type=Path, required=True)
    return parser.parse_args()


def _candidates(options: argparse.Namespace, onnx: Path, folder: Path) -> list[Candidate]:
    here, program = Path(sys.executable).parent, folder / "ray_program.py"
    program.write_text(RAY)
    trust = ["--trust", str(options.trust)]
    mlflow = [str(here / "mlflow"), "models", "serve", "-m", f"models:/{options.model}@champion"]
    return [
        Candidate(
            "drl-api",
            lambda port: [str(here / "drl-api"), "serve", options.model, *trust, "--port", str(port)],
            f"/v1/policies/{options.model}/act",
            lambda rows: json.dumps({"observations": rows.tolist()}).encode(),
        ),
        Candidate(
            "`mlflow models serve`",
            lambda port: [*mlflow, "-p", str(port), "--env-manager", "local", "--workers", "1"],
            "/invocations",
            lambda rows: json.dumps({"inputs": rows.tolist()}).encode(),
        ),
        Candidate(
            "Ray Serve",
            lambda port: [sys.executable, str(program), str(onnx), str(port)],
            "/act",
            lambda rows: json.dumps({"observations": rows.tolist()}).encode(),
        ),
    ]


@contextmanager
def _started(candidate: Candidate, folder: Path, size: int) -> Iterator[tuple[int, psutil.Process, float]]:
    """The server once it answers; ended with everything that it started."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "MLFLOW_TRACKING_URI": os.environ["DRL_MLFLOW_URI"],
        "DRL_API_STATE": str(folder / "state"),
    }
    begin = time.monotonic()
    with (folder / f"{candidate.name.strip('`')}.log").open("wb") as log:
        started = subprocess.Popen(
            candidate.command(port), env=environment, stdout=log, stderr=log, start_new_session=True
        )
    process = psutil.Process(started.pid)
    try:
        _wait(candidate, port, size, started, log.name)
        yield port, process, time.monotonic() - begin
    finally:
        family = [process, *process.children(recursive=True)]
        os.killpg(started.pid, signal.SIGTERM)
        _, left = psutil.wait_procs(family, timeout=15)
        for one in left:
            one.kill()
        started.wait()


def _wait(candidate: Candidate, port: int, size: int, process: subprocess.Popen[bytes], log: str) -> None:
    deadline = time.monotonic() + PATIENCE
    body = candidate.body(np.zeros((1, size), np.float32))
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            if _ask(connection, candidate.path, body) == 200:
                return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    raise SystemExit(f"{candidate.name} does not answer:\n{Path(log).read_text()[-2000:]}")


def _measure(candidate: Candidate, port: int, process: psutil.Process, size: int, start: float) -> Measured:
    rng = np.random.default_rng(0)
    one = candidate.body(rng.normal(size=(1, size)).astype(np.float32))
    many = candidate.body(rng.normal(size=(BATCH, size)).astype(np.float32))
    _timed(port, candidate.path, one, WARM)
    single = _timed(port, candidate.path, one, REQUESTS)
    batch = _timed(port, candidate.path, many, BATCHES)
    rate = _rate(port, candidate.path, one)
    resident = sum(p.memory_info().rss for p in [process, *process.children(recursive=True)])
    return Measured(
        float(np.percentile(single, 50)),
        float(np.percentile(single, 99)),
        float(np.percentile(batch, 50)),
        rate,
        resident / 2**20,
        start,
    )


def _timed(port: int, path: str, body: bytes, count: int) -> list[float]:
    """Milliseconds of each request on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        status = _ask(connection, path, body)
        times.append(1000 * (time.perf_counter() - begin))
        if status != 200:
            raise SystemExit(f"{path}: status {status}")
    connection.close()
    return times


def _rate(port: int, path: str, body: bytes) -> float:
    """Answers a second to two processes with four connections each."""
    with multiprocessing.get_context("spawn").Pool(CLIENTS) as pool:
        return sum(pool.starmap(_flood, [(port, path, body)] * CLIENTS)) / SECONDS


def _flood(port: int, path: str, body: bytes) -> int:
    answered, until = [0] * CONNECTIONS, time.monotonic() + SECONDS

    def ask(index: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < until:
            answered[index] += _ask(connection, path, body) == 200
        connection.close()

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answered)


def _ask(connection: http.client.HTTPConnection, path: str, body: bytes) -> int:
    connection.request("POST", path, body=body, headers={"Content-Type": "application/json"})
    reply = connection.getresponse()
    reply.read()
    return reply.status


def _onnx(model: str, folder: Path) -> Path:
    """The champion's file, as MLflow has it."""
    from mlflow import MlflowClient, artifacts, set_tracking_uri

    set_tracking_uri(os.environ["DRL_MLFLOW_URI"])
    version = MlflowClient().get_model_version_by_alias(model, "champion").version
    got = Path(artifacts.download_artifacts(f"models:/{model}/{version}", dst_path=str(folder / "model")))
    return next(got.rglob("model.onnx"))


def _inputs(onnx: Path) -> int:
    import onnxruntime

    return int(onnxruntime.InferenceSession(str(onnx)).get_inputs()[0].shape[1])


def _proof_seconds(log: Path) -> float:
    """How long drl-api took to verify and load, as it says itself."""
    lines: list[dict[str, Any]] = [json.loads(x) for x in log.read_text().splitlines() if x.startswith("{")]
    return float(next(line["seconds"] for line in lines if line["event"] == "switched"))


def _print(found: dict[str, Measured], proof: float, size: int) -> None:
    ours = found["drl-api"]
    print(
        f"policy of {size} inputs; {REQUESTS} requests; batches of {BATCH}; p50 of others over ours in brackets\n"
    )
    print(
        "| server | p50, ms | p99, ms | batch of 256, p50, ms | requests/s | memory, MiB | to the first answer, s |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, m in found.items():
        ratio = "" if m is ours else f" ({m.p50 / ours.p50:.1f}×)"
        print(
            f"| {name} | {m.p50:.2f}{ratio} | {m.p99:.2f} | {m.batch:.2f} | {m.rate:.0f} | {m.memory:.0f} | "
            f"{m.start:.1f} |"
        )
    print(f"\nverify and load, of the time to drl-api's first answer: {proof:.1f} s")


if __name__ == "__main__":
    main()
