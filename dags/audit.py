# No pipeline, so no YAML file: the daily audit of every champion's proof.
from operators.audit import audit_dag

dag = audit_dag()
