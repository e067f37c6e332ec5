"""Random numbers that anybody can make again, in any language and any year.

numpy promises the raw words of a bit generator but not the streams that its ``Generator`` makes of them, so
this project draws from raw words through mappings of its own. The recipe, complete:

1. *Seed.* SHA-256 of the seed text in UTF-8. The state of PCG64 (PCG-XSL-RR 128/64, O'Neill 2014) is the
   first 16 bytes of the digest as a big-endian integer, its increment the last 16 bytes with the lowest bit
   set.
2. *Word.* ``state = state * 0x2360ED051FC65DA44385DF649FCCF645 + increment`` modulo 2^128; the word is the
   exclusive or of the new state's high and low 64 bits, rotated right by its highest 6 bits
   (``state >> 122``).
3. *Index below n* (n at most 2^20): ``((word >> 32) * n) >> 32``. The product stays below 2^53, so that a
   language with doubles only computes it exactly; no index is more or less likely than 1/n by more than
   2^-32.
4. *Uniform in [0, 1)*: ``(word >> 11) * 2^-53``.

``tests/unit/test_evaluation_words.py`` holds a plain implementation in integers that must agree.
"""

from __future__ import annotations

import hashlib

import numpy as np

from drl.errors import InputError

MAX_INDEX = 1 << 20


class Words:
    """The stream of 64-bit words that a seed text names; every draw moves it on."""

    def __init__(self, seed: str) -> None:
        """Begin the stream of ``seed``."""
        digest = hashlib.sha256(seed.encode()).digest()
        self._generator = np.random.PCG64(0)
        self._generator.state = {
            "bit_generator": "PCG64",
            "state": {
                "state": int.from_bytes(digest[:16], "big"),
                "inc": int.from_bytes(digest[16:], "big") | 1,
            },
            "has_uint32": 0,
            "uinteger": 0,
        }

    def raw(self, count: int) -> np.ndarray:
        """The next ``count`` words, uint64 [count]."""
        return np.asarray(self._generator.random_raw(count), dtype=np.uint64)

    def indices(self, below: int, shape: tuple[int, ...]) -> np.ndarray:
        """Indices in ``range(below)``, int64 of ``shape``, one word each in C order.

        Raises:
            InputError: ``below`` is not between 1 and 2^20.
        """
        if not 1 <= below <= MAX_INDEX:
            raise InputError(
                f"indices below {below} were asked for", remedy=f"resample between 1 and {MAX_INDEX} items"
            )
        high = self.raw(int(np.prod(shape))) >> np.uint64(32)
        return ((high * np.uint64(below)) >> np.uint64(32)).astype(np.int64).reshape(shape)

    def uniforms(self, shape: tuple[int, ...]) -> np.ndarray:
        """Numbers in [0, 1), float64 of ``shape``, one word each in C order."""
        mantissas = self.raw(int(np.prod(shape))) >> np.uint64(11)
        return mantissas.astype(np.float64).reshape(shape) * 2.0**-53
