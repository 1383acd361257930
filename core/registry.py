"""The only MLflow import: runs, registered versions, the aliases that say what is released, and the audit trail.

Every change of what is released goes through here and leaves one event: who or what, why, on which evidence. An
event is an MLflow run of the experiment PROBLEM-releases; it is opened before the change and finished after it.
Reading what is released needs no MLflow client (core.releases).
"""

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from core.errors import RegistryError
from core.releases import BUNDLE, CHALLENGER, CHAMPION, DIGEST_TAG, PERCENT_TAG, SHADOW_TAG, Release, named
from core.runtime import digest

LIFECYCLE_TAG, CANDIDATE_TAG, DAY_TAG = "loop.lifecycle", "loop.candidate", "loop.day"
REPLACED_TAG = "replaced"
COMPARISON, VERDICT = "comparison.json", "verdict.json"  # of a life cycle's run
PARENT_TAG = "mlflow.parentRunId"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """One change of what is released."""

    action: str
    version: str
    before: str | None
    actor: str
    reason: str
    at: float  # seconds since 1970, UTC
    finished: bool
    evidence: dict[str, Any]


@dataclass(frozen=True)
class Lifecycle:
    """What a life cycle left behind. `comparison` and `verdict` are empty when it did not come that far."""

    run: str
    at: float  # when its results were registered: seconds since 1970, UTC
    tags: dict[str, str]
    comparison: dict[str, Any]
    verdict: dict[str, Any]


