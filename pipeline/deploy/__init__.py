"""Deploy targets: make what the registry says true somewhere, and wait until it is."""

from core.config import settings
from core.releases import ReleaseReader
from pipeline.deploy.local import LocalTarget
from problems import load


def deploy() -> str | None:
    """See the target serve exactly what the registry says. Returns the champion. Needs no MLflow client."""
    given = settings()
    release = ReleaseReader(given.mlflow_url, load().spec.name).release()
    LocalTarget(given.serving_url).apply(release)
    return release.champion
