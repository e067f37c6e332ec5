"""Log lines of drl-api: one JSON object a line on standard error, for people with jq and for collectors."""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def say(event: str, **facts: Any) -> None:
    """Write one line. No fact may be a key, a secret or an observation."""
    line = json.dumps({"at": round(time.time(), 3), "event": event, **facts}, default=str)
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
