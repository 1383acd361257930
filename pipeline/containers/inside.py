"""For what runs in one of Airflow's containers: finding Airflow. In compose and on Kubernetes it has the same name."""

import os

from pipeline.airflow_api import AirflowApi
from pipeline.stack import credentials

AIRFLOW_URL = "http://airflow-api:8080"


def is_inside() -> bool:
    """Whether this process runs in such a container: they alone are given Airflow's password."""
    return credentials.PASSWORD in os.environ


def airflow() -> AirflowApi:
    return AirflowApi(AIRFLOW_URL, credentials.USER, os.environ[credentials.PASSWORD])
