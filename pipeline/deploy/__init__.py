"""Deploy targets: make what the registry says true somewhere, and wait until it is."""

from typing import TYPE_CHECKING

from core.config import Settings, settings
from core.errors import ConfigError, DeployError
from core.releases import Release, ReleaseReader
from pipeline.deploy.local import LocalTarget
from pipeline.deploy.target import Target
from problems import load

if TYPE_CHECKING:
    from pipeline.deploy.kubernetes import KubernetesTarget


def deploy() -> str | None:
    """See every target serve what the registry says. Returns the champion. Needs no MLflow client."""
    given = settings()
    reader = ReleaseReader(given.mlflow_url, load().spec.name)
    release = reader.release()
    if given.target == "kubernetes":
        _roll_out(given, release)
    else:
        LocalTarget(given.serving_url).apply(release)
    if given.target == "docker" and release.champion:
        image_target(given, reader, release.champion).apply(Release(release.champion, None))
    return release.champion


def _roll_out(given: Settings, release: Release) -> None:
    """On Kubernetes. Pods are pinned: when they go back to what they had, the registry still names the other one."""
    from pipeline.deploy.kubernetes_rollout import Superseded

    if release.champion is None:
        return  # pods without a pin follow the registry, which has nothing for them
    try:
        kubernetes_target(given).apply(release)
    except Superseded:
        raise
    except DeployError as error:
        raise DeployError(
            f"{error}. The registry goes on naming it: mend the cause, and the next deployment tries again, or take it "
            "back by `loop release abort` or `loop rollback`"
        ) from error


def kubernetes_target(given: Settings) -> "KubernetesTarget":
    """Of the cluster that this process runs in, or that kubectl talks to."""
    from pipeline.deploy.kubernetes import KubernetesTarget
    from pipeline.deploy.kubernetes_api import Cluster

    return KubernetesTarget(Cluster.found(given.serving_key))


def image_target(given: Settings, reader: ReleaseReader, version: str) -> Target:
    """The docker target, with the image of this version made."""
    from core.keys import Keys
    from pipeline.deploy.docker import DockerTarget
    from pipeline.engine import Engine
    from pipeline.image import Baker
    from pipeline.stack import credentials

    engine = Engine()
    baker = Baker(engine, reader, repository(given))
    baker.build(version)
    key = given.serving_key or credentials.serving_key(given.home)
    if not key:
        raise ConfigError("the docker target needs LOOP_SERVING_KEY, the key by which its server is asked")
    keys = Keys().admitted(credentials.STACK, key).model_dump_json().encode()
    places = {"LOOP_DATABASE_URL": given.database_url} if given.database_url.startswith("postgresql") else {}
    name = f"{repository(given).replace('/', '-').replace(':', '-')}-champion"
    return DockerTarget(engine, name, baker.name, given.image_port, keys, places)


def repository(given: Settings) -> str:
    return given.image or f"closed-loop/{load().spec.name}"
