"""Where the operators' signing keys are. Steps never see them."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drl.record.keys import Role, RoleSigner


@cache
def signer(role: Role) -> RoleSigner:
    """The signer of a role, by ``DRL_SIGNER_ROLE``; its key ring is in ``DRL_KEYS``, by default
    ``AIRFLOW_HOME/keys``.
    """
    from drl.record.keys import load_signer

    return load_signer(keys_folder(), role)


def keys_folder() -> Path:
    """Folder of the key ring."""
    from airflow.configuration import AIRFLOW_HOME

    return Path(os.environ.get("DRL_KEYS", f"{AIRFLOW_HOME}/keys"))
