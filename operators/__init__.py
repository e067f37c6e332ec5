"""Airflow's side: thin operators over ``drl``, one module for each outside system."""
