"""drl-api: a policy answers over HTTP only after its proof held.

The serving process is small: FastAPI, ONNX Runtime and numpy. What needs more (S3, the chain, Parquet) is
done by children that end: :mod:`drl.serving.prove` verifies, :mod:`drl.serving.expectation` plays the
training environment, :mod:`drl.serving.ship` ships logged decisions.
"""
