"""Numbers about a deployment for Prometheus: what its database, its graph and its Airflow say now."""
