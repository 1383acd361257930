"""Airflow's task logs in MLflow's artifact store: they outlive the pod that wrote them, and need no further storage.

Where tasks run in pods, AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS names LOGGING here. Airflow reads the log of a running
task from its pod; when the task has ended, it is sent here, from where Airflow's pages show it. What is not here was
not sent: its process was killed.
"""

from pathlib import Path
from typing import Any

from airflow.config_templates.airflow_local_settings import DEFAULT_LOGGING_CONFIG
from airflow.sdk.configuration import conf

from core.artifacts import Artifacts
from core.config import settings

LOGGING = DEFAULT_LOGGING_CONFIG
FOLDER = "airflow-logs"


class TaskLogs:
    """What Airflow calls a RemoteLogIO. Paths are relative to the folder of logs."""

    processors = ()

    def upload(self, path: str, ti: Any = None) -> None:
        local = Path(conf.get("logging", "base_log_folder"), path)
        if local.exists():
            with local.open("rb") as file:
                Artifacts(settings().mlflow_url).put(file, f"{FOLDER}/{path}")

    def read(self, relative_path: str, ti: Any) -> tuple[list[str], list[str] | None]:
        """Where the log was found, and the log; None where there is none."""
        try:
            content = Artifacts(settings().mlflow_url).read(f"{FOLDER}/{relative_path}")
        except FileNotFoundError:
            return [], None
        return [f"MLflow's artifacts, {FOLDER}/{relative_path}"], [content.decode()]


REMOTE_TASK_LOG = TaskLogs()
