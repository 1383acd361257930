"""`loop status`: what runs, and where the loop stands; on a laptop, of containers, and inside of one."""

from typing import TYPE_CHECKING, Any

from rich.table import Table

from pipeline.commands.console import out

if TYPE_CHECKING:
    from docker.models.containers import Container

    from core.config import Settings
    from pipeline.airflow_api import AirflowApi
    from pipeline.stack.stack import Stack

LIFECYCLE = "lifecycle"
TASKS_RUN_IN = "airflow-scheduler"  # the service of compose.yaml that reaches all the others


def status() -> None:
    """Processes or containers, champion, canary, traffic and the monitor's last decision, on one screen."""
    from core.config import settings
    from pipeline.containers import inside
    from pipeline.stack.stack import Stack

    given = settings()
    stack = Stack(given)
    if stack.is_running():
        show(stack)
        with stack.airflow() as airflow:
            out.print()
            out.print(_loop(given, stack.urls["mlflow"], airflow))
    elif inside.is_inside():
        with inside.airflow() as airflow:
            out.print(_loop(given, given.mlflow_url, airflow))
    elif services := _containers():
        _show_containers(services)
    else:
        out.print(
            f"No stack is running in {stack.home} or in containers; `loop up` or `docker compose up` starts one.",
            soft_wrap=True,
        )


def show(stack: "Stack") -> None:
    """Processes with health and address, then how to log in."""
    from pipeline.stack.memory import measure

    table = _table("process", "address", "memory", "health")
    for record, trouble in stack.health():
        health = f"[red]{trouble}[/red]" if trouble else "[green]healthy[/green]"
        table.add_row(record.name, record.address, f"{measure([record.pid]) / 2**20:.0f} MB", health)
    out.print(table)
    user, password = stack.login
    out.print(f"\nAirflow's user is [bold]{user}[/bold], the password [bold]{password}[/bold]")
    out.print(f"Logs: {stack.home}/logs; stop with `loop down`", soft_wrap=True)


def _containers() -> "dict[str, Container]":
    """Of this checkout's compose project. Where no engine answers there are none."""
    from core.config import environment
    from core.errors import DeployError
    from pipeline.containers import compose
    from pipeline.engine import Engine

    try:
        return Engine().services(compose.project(environment()))
    except DeployError:
        return {}


def _show_containers(services: "dict[str, Container]") -> None:
    from pipeline import engine as docker

    table = _table("container", "address", "health")
    for name, container in sorted(services.items()):
        health = docker.health(container)
        color = "green" if health in ("healthy", "running") else "red"
        table.add_row(name, docker.address(container), f"[{color}]{health}[/{color}]")
    out.print(table)
    out.print("\nAirflow's password: docker compose run --rm setup secret AIRFLOW_ADMIN_PASSWORD", soft_wrap=True)
    out.print("Logs: docker compose logs SERVICE; stop with `docker compose down`\n", soft_wrap=True)
    if (tasks := services.get(TASKS_RUN_IN)) and tasks.status == "running":
        out.print(docker.said(tasks, "loop", "status"), markup=False, highlight=False)


def _loop(given: "Settings", mlflow_url: str, airflow: "AirflowApi") -> Table:
    from core import database, decisions, predictions
    from core.releases import ReleaseReader
    from problems import load

    name = load().spec.name
    engine = database.connect(given.store_url)
    reader = ReleaseReader(mlflow_url, name)
    release = reader.release()
    runs = airflow.runs(LIFECYCLE, limit=1)
    rows = {
        "problem": name,
        "champion": _version(reader, release.champion) if release.champion else "none yet",
        "canary": f"version {release.canary}, {release.percent:g} % of the entities" if release.canary else "none",
        "shadow": f"version {release.in_shadow}" if release.in_shadow else "none",
        "predictions": f"{predictions.count(engine, name):,}",
        "last decision": _last(decisions.history(engine, name)),
        "last life cycle": f"{runs[0].run_id.partition('__')[0]}, {runs[0].state}" if runs else "none yet",
    }
    table = _table("", "")
    table.show_header = False
    for what, value in rows.items():
        table.add_row(what, value)
    return table


def _version(reader: Any, version: str) -> str:
    tags = reader.tags(version)
    return f"version {version}: {tags['candidate']}, trained as of {tags['as_of']}, data {tags['data_version'][:8]}"


def _last(made: list[dict[str, Any]]) -> str:
    if not made:
        return "none yet"
    return f"{made[-1]['as_of']} {made[-1]['decision']}: {made[-1]['reasons'][0]}"


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
