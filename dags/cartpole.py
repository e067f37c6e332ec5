from operators.pipeline import airflow_dag

dag = airflow_dag(__file__)
