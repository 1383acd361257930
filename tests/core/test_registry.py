"""The registry on a real MLflow server: what is released, who changed it, and that a repeated call changes nothing."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from core.errors import ModelRefused, RegistryError, RegistryUnavailable
from core.registry import Registry
from core.releases import BUNDLE, Release, ReleaseReader
from core.runtime import MODEL, digest
from tests.serving.models import bundle
from tests.toy import spec

NAMES = (f"toy-{number}" for number in itertools.count())
PROBABILITIES = iter(np.linspace(0.01, 0.99, 200).tolist())


class Loop:
    """A problem's registry and its reader, with versions made on demand."""

    def __init__(self, url: str, folder: Path) -> None:
        name = next(NAMES)
        self.registry, self.reader, self.folder = Registry(url, name), ReleaseReader(url, name), folder

    def bundle(self, name: str = "") -> Path:
        """A new model, in a folder of its own."""
        probability = next(PROBABILITIES)
        return bundle(spec(), self.folder / (name or f"{probability:.4f}"), probability)

    def version(self, folder: Path | None = None) -> str:
        """Register a model in a life cycle of its own."""
        folder = folder or self.bundle()
        run = self.registry.lifecycle_run(f"lifecycle of {folder.name}", {})
        return self.registry.register(run, folder, {"as_of": "2013-04-01"})

    def champion(self) -> str:
        version = self.version()
        self.registry.promote(version, "test", "it is the first", {})
        return version

    def actions(self) -> list[tuple[str, str, str | None]]:
        return [(event.action, event.version, event.before) for event in self.registry.history()]

    def release(self) -> Release:
        """As the writer and the reader see it: they must agree."""
        found = self.registry.release()
        assert self.reader.release() == found
        return found


@pytest.fixture
def loop(mlflow_url: str, tmp_path: Path) -> Loop:
    return Loop(mlflow_url, tmp_path)


# registration ---------------------------------------------------------------------------------------------------------


def test_before_anything_is_registered_nothing_is_released(loop: Loop) -> None:
    assert loop.release() == Release(None, None)
    assert loop.registry.history() == []
    assert loop.registry.lifecycles() == []


def test_the_same_model_registered_again_keeps_its_version(loop: Loop) -> None:
    folder = loop.bundle()
    assert loop.version(folder) == loop.version(folder) == "1"
    other_run = loop.registry.lifecycle_run("a later life cycle", {})
    assert loop.registry.register(other_run, folder, {}) == "1"
    assert loop.version() == "2"


def test_a_run_that_holds_a_version_takes_no_second_one(loop: Loop) -> None:
    run = loop.registry.lifecycle_run("once", {})
    first = loop.registry.register(run, loop.bundle(), {})
    with pytest.raises(RegistryError, match="holds version 1 already; start a new life cycle"):
        loop.registry.register(run, loop.bundle(), {})
    loop.reader.fetch(first, loop.folder / "fetched")  # its files are what they were


def test_a_life_cycle_has_one_run_and_each_candidate_one_below_it(loop: Loop) -> None:
    registry = loop.registry
    parent = registry.lifecycle_run("manual__2013-04-01T00:00:00+00:00", {"as_of": "2013-04-01"})
    assert registry.lifecycle_run("manual__2013-04-01T00:00:00+00:00", {}) == parent
    runs = {name: registry.candidate_run("manual__2013-04-01T00:00:00+00:00", parent, name) for name in ("a", "b")}
    assert runs["a"] != runs["b"]
    assert registry.candidate_run("manual__2013-04-01T00:00:00+00:00", parent, "a") == runs["a"]
    for _ in range(2):
        registry.record(runs["a"], {"C": 0.1}, {"log_loss": 0.5, "slice/kind/red/roc_auc": 0.7}, {"refused": ""})
    found = registry._client.get_run(runs["a"])
    assert found.data.metrics == {"log_loss": 0.5, "slice/kind/red/roc_auc": 0.7}
    assert found.data.params == {"C": "0.1"}
    assert found.data.tags["mlflow.parentRunId"] == parent


def test_what_a_life_cycle_left_behind_can_be_listed(loop: Loop) -> None:
    registry = loop.registry
    run = registry.lifecycle_run("first", {"as_of": "2013-04-01"})
    registry.candidate_run("first", run, "hgb")
    registry.attach(run, "comparison.json", {"winner": "hgb"})
    unfinished = registry.lifecycle_run("second", {"as_of": "2013-04-02"})
    found = registry.lifecycles()
    assert [(one.run, one.comparison, one.verdict) for one in found] == [
        (run, {"winner": "hgb"}, {}),
        (unfinished, {}, {}),
    ]
    assert found[0].tags["as_of"] == "2013-04-01"


def test_a_version_that_does_not_exist_is_an_error_that_says_so(loop: Loop) -> None:
    loop.version()
    with pytest.raises(RegistryError, match="has no version 7"):
        loop.registry.tags("7")


# release --------------------------------------------------------------------------------------------------------------


