"""API keys of the model server. A running server takes a change within a second or two."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.table import Table

from pipeline.commands.console import out

app = typer.Typer(no_args_is_help=True, help="API keys of the model server: who may ask, and who may look into it.")
Name = Annotated[str, typer.Argument(help="Who uses the key.")]
Scopes = Annotated[
    list[str], typer.Option("--scope", help="predict, or operate: /release, /metrics, /docs. Repeat it.")
]
Days = Annotated[float | None, typer.Option("--expires", min=0, help="Days that the key is valid. Default: for good.")]
SHOWN_ONCE = "This is the only time that it is shown; the file has its hash. Send it as `Authorization: Bearer KEY`."


@app.command()
def add(name: Name, scope: Scopes, expires: Days = None) -> None:
    """Make a key and show it, once. The first one closes the server to all who have none."""
    from core import keys
    from core.config import settings
    from pipeline.stack import credentials

    given, key = settings(), keys.new_key()
    own = credentials.serving_key(given.home)

    def edit(found: keys.Keys) -> keys.Keys:
        more = found.added(name, key, scope, _days(expires))
        return more.admitted(credentials.STACK, own) if own else more

    keys.change(given.keys_path, edit)
    _show(key)


@app.command("list")
def list_() -> None:
    """Who has a key, for what, and until when."""
    from core import keys
    from core.config import settings

    path, now = settings().keys_path, datetime.now(UTC)
    table = Table("name", "scopes", "made", "expires", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    found = keys.read(path)
    for key in found.keys if found else ():
        until = f"{key.expires:%Y-%m-%d %H:%M}" if key.expires else "never"
        table.add_row(
            key.name, ", ".join(key.scopes), f"{key.created:%Y-%m-%d}", until if key.is_valid(now) else "has expired"
        )
    out.print(table if table.row_count else f"No key is in {path}.", soft_wrap=True)


@app.command()
def revoke(name: Name) -> None:
    """Make a key invalid at once."""
    from core import keys
    from core.config import settings

    keys.change(settings().keys_path, lambda found: found.without(name))
    out.print(f"No key of {name} is valid any more.")


@app.command()
def rotate(
    name: Name,
    overlap: Annotated[float, typer.Option(min=0, help="Hours that the old key stays valid.")] = 24,
    expires: Days = None,
) -> None:
    """Make a new key in the place of an old one, which stays valid for a while."""
    from core import keys
    from core.config import settings

    key = keys.new_key()
    keys.change(settings().keys_path, lambda found: found.rotated(name, key, timedelta(hours=overlap), _days(expires)))
    _show(key)
    out.print(f"The old one is valid for {overlap:g} more hours.")


def _days(days: float | None) -> timedelta | None:
    return None if days is None else timedelta(days=days)


def _show(key: str) -> None:
    out.print(key, style="bold", soft_wrap=True)
    out.print(SHOWN_ONCE, soft_wrap=True)
