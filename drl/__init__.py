"""Deep reinforcement learning pipelines whose results an outsider can check.

The library behind the Airflow bundle and the command ``drl``. It never imports Airflow.
"""

__version__ = "0.1.0"
