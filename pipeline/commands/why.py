"""Why was this answered? One prediction, explained from its id, and computed once more."""

import json
from typing import Annotated

import typer

from pipeline.commands.console import out


def why(
    id: Annotated[str, typer.Argument(metavar="PREDICTION_ID", help="As the answer gave it: its prediction_id.")],
    replay: Annotated[bool, typer.Option("--replay", help="Compute it again from the original model, and compare.")] = (
        False
    ),
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """From one prediction's id: what was asked, what the model saw, where the model is from, and what was known."""
    from dataclasses import asdict

    from core.config import settings
    from core.database import connect
    from core.releases import ReleaseReader
    from pipeline.why import gather, recompute, show
    from problems import load

    given, problem = settings(), load()
    engine, reader = connect(given.store_url), ReleaseReader(given.mlflow_url, problem.spec.name)
    spool = given.home / "serving" / problem.spec.name / "spool"
    found = gather.why(engine, reader, problem.spec, spool, id)
    again = recompute.replay(engine, reader, problem, found.prediction) if replay else None
    if as_json:
        whole = asdict(found) | ({"replay": asdict(again) | {"equal": again.equal}} if again else {})
        typer.echo(json.dumps(whole, indent=1, default=str))
    else:
        out.print(show.page(found, problem.spec))
        if again:
            out.print()
            out.print(show.verdict(again))
    if again and not again.equal:
        raise typer.Exit(1)
