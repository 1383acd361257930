"""`loop release`: what is released, and changing it by hand. `loop history` lists every change."""

import getpass
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from core.errors import RegistryError
from pipeline.commands.console import out

if TYPE_CHECKING:
    from core.registry import Registry
    from core.releases import Release

app = typer.Typer(no_args_is_help=True, help="Try a version, promote it, go back.")
Reason = Annotated[str, typer.Option("--reason", help="Why, in a sentence. It is kept with the event.")]
Tried = Annotated[str, typer.Argument(help="Version to try.")]
Percent = Annotated[
    float | None,
    typer.Option(
        "--percent", min=0.01, max=100.0, help="Share of the entities. Default: the problem's canary.percent."
    ),
]


def shadow(version: Tried, reason: Reason) -> None:
    """Score a version on what the champion answers. It answers nothing itself."""
    registry = _registry()
    _check_challenger(registry, version)
    registry.start_shadow(version, _actor(), reason, {})
    _see_it_served(f"Version {version} is in shadow; `loop release watch` judges it.")


def canary(version: Tried, reason: Reason, percent: Percent = None) -> None:
    """Let a version answer a share of the entities, always the same ones."""
    from problems import load

    registry = _registry()
    _check_challenger(registry, version)
    percent = percent or load().spec.canary.percent
    registry.start_canary(version, percent, _actor(), reason, {})
    _see_it_served(f"Version {version} answers {percent:g} % of the entities; `loop release watch` judges it.")


def watch() -> None:
    """Judge what is in shadow or canary until it is champion or kept out. Ctrl-C only stops the watching."""
    from pipeline import release

    judgement = release.follow(f"watch by {_actor()}", lambda line: out.print(line, highlight=False))
    if judgement is None:
        raise RegistryError("nothing is in shadow or canary; `loop release canary` starts one")


def promote(version: Annotated[str, typer.Argument(help="Version to make champion.")], reason: Reason) -> None:
    """Make a version the champion at once, past the gate and the canary."""
    registry = _registry()
    registry.tags(version)  # a version that does not exist is an error here, before anything changes
    registry.promote(version, _actor(), reason, {})
    _see_it_served(f"Version {version} is the champion.")


def abort(reason: Reason) -> None:
    """End the shadow or the canary: the champion answers alone."""
    registry = _registry()
    tried = registry.release().tried
    if tried is None:
        raise RegistryError("nothing to abort: no version is in shadow or canary")
    registry.keep_out(tried, _actor(), reason, {})
    _see_it_served(f"Version {tried} is kept out.")


def rollback(reason: Reason) -> None:
    """Make the champion before this one the champion again."""
    from pipeline.deploy import deploy

    started = time.monotonic()
    version = _registry().rollback(_actor(), reason, {})
    deploy()
    out.print(f"Rolled back in {time.monotonic() - started:.1f} s: version {version} is the champion.")


def status() -> None:
    """What each server really serves, by its own account."""
    from core.config import settings
    from pipeline.deploy import kubernetes_target
    from pipeline.deploy.local import LocalTarget

    given = settings()
    if given.target != "kubernetes":
        served = LocalTarget(given.serving_url).status()
        out.print(f"{given.serving_url}: {_in_words(served) if served else 'nothing answers'}")
        return
    table = Table("pod", "deployment", "to serve", "serves", "shadow", "ready", "why", box=None, pad_edge=False)
    for pod in kubernetes_target(given).pods():
        share = f" ({pod.percent:g} %)" if pod.percent else ""
        told = (pod.version or "the champion", f"{pod.serves or ''}{share}", pod.shadow or "", _yes_no(pod.ready))
        table.add_row(pod.name, pod.deployment, *told, pod.why)
    out.print(table if table.row_count else "There are no pods.")


def history() -> None:
    """Every promotion, shadow, canary, refusal and roll-back: who or what, when, why."""
    table = Table("when", "what", "version", "before", "by", "why", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for event in _registry().history():
        when = datetime.fromtimestamp(event.at).strftime("%Y-%m-%d %H:%M")
        what = event.action if event.finished else f"{event.action} (unfinished)"
        table.add_row(when, what, event.version, event.before or "", event.actor.partition("__")[0], event.reason)
    out.print(table if table.row_count else "Nothing was released yet.")


for command in (shadow, canary, watch, promote, abort, rollback, status, history):
    app.command()(command)


def _registry() -> "Registry":
    from core.config import settings
    from core.registry import Registry
    from problems import load

    return Registry(settings().mlflow_url, load().spec.name)


def _check_challenger(registry: "Registry", version: str) -> None:
    """Raises RegistryError for a version that does not exist, or has nothing to be compared with."""
    registry.tags(version)
    champion = registry.release().champion
    if champion is None:
        raise RegistryError(f"there is no champion to try version {version} beside; `loop release promote` makes one")
    if champion == version:
        raise RegistryError(f"version {version} is the champion already")


def _in_words(served: "Release") -> str:
    canary = f", canary {served.canary} for {served.percent:g} % of the entities" if served.canary else ""
    shadow = f", version {served.in_shadow} in shadow" if served.in_shadow else ""
    return f"champion {served.champion or 'none'}{canary}{shadow}"


def _yes_no(fact: bool) -> str:
    return "yes" if fact else "no"


def _actor() -> str:
    return f"user {getpass.getuser()}"


def _see_it_served(message: str) -> None:
    from pipeline.deploy import deploy

    deploy()
    out.print(message)
