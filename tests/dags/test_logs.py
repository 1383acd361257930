"""Task logs in MLflow: sent as Airflow's supervisor sends them, read back as Airflow's pages read them."""

import os
import subprocess
import sys
from pathlib import Path

from core.artifacts import Artifacts
from core.config import ROOT

LOG = "dag_id=lifecycle/run_id=manual__2013-04-12T04:45:00+00:00/task_id=train.hgb/attempt=1.log"

SENT = """
import sys
from types import SimpleNamespace
from airflow.sdk.log import upload_to_remote
with open(sys.argv[1]) as file:
    upload_to_remote(SimpleNamespace(_logger=SimpleNamespace(_file=file)))
"""

READ = """
import sys
from airflow.utils.log.file_task_handler import FileTaskHandler
handler = FileTaskHandler(sys.argv[1])
handler._render_filename = lambda ti, attempt: sys.argv[2]
print(handler._read_remote_logs(None, 1))
"""


def airflow(script: str, *arguments: str, logs: Path, mlflow_url: str) -> str:
    settings = {
        "AIRFLOW_HOME": str(logs.parent / "airflow"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(logs),
        "LOOP_MLFLOW_URL": mlflow_url,
        "PYTHONPATH": str(ROOT),
    }
    wanted = [line for line in (ROOT / "k8s/base/airflow.env").read_text().splitlines() if "__LOGGING__" in line]
    env = os.environ | settings | dict(line.split("=", 1) for line in wanted)
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=logs.parent, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_log_outlives_the_pod_that_wrote_it(tmp_path: Path, mlflow_url: str) -> None:
    pod, api = tmp_path / "pod/logs", tmp_path / "api/logs"
    for folder in ((pod / LOG).parent, api):
        folder.mkdir(parents=True)
    (pod / LOG).write_text('{"event": "fitted on 20,000 rows"}\n')
    airflow(SENT, str(pod / LOG), logs=pod, mlflow_url=mlflow_url)
    found = airflow(READ, str(api), LOG, logs=api, mlflow_url=mlflow_url)
    assert "fitted on 20,000 rows" in found
    assert f"MLflow's artifacts, airflow-logs/{LOG}" in found


def test_of_a_task_that_was_killed_there_is_none(tmp_path: Path, mlflow_url: str) -> None:
    api = tmp_path / "logs"
    api.mkdir()
    assert airflow(READ, str(api), "never/sent.log", logs=api, mlflow_url=mlflow_url).splitlines()[-1] == "([], [])"
    assert "sent.log" not in Artifacts(mlflow_url).files("airflow-logs/never")
