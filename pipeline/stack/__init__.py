"""The local stack: MLflow, Airflow and the model server as processes on this machine, started, watched, stopped.

For laptops and the demo. It knows no DAG, no model and no problem; compose and Kubernetes run the same servers
from their own manifests and use nothing of this package.
"""