def test_a_promotion_moves_the_alias_and_keeps_its_evidence(loop: Loop) -> None:
    first, second = loop.champion(), loop.version()
    loop.registry.promote(second, "lifecycle x", "better by 0.01", {"t": -2.5, "days": 7})
    assert loop.release() == Release(second, None)
    event = loop.registry.history()[-1]
    assert (event.action, event.version, event.before) == ("promote", second, first)
    assert (event.actor, event.reason, event.evidence) == ("lifecycle x", "better by 0.01", {"t": -2.5, "days": 7})
    assert event.finished


def test_a_repeated_promotion_leaves_one_event(loop: Loop) -> None:
    version = loop.champion()
    for _ in range(2):
        loop.registry.promote(version, "a retry", "again", {})
    assert loop.actions() == [("promote", version, None)]


def test_a_promotion_killed_in_the_middle_is_completed_by_its_retry(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is killed: the release is the wanted one, and it can be rolled back to the one before."""
    first, registry = loop.champion(), loop.registry
    for method in ("set_model_version_tag", "delete_registered_model_alias", "set_registered_model_alias"):
        second = loop.version()
        registry.start_canary(second, 10, "test", "gate", {})
        with monkeypatch.context() as patched:

            def killed(*_: object, **__: object) -> None:
                raise KeyboardInterrupt

            patched.setattr(registry._client, method, killed)
            with pytest.raises(KeyboardInterrupt):
                registry.promote(second, "test", "killed", {})
        registry.promote(second, "test", "retry", {})
        assert loop.release() == Release(second, None)
        assert registry.previous_champion() == first
        assert [event.finished for event in registry.history()[-2:]] == [False, True]
        first = second


def test_a_canary_answers_its_percent_and_promotion_ends_it(loop: Loop) -> None:
    first, second = loop.champion(), loop.version()
    loop.registry.challenge(second)
    assert loop.release() == Release(first, second, 0.0)
    assert loop.release().canary is None
    for _ in range(2):
        loop.registry.start_canary(second, 10, "test", "gate", {"t": 0.1})
    assert loop.release() == Release(first, second, 10.0)
    assert loop.release().canary == second
    loop.registry.promote(second, "test", "good", {})
    assert loop.release() == Release(second, None, 0.0)
    assert [action for action, *_ in loop.actions()] == ["promote", "canary", "promote"]


def test_a_shadow_answers_nobody_and_its_canary_ends_it(loop: Loop) -> None:
    first, second = loop.champion(), loop.version()
    for _ in range(2):
        loop.registry.start_shadow(second, "test", "gate", {"t": 0.1})
    assert loop.release() == Release(first, second, 0.0, shadow=True)
    assert (loop.release().in_shadow, loop.release().canary) == (second, None)
    loop.registry.start_canary(second, 10, "test", "it held in shadow", {})
    assert loop.release() == Release(first, second, 10.0)
    assert loop.release().in_shadow is None
    loop.registry.start_shadow(second, "test", "once more", {})
    assert loop.release() == Release(first, second, 0.0, shadow=True)
    loop.registry.promote(second, "test", "good", {})
    assert loop.release() == Release(second, None)
    assert [action for action, *_ in loop.actions()] == ["promote", "shadow", "canary", "shadow", "promote"]


@pytest.mark.parametrize("end", ["keep out", "roll back"])
def test_a_shadow_that_is_ended_leaves_nothing_behind(loop: Loop, end: str) -> None:
    first, second, third = loop.champion(), loop.champion(), loop.version()
    loop.registry.start_shadow(third, "test", "gate", {})
    if end == "keep out":
        loop.registry.keep_out(third, "test", "errors", {})
    else:
        loop.registry.rollback("user", "it is wrong", {})
    assert loop.release() == Release(second if end == "keep out" else first, None)
    loop.registry.challenge(third)
    assert loop.release() == Release(second if end == "keep out" else first, third)
    assert loop.registry.history_of(third)[-1].action == "keep out"


@pytest.mark.parametrize("change", ["challenge", "shadow", "canary", "promote", "roll back"])
def test_whatever_replaces_a_trial_leaves_an_event_for_it(loop: Loop, change: str) -> None:
    third, fourth = [loop.champion(), loop.champion(), loop.version(), loop.version()][2:]
    loop.registry.start_canary(third, 10, "test", "gate", {})
    {
        "challenge": lambda: loop.registry.challenge(fourth),
        "shadow": lambda: loop.registry.start_shadow(fourth, "user", "?", {}),
        "canary": lambda: loop.registry.start_canary(fourth, 5, "user", "?", {}),
        "promote": lambda: loop.registry.promote(fourth, "user", "?", {}),
        "roll back": lambda: loop.registry.rollback("user", "?", {}),
    }[change]()
    assert [event.action for event in loop.registry.history_of(third)] == ["canary", "keep out"]
    assert loop.release().tried == (fourth if change in ("shadow", "canary") else None)
    assert loop.release().percent == (5 if change == "canary" else 0)


def test_a_canary_killed_on_its_way_out_of_the_shadow_is_completed_by_its_retry(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is killed, the challenger is in one of the two."""
    first, second, registry = loop.champion(), loop.version(), loop.registry
    real = registry._client.set_registered_model_tag
    for killed_at in ("canary_percent", "shadow"):
        registry.start_shadow(second, "test", "gate", {})

        def fragile(name: str, tag: str, value: str, killed_at: str = killed_at) -> None:
            if tag == killed_at:
                raise KeyboardInterrupt
            real(name, tag, value)

        with monkeypatch.context() as patched:
            patched.setattr(registry._client, "set_registered_model_tag", fragile)
            with pytest.raises(KeyboardInterrupt):
                registry.start_canary(second, 10, "test", "killed", {})
        assert loop.release().tried == second
        registry.start_canary(second, 10, "test", "retry", {})
        assert loop.release() == Release(first, second, 10.0)


def test_a_canary_kept_out_leaves_the_champion_alone(loop: Loop) -> None:
    first, second = loop.champion(), loop.version()
    loop.registry.start_canary(second, 10, "test", "gate", {})
    for _ in range(2):
        loop.registry.keep_out(second, "test", "errors", {"errors": 9})
    assert loop.release() == Release(first, None, 0.0)
    assert loop.actions()[-1] == ("keep out", second, first)
    assert len(loop.actions()) == 3


def test_a_new_challenger_does_not_inherit_a_running_canary(loop: Loop) -> None:
    """A life cycle that died during its canary must not let the next one's model answer before its gate."""
    first, second, third = loop.champion(), loop.version(), loop.version()
    loop.registry.start_canary(second, 10, "test", "gate", {})
    loop.registry.challenge(third)
    assert loop.release() == Release(first, third, 0.0)
    assert loop.actions()[-1] == ("keep out", second, first)


def test_the_champion_is_not_its_own_challenger(loop: Loop) -> None:
    first = loop.champion()
    loop.registry.challenge(first)
    assert loop.release() == Release(first, None)


def test_a_roll_back_goes_to_the_champion_before_and_a_second_one_further(loop: Loop) -> None:
    first, second, third = loop.champion(), loop.champion(), loop.champion()
    assert loop.registry.rollback("user", "it is wrong", {"loss": 0.9}) == second
    assert loop.registry.rollback("user", "that one too", {}) == first
    assert loop.release() == Release(first, None)
    assert loop.actions()[-2:] == [("roll back", second, third), ("roll back", first, second)]
    with pytest.raises(RegistryError, match="no earlier champion"):
        loop.registry.rollback("user", "once more", {})


def test_a_retried_roll_back_of_a_bad_version_rolls_back_once(loop: Loop) -> None:
    _, second, third = loop.champion(), loop.champion(), loop.champion()
    for _ in range(2):
        assert loop.registry.rollback("monitor", "worse than the baseline", {}, bad=third) == second
    assert loop.release() == Release(second, None)


def test_a_roll_back_ends_a_canary(loop: Loop) -> None:
    first, _, third = loop.champion(), loop.champion(), loop.version()
    loop.registry.start_canary(third, 10, "test", "gate", {})
    loop.registry.rollback("user", "it is wrong", {})
    assert loop.release() == Release(first, None, 0.0)


# reading --------------------------------------------------------------------------------------------------------------


def test_the_reader_fetches_what_was_registered(loop: Loop) -> None:
    folder = loop.bundle()
    version = loop.version(folder)
    fetched = loop.reader.fetch(version, loop.folder / "cache")
    assert (fetched / MODEL).read_bytes() == (folder / MODEL).read_bytes()
    assert not list(fetched.glob("*.part"))


def test_files_that_were_changed_here_are_fetched_anew(loop: Loop) -> None:
    version = loop.version()
    fetched = loop.reader.fetch(version, loop.folder / "cache")
    whole = digest(fetched)
    (fetched / MODEL).write_bytes(b"something else")
    assert digest(loop.reader.fetch(version, loop.folder / "cache")) == whole


def test_artifacts_changed_behind_the_registry_are_refused(loop: Loop) -> None:
    version = loop.version()
    forged = loop.bundle("forged")
    loop.registry._client.log_artifacts(loop.registry.run_of(version), str(forged), BUNDLE)
    with pytest.raises(ModelRefused, match="do not match the digest"):
        loop.reader.fetch(version, loop.folder / "cache")


def test_a_version_or_file_that_is_not_there_is_refused(loop: Loop) -> None:
    version = loop.version()
    with pytest.raises(ModelRefused, match="no such version"):
        loop.reader.fetch("99", loop.folder / "cache")
    with pytest.raises(ModelRefused, match="has no file"):
        loop.reader.fetch(version, loop.folder / "cache", ("dvc.lock",))


def test_a_registry_that_is_down_is_unavailable_to_the_reader(tmp_path: Path) -> None:
    reader = ReleaseReader("http://127.0.0.1:9", "toy")
    for call in (reader.release, lambda: reader.fetch("1", tmp_path)):
        with pytest.raises(RegistryUnavailable, match="does not answer"):
            call()