class Registry:
    """One problem's experiments and registered model. Every write is idempotent: a retried task changes nothing."""

    def __init__(self, url: str, problem: str) -> None:
        self.problem = problem
        self._client = MlflowClient(tracking_uri=url, registry_uri=url)

    # runs ---------------------------------------------------------------------------------------------------------

    def lifecycle_run(self, lifecycle: str, tags: Mapping[str, str]) -> str:
        """The run of a life cycle: the one that exists, or a new one. Returns its id."""
        return self._run(lifecycle, {LIFECYCLE_TAG: lifecycle, CANDIDATE_TAG: "(all)"}, tags)

    def candidate_run(self, lifecycle: str, parent: str, candidate: str) -> str:
        """The run of one candidate under its life cycle's run."""
        return self._run(candidate, {LIFECYCLE_TAG: lifecycle, CANDIDATE_TAG: candidate}, {PARENT_TAG: parent})

    def record(
        self, run: str, params: Mapping[str, Any], metrics: Mapping[str, float], tags: Mapping[str, str]
    ) -> None:
        """Write parameters, metrics and tags in one call and finish the run. Repeating it with the same is fine."""
        self._client.log_batch(
            run,
            [Metric(name, value, 0, 0) for name, value in metrics.items()],
            [Param(name, str(value)) for name, value in params.items()],
            [RunTag(name, value) for name, value in tags.items()],
        )
        self._client.set_terminated(run)

    def attach(self, run: str, name: str, content: Any) -> None:
        """Keep a text (a string) or a JSON document (anything else) with a run."""
        if isinstance(content, str):
            self._client.log_text(run, content, name)
        else:
            self._client.log_dict(run, content, name)

    def lifecycles(self) -> list[Lifecycle]:
        """Every life cycle that came as far as registering something, oldest first."""
        found = self._client.get_experiment_by_name(self.problem)
        if found is None:
            return []
        condition = f"tags.`{CANDIDATE_TAG}` = '(all)'"
        order = ["attributes.start_time"]
        runs = self._client.search_runs([found.experiment_id], condition, max_results=1000, order_by=order)
        return [self._as_lifecycle(run) for run in runs]

    def keep_report(self, day: str, files: Sequence[Path], tags: Mapping[str, str]) -> str:
        """Keep a day's monitoring report in the day's run of PROBLEM-monitoring. Returns where its first file lies."""
        run = self._run(day, {DAY_TAG: day}, {}, self._monitoring)
        for path in files:
            self._client.log_artifact(run, str(path))
        self.record(run, {}, {}, tags)
        return f"runs:/{run}/{files[0].name}"

    # versions -----------------------------------------------------------------------------------------------------

    def register(self, run: str, bundle: Path, tags: Mapping[str, str]) -> str:
        """Register a bundle as a version and return its number; a bundle that is registered already keeps its own."""
        fingerprint = digest(bundle)
        self._make_model()
        known = self._client.search_model_versions(f"name = '{self.problem}'")
        for version in known:
            if version.tags.get(DIGEST_TAG) == fingerprint:
                return str(version.version)
        for version in known:
            if version.run_id == run:  # its files would be overwritten
                raise RegistryError(f"run {run} holds version {version.version} already; start a new life cycle")
        self._client.log_artifacts(run, str(bundle), BUNDLE)
        source = f"{self._client.get_run(run).info.artifact_uri}/{BUNDLE}"
        made = self._client.create_model_version(self.problem, source, run, tags={DIGEST_TAG: fingerprint, **tags})
        return str(made.version)

    def tag(self, version: str, tags: Mapping[str, str]) -> None:
        for name, value in tags.items():
            self._client.set_model_version_tag(self.problem, version, name, value)

    def tags(self, version: str) -> dict[str, str]:
        return dict(self._version(version).tags)

    def run_of(self, version: str) -> str:
        return str(self._version(version).run_id)

    def download(self, version: str, path: str, folder: Path) -> Path:
        """Fetch a file or folder of the version's run into `folder`; return where it lies."""
        return Path(self._client.download_artifacts(self.run_of(version), path, str(folder)))

    # what is released ---------------------------------------------------------------------------------------------

    def release(self) -> Release:
        try:
            found = self._client.get_registered_model(self.problem)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return Release(None, None)
            raise
        return named(found.aliases, found.tags)

    def challenge(self, version: str) -> None:
        """Name a version the challenger. No traffic reaches it yet; another's shadow or canary ends here."""
        self._make_way(version)
        if self.release().champion != version:
            self._client.set_registered_model_alias(self.problem, CHALLENGER, version)

    def start_shadow(self, version: str, actor: str, reason: str, evidence: dict[str, Any]) -> None:
        """Let the challenger be scored on what the champion answers."""
        if self.release() == Release(self.release().champion, version, 0.0, shadow=True):
            return
        self._make_way(version)
        with self._event("shadow", version, actor, reason, evidence):
            self._share(0.0)
            self._client.set_registered_model_alias(self.problem, CHALLENGER, version)
            self._shadow(True)

    def start_canary(self, version: str, percent: float, actor: str, reason: str, evidence: dict[str, Any]) -> None:
        """Let the challenger answer `percent` of the entities; its shadow ends with it."""
        if self.release() == Release(self.release().champion, version, percent):
            return
        self._make_way(version)
        with self._event("canary", version, actor, reason, evidence):
            self._client.set_registered_model_alias(self.problem, CHALLENGER, version)
            self._share(percent)
            self._shadow(False)

    def promote(self, version: str, actor: str, reason: str, evidence: dict[str, Any]) -> None:
        """Make a version the champion; a shadow or canary ends with it."""
        if self.release().champion == version:
            return
        self._make_way(version)
        with self._event("promote", version, actor, reason, evidence):
            self.tag(version, {REPLACED_TAG: self.release().champion or ""})
            self._end_trial()
            self._client.set_registered_model_alias(self.problem, CHAMPION, version)  # last: a retry starts anew

    def keep_out(self, version: str, actor: str, reason: str, evidence: dict[str, Any]) -> None:
        """Refuse a challenger, or abort its shadow or canary: the champion stays."""
        if self.release().challenger != version:
            return
        with self._event("keep out", version, actor, reason, evidence):
            self._end_trial()

    def rollback(self, actor: str, reason: str, evidence: dict[str, Any], bad: str | None = None) -> str:
        """Make the champion before this one the champion again; return its version.

        With `bad`, only while that version is champion: a retry does not roll back twice.
        """
        champion = self.release().champion
        if champion is not None and bad not in (None, champion):
            return champion
        before = self.previous_champion()
        if before is None:
            raise RegistryError(f"{self.problem} has no earlier champion to roll back to; see `loop history`")
        self._make_way(before)
        with self._event("roll back", before, actor, reason, evidence):
            self._end_trial()
            self._client.set_registered_model_alias(self.problem, CHAMPION, before)
        return before

    def previous_champion(self) -> str | None:
        """The version that the present champion replaced."""
        champion = self.release().champion
        return (self.tags(champion).get(REPLACED_TAG) or None) if champion else None

    def history(self) -> list[Event]:
        """Every event, oldest first: the last thousand."""
        return self._events("")

    def history_of(self, version: str) -> list[Event]:
        """The same for one version."""
        return self._events(f"tags.version = '{version}'")

    # inside -------------------------------------------------------------------------------------------------------

    @property
    def _releases(self) -> str:
        return f"{self.problem}-releases"

    @property
    def _monitoring(self) -> str:
        return f"{self.problem}-monitoring"

    @contextmanager
    def _event(self, action: str, version: str, actor: str, reason: str, evidence: dict[str, Any]) -> Iterator[None]:
        before = self.release().champion
        tags = {"action": action, "version": version, "before": before or "", "actor": actor, "reason": reason}
        experiment = self._experiment(self._releases)
        tags |= {"evidence": json.dumps(evidence)}
        run = self._client.create_run(experiment, tags=tags, run_name=f"{action} {version}")
        yield
        self._client.set_terminated(run.info.run_id)
        log.info("%s version %s (was %s) by %s: %s", action, version, before, actor, reason)

    def _events(self, condition: str) -> list[Event]:
        found = self._client.get_experiment_by_name(self._releases)
        if found is None:
            return []
        newest_first = ["attributes.start_time DESC"]
        runs = self._client.search_runs([found.experiment_id], condition, max_results=1000, order_by=newest_first)
        return [_as_event(run) for run in reversed(runs)]

    def _make_way(self, version: str) -> None:
        """End another version's shadow or canary, which is an event of its own."""
        tried = self.release().tried
        if tried is not None and tried != version:
            self.keep_out(tried, "registry", f"version {version} came before its trial had ended", {})

    def _end_trial(self) -> None:
        self._share(0.0)
        self._shadow(False)
        self._client.delete_registered_model_alias(self.problem, CHALLENGER)

    def _share(self, percent: float) -> None:
        self._client.set_registered_model_tag(self.problem, PERCENT_TAG, str(percent))

    def _shadow(self, on: bool) -> None:
        self._client.set_registered_model_tag(self.problem, SHADOW_TAG, str(on).lower())

    def _run(self, name: str, key: dict[str, str], tags: Mapping[str, str], experiment: str | None = None) -> str:
        """The run whose tags are `key`; made with the further tags when there is none."""
        experiment = self._experiment(experiment or self.problem)
        condition = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in key.items())
        found = self._client.search_runs([experiment], condition, max_results=1)
        if found:
            return str(found[0].info.run_id)
        return str(self._client.create_run(experiment, tags={**key, **tags}, run_name=name).info.run_id)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(name))
        except MlflowException as error:  # made by another task a moment ago
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return self._experiment(name)

    def _as_lifecycle(self, run: Any) -> Lifecycle:
        kept = {file.path for file in self._client.list_artifacts(run.info.run_id)}
        found = {name: self._read(run.info.run_id, name) if name in kept else {} for name in (COMPARISON, VERDICT)}
        tags = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
        return Lifecycle(run.info.run_id, run.info.start_time / 1000, tags, found[COMPARISON], found[VERDICT])

    def _read(self, run: str, name: str) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            return dict(json.loads(Path(self._client.download_artifacts(run, name, folder)).read_text()))

    def _make_model(self) -> None:
        try:
            self._client.create_registered_model(self.problem)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _version(self, version: str) -> Any:
        try:
            return self._client.get_model_version(self.problem, version)
        except MlflowException as error:
            raise RegistryError(f"{self.problem} has no version {version}: {error.message}") from error


def _as_event(run: Any) -> Event:
    tags = run.data.tags
    return Event(
        action=tags["action"],
        version=tags["version"],
        before=tags["before"] or None,
        actor=tags["actor"],
        reason=tags["reason"],
        at=run.info.start_time / 1000,
        finished=run.info.status == "FINISHED",
        evidence=json.loads(tags["evidence"]),
    )
