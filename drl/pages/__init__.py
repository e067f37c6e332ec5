"""Pages about runs as HTML: what a deployment's web interface shows. Knows the stores, and no Airflow."""
