"""The record of a run: statements, digests, signatures and the ledger's account of it.

Everything here works from files and plain JSON, without a network, so that an outsider can check a record
with little more than Python. The format is described in ``docs/record.md``.
"""
