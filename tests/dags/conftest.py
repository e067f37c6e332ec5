"""A bundle of tiny pipelines on the session's stack, run by real Airflow or operator by operator."""

from airflow_fixtures import airflow_here, bundle, recorded, records

__all__ = ["airflow_here", "bundle", "recorded", "records"]
