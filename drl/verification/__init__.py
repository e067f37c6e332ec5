"""Verifying a record from outside: who said what, what follows, and what is not so.

:func:`drl.verification.verify.verify_record` is the door. The room needs the light base only; whatever more a
check needs (ONNX, pandas, a chain, an environment's package) is asked for by name and is NOT CHECKED without.
The checks are numbered in ``docs/record.md`` and in :mod:`drl.verification.findings`.
"""
