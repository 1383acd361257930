"""Images of single versions: built, tried and named; pushed."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.console import out

if TYPE_CHECKING:
    from pipeline.image import Baker

app = typer.Typer(no_args_is_help=True, help="Images that serve one version and nothing else.")
Version = Annotated[str, typer.Argument(help="Version in the registry; `loop history` lists them.")]
Base = Annotated[str, typer.Option(help="The serving image that the model is put on.")]


@app.command()
def build(version: Version, base: Base = "closed-loop/serving:local") -> None:
    """Bake a version into an image. It gets its name only after it has answered, read-only and without a network."""
    out.print(f"Made {_baker(base).build(version)}", soft_wrap=True)


@app.command()
def push(version: Version) -> None:
    """Push an image that was built, with the login of `docker login`."""
    baker = _baker()
    out.print(f"Pushed {baker.name(version)}: {baker.push(version)}", soft_wrap=True)


def _baker(base: str = "") -> "Baker":
    from core.config import settings
    from core.releases import ReleaseReader
    from pipeline.deploy import repository
    from pipeline.engine import Engine
    from pipeline.image import BASE, Baker
    from problems import load

    given = settings()
    return Baker(Engine(), ReleaseReader(given.mlflow_url, load().spec.name), repository(given), base or BASE)
