# An Airflow DAG that is no pipeline, so it has no YAML file: pods and RayJobs of cancelled runs are deleted.
from operators.pod_reaper import reaper_dag

dag = reaper_dag()
