# An Airflow DAG that is no pipeline, so it has no YAML file: the daily audit of every champion's proof.
from operators.audit import audit_dag

dag = audit_dag()
