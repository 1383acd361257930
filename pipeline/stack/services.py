"""Which servers make up the local stack, with their commands and environment. No process is started here."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from core.config import PREFIX, ROOT, Frozen, Settings
from pipeline.stack import credentials
from pipeline.stack.health import Probe
from pipeline.stack.ports import HOST, choose
from pipeline.stack.processes import Service
from pipeline.stack.sqlite import shared_database

PARALLEL_TASKS = 2
QUIET = {  # nothing reports home
    "DO_NOT_TRACK": "true",  # literally "true": MLflow accepts nothing else
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "ITERATIVE_DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class Ports(Frozen):
    airflow: int
    mlflow: int
    serving: int

    def urls(self) -> dict[str, str]:
        return {name: f"http://{HOST}:{port}" for name, port in self.model_dump().items()}


def choose_ports(settings: Settings) -> Ports:
    return Ports(
        airflow=choose("airflow", settings.airflow_port, 8080),
        mlflow=choose("mlflow", settings.mlflow_port, 5001),
        serving=choose("serving", settings.serving_port, 8000),
    )


def shared_environment(settings: Settings, urls: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """What every process of the stack gets on top of the caller's environment, and `loop` itself while one runs.

    Of the secrets only the key by which they ask the model server.
    """
    home = settings.home.resolve()
    places = {
        **{PREFIX + name.upper(): str(value) for name, value in settings.model_dump(exclude={"salt"}).items() if value},
        "LOOP_HOME": str(home),
        "LOOP_KEYS": str(settings.keys_path.resolve()),
        credentials.SERVING_KEY: settings.serving_key or secrets[credentials.SERVING_KEY],
        "LOOP_MLFLOW_URL": urls["mlflow"],
        "LOOP_SERVING_URL": urls["serving"],
        "MLFLOW_TRACKING_URI": urls["mlflow"],
        "DVC_SITE_CACHE_DIR": str(home / "dvc"),
    }
    return places | QUIET | process_environment()


def process_environment() -> dict[str, str]:
    """Our Python first, our code importable, one thread a task, loopback never through a proxy."""
    loopback = ",".join(filter(None, [os.environ.get("NO_PROXY", ""), "127.0.0.1,localhost"]))
    common = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "",  # compiling every import anew would triple the start of each task
        "OMP_NUM_THREADS": "1",  # spinning threads cost more than they bring where several tasks share few cores
        "NO_PROXY": loopback,
        "no_proxy": loopback,
    }
    if sys.platform == "darwin":  # Airflow forks its tasks, which macOS forbids by default
        common |= {"OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES", "NO_PROXY": "*", "no_proxy": "*"}
    return common


def airflow_environment(home: Path, url: str, secrets: Mapping[str, str]) -> dict[str, str]:
    """Airflow's settings; its secrets go to its own processes only."""
    airflow = home / "airflow"
    return {
        **{name: value for name, value in secrets.items() if name.startswith("AIRFLOW__")},
        "AIRFLOW_HOME": str(airflow),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(PARALLEL_TASKS),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{credentials.USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / credentials.PASSWORDS_FILE),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": shared_database(airflow / "airflow.db"),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",  # a new file is seen within this; a changed one at once
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
    }


def all_services(settings: Settings, ports: Ports, secrets: Mapping[str, str]) -> list[Service]:
    """Everything, in the order in which it is shown."""
    home, urls = settings.home.resolve(), ports.urls()
    shared = shared_environment(settings, urls, secrets)
    salt = {credentials.SALT: settings.salt or secrets[credentials.SALT]}
    airflow = shared | airflow_environment(home, urls["airflow"], secrets)
    return [
        mlflow_server(home, ports.mlflow, shared),
        *airflow_processes(ports.airflow, airflow),
        model_server(ports.serving, shared | salt),
    ]


def mlflow_server(home: Path, port: int, env: Mapping[str, str]) -> Service:
    folder = home / "mlflow"
    url = f"http://{HOST}:{port}"
    options = {
        "--host": HOST,
        "--port": str(port),
        "--workers": "1",
        "--backend-store-uri": shared_database(folder / "mlflow.db"),
        "--artifacts-destination": str(folder / "artifacts"),  # clients see mlflow-artifacts:, at any port
    }
    command = python("mlflow", "server", *(word for pair in options.items() for word in pair))
    own = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # its job queue would take eight more processes
    return Service("mlflow", command, Probe(url=f"{url}/health"), {**env, **own}, address=url)


def airflow_processes(port: int, env: Mapping[str, str]) -> list[Service]:
    url = f"http://{HOST}:{port}"
    health = f"{url}/api/v2/monitor/health"
    migrated = ("airflow-migrate",)

    def part(name: str, component: str | None, *words: str, address: str = "") -> Service:
        probe = Probe(url=health, component=component)
        return Service(f"airflow-{name}", python("airflow", *words), probe, env, migrated, address)

    return [
        Service("airflow-migrate", python("airflow", "db", "migrate"), None, env),
        part("api", None, "api-server", "--host", HOST, "--port", str(port), "-w", "1", address=url),
        part("scheduler", "scheduler", "scheduler", "--skip-serve-logs"),
        part("dags", "dag_processor", "dag-processor"),
    ]


def model_server(port: int, env: Mapping[str, str]) -> Service:
    url = f"http://{HOST}:{port}"
    return Service("serving", python("serving", "--port", str(port)), Probe(url=f"{url}/healthz"), env, address=url)


def python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)
