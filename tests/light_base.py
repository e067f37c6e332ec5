"""Run ``drl`` as if only the light base were installed: ``python light_base.py verify RECORD ...``.

Packages beyond the light base cannot be imported, as if they were absent.
"""

import importlib.abc
import sys

ABSENT = {
    "airflow",
    "boto3",
    "botocore",
    "eth_abi",
    "great_expectations",
    "jsonschema",
    "matplotlib",
    "mlflow",
    "neo4j",
    "onnx",
    "onnxruntime",
    "pandas",
    "psycopg2",
    "pyarrow",
    "ray",
    "requests",
    "scipy",
    "torch",
    "web3",
}


class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if __name__ == "__main__":
    sys.meta_path.insert(0, Absent())
    from drl.cli.main import app

    app()
