"""The embedded stack: real servers on free loopback ports, without Docker.

PostgreSQL, an S3 store, a Bolt server, an EVM node and MLflow are started as plain subprocesses, found again
after a crash and stopped in order. Their state lives in one folder, ``DRL_HOME``. Start reading at
:mod:`drl.local.stack`; every server is one module of the same shape (:class:`drl.local.server.Server`).
"""
