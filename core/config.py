"""Every setting is read here and nowhere else.

Places and secrets come from the environment (`LOOP_*`, or a `.env` file); what a run is about comes from
`params.yaml`. Numbers that belong to a problem stand in its `problem.yaml` (core.schema).
"""

import difflib
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "LOOP_"
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same language, ten times faster where it is built
Model = TypeVar("Model", bound=BaseModel)


class Frozen(BaseModel):
    """Base of every configuration model: immutable, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Settings(BaseSettings):
    """Places. Every default is the laptop's; compose and Kubernetes set the same variables."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    home: Path = Field(Path(".loop/stack"), description="Folder for everything that the local stack writes.")
    problem: str | None = Field(None, description="Problem to work on. Default: the one in params.yaml.")
    data_url: str = Field("", description="Where the problem's data come from. Default: what its data.py says.")
    database_url: str = Field("", description="Predictions, labels, look-ups, catalogue. Default: SQLite in home.")
    mlflow_url: str = Field("http://127.0.0.1:5001", description="MLflow tracking server.")
    dvc_remote: str = Field("", description="DVC remote: a folder, a URL, or mlflow-artifacts:/dvc.")
    serving_url: str = Field("http://127.0.0.1:8000", description="Where the deploy target finds the server.")
    reports: str = Field("", description="Folder of the monitoring reports, or `mlflow`. Default: a folder in home.")
    airflow_port: int | None = Field(None, description="Port of Airflow's API and pages. Default: 8080, or a free one.")
    mlflow_port: int | None = Field(None, description="Port of MLflow. Default: 5001, or a free one.")
    serving_port: int | None = Field(None, description="Port of the model server. Default: 8000, or a free one.")
    nightly_monitor: str = Field("15 4 * * *", description="When the night is judged: cron, the problem's time zone.")
    nightly: str = Field("45 4 * * *", description="When the life cycle runs: likewise; both after the cut-off.")
    first_day: date | None = Field(None, description="Day of the first life cycle, if not today: it starts by itself.")
    revision: str = Field("", description="Code revision to record. Default: what git says of this checkout.")
    target: Literal["server", "docker", "kubernetes"] = Field(
        "server", description="`docker` also swaps a container to the champion's image; `kubernetes` rolls out pods."
    )
    image: str = Field("", description="Repository of images of single versions. Default: closed-loop/PROBLEM.")
    image_port: int = Field(8001, description="Port on which the docker target serves the champion's image.")
    model: str = Field("", description="Folder of one version to serve, in the place of a registry.")
    version: str = Field("", description="Registered version to serve, whichever is champion. Default: the champion.")
    role: Literal["champion", "canary"] = Field("champion", description="As what LOOP_VERSION answers.")
    canary_percent: float = Field(100.0, gt=0, le=100, description="Share of the entities that LOOP_ROLE=canary gets.")
    keys: str = Field("", description="File of the model server's API keys. Default: keys.json in home.")
    serving_key: str = Field("", repr=False, description="API key that our own clients send to the model server.")
    rate_per_s: float = Field(0.0, ge=0, description="Requests a second of one API key, or address. 0: no limit.")
    salt: str = Field("", repr=False, description="Secret that hides sensitive columns in the prediction log.")
    spool_mb: int = Field(512, gt=0, description="How much the server keeps while the store is down, MiB.")
    poll_s: float = Field(1.0, gt=0, description="Seconds between the server's looks at registry and online store.")

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the prediction store."""
        return self.database_url or f"sqlite:///{self.home.resolve() / 'loop.db'}"

    @property
    def remote_url(self) -> str:
        return self.dvc_remote or str(self.home.resolve() / "remote")

    @property
    def keys_path(self) -> Path:
        return Path(self.keys) if self.keys else self.home.resolve() / "keys.json"

    @property
    def reports_dir(self) -> Path | None:
        """None: reports are kept in MLflow."""
        if self.reports == "mlflow":
            return None
        return Path(self.reports) if self.reports else self.home.resolve() / "reports"


class Params(Frozen):
    """What one run is about (params.yaml, a parameter of every DVC stage)."""

    problem: str
    as_of: date = Field(description="The night of this day: only what was known at its cut-off is used.")
    candidates: list[str] = Field(min_length=1, description="Which of the problem's candidates compete.")


def settings() -> Settings:
    """Read the settings afresh. A misspelt `LOOP_` variable is an error, not a default; an empty one is a default."""
    refuse_unknown(environment())
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigError(explain(error, "the environment or .env")) from error


def environment() -> dict[str, str | None]:
    """Every variable of the environment and of the `.env` file, ours and others'."""
    return {**dotenv_values(Settings.model_config.get("env_file")), **os.environ}  # type: ignore[arg-type]


def refuse_unknown(environment: Mapping[str, str | None]) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
            raise ConfigError(f"{name} is not a setting; {hint}")


def params(folder: Path = Path()) -> Params:
    return read_yaml(folder / "params.yaml", Params)


def read_yaml(path: Path, model: type[Model]) -> Model:
    """Read a YAML file into `model`; raise ConfigError that names the key, the value and what was expected."""
    try:
        content: Any = yaml.load(path.read_text(encoding="utf-8"), Loader=YAML_LOADER)
        return model.model_validate(content)
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; run this from the root of the repository") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    except ValidationError as error:
        raise ConfigError(explain(error, str(path))) from error


def explain(error: ValidationError, where: str) -> str:
    """One line a mistake: key, what is wrong, what stood there."""
    lines = [
        f"  {'.'.join(map(str, item['loc'])) or '(whole file)'}: {item['msg']} (got {str(item['input'])[:80]!r})"
        for item in error.errors()
    ]
    return "\n".join([f"{where} has {len(lines)} mistake(s):", *lines])
