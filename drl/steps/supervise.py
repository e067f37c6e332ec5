"""Run a step's process so that nothing of it outlives whoever asked for it.

``python -m drl.steps.supervise COMMAND …`` starts COMMAND in a process session of its own and ends every
descendant when COMMAND ends, when asked by SIGTERM, or when a pipe at the standard input closes: the asker
holds its other end, so its death by SIGKILL is noticed too. Orphans are adopted (PR_SET_CHILD_SUBREAPER),
so that Ray's daemons are found even when their parent is gone. In a container it is process 1, which hears of
SIGTERM only because it asks to.

Imports the standard library and psutil only: it must start fast and stay small beside a training.
"""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import subprocess
import sys
import threading
from types import FrameType

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_GRACE_S = 10.0


def main(command: list[str]) -> int:
    """Run ``command``; returns its exit status (128 + signal when it was killed)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=end_with_parent,
    )

    def stop(_signal: int, _frame: FrameType | None) -> None:
        child.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_follow_asker, args=(child,), daemon=True).start()
    status = child.wait()
    _end_descendants()
    return status if status >= 0 else 128 - status


def end_with_parent() -> None:
    """Let the kernel kill this process when the one that started it ends (Linux; elsewhere nothing)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _follow_asker(child: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    child.terminate()
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()


def _end_descendants() -> None:
    left = psutil.Process().children(recursive=True)
    for process in left:
        _send(process, signal.SIGTERM)
    _, stubborn = psutil.wait_procs(left, timeout=2.0)
    for process in stubborn:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=2.0)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _prctl(option: int, value: int) -> None:
    # Linux only; elsewhere the pipe and the process session do what they can.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
