"""The work of a task: prepare, train, evaluate. One function each, the same in a subprocess or a pod.

A step is not trusted: it runs user code, holds no signing key, and talks to the artifact store only.
"""
