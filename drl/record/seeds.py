"""Training seeds that nobody could choose: derived from the intent and the block that opened the run.

The intent is fixed before the block exists, and on a chain that the owner does not run, the owner cannot
choose the block's hash. This is scheme ``drl seeds v1``.
"""

from __future__ import annotations

import hashlib

from drl.digest import require_sha256
from drl.errors import InputError

SCHEME = "drl seeds v1"


def derive_seeds(intent: str, block_hash: str, count: int) -> list[int]:
    """Distinct seeds in [0, 2^31).

    The candidate with index i = 0, 1, 2, … is the first 31 bits of
    SHA-256("drl seeds v1" || 0x00 || intent || block hash || i as four bytes, big-endian); a candidate that
    came up before is passed over.

    Args:
        intent: SHA-256 of the signed intent, in hexadecimal.
        block_hash: hash of the block that holds the opening, ``0x`` and 64 hexadecimal characters.
        count: how many seeds.

    Raises:
        InputError: a malformed digest or hash, or a count below 1.
    """
    if count < 1:
        raise InputError(f"count of seeds {count}", remedy="ask for one seed or more")
    require_sha256(intent, where="intent")
    block = require_sha256(block_hash.removeprefix("0x"), where="block hash")
    prefix = SCHEME.encode() + b"\x00" + bytes.fromhex(intent) + bytes.fromhex(block)
    seeds: list[int] = []
    index = 0
    while len(seeds) < count:
        word = hashlib.sha256(prefix + index.to_bytes(4, "big")).digest()[:4]
        seed = int.from_bytes(word, "big") >> 1
        if seed not in seeds:
            seeds.append(seed)
        index += 1
    return seeds
