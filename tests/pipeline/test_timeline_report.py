"""The timeline and the page, from a small store and a registry written by hand."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from sqlalchemy import Engine

from core import decisions, predictions
from core.database import connect
from core.registry import Event, Lifecycle
from core.releases import Release
from core.schema import Cost, ProblemSpec
from pipeline.report import candidates, page, words
from pipeline.report.svg import ticks
from pipeline.report.timeline import answered_by, table, timeline
from tests import toy

FIRST = date(2013, 4, 1)
LOCK = {
    "refit": {
        "cmd": "python -m pipeline.train --refit",
        "deps": [{"path": "data/features.parquet"}],
        "outs": [{"path": "refit", "md5": "5ec0", "size": 7}],
    },
    "features": {
        "cmd": "python -m pipeline.features",
        "deps": [{"path": "data/raw", "md5": "da7a.dir", "size": 5_400_000, "nfiles": 360}],
        "outs": [{"path": "data/features.parquet", "md5": "fea7", "size": 2_200_000}],
    },
}
FACTS = (
    '{"candidate": "tree", "rows": 77910, "first_day": "2013-01-01", "last_day": "2013-03-31", "options": {"C": 0.1}}'
)


@dataclass
class FakeRegistry:
    """What the page asks of core.registry.Registry."""

    champion: str | None = None
    events: list[Event] = field(default_factory=list)
    cycles: list[Lifecycle] = field(default_factory=list)

    def history(self) -> list[Event]:
        return self.events

    def release(self) -> Release:
        return Release(self.champion, None)

    def lifecycles(self) -> list[Lifecycle]:
        return self.cycles

    def tags(self, version: str) -> dict[str, str]:
        return {"candidate": {"1": "line", "2": "tree"}.get(version, ""), "revision": "c0de", "digest": "d16e57"}

    def run_of(self, version: str) -> str:
        return f"run-{version}"

    def download(self, version: str, path: str, folder: Path) -> Path:
        target = folder / Path(path).name
        target.write_text(FACTS if path.endswith(".json") else yaml.safe_dump({"schema": "2.0", "stages": LOCK}))
        return target


def problem(task: str, **more: Any) -> ProblemSpec:
    return toy.spec(task=task).model_copy(update={"name": "small", "question": "Is a < b & c?", **more})


@pytest.fixture
def spec() -> ProblemSpec:
    return problem("binary")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return connect(f"sqlite:///{tmp_path}/loop.db")


@pytest.fixture
def serve(engine: Engine) -> Callable[..., None]:
    """Store predictions of a day, served at second 100, 200, ... of day 1, 2, ..."""

    def served(
        i: int,
        version: str,
        count: int,
        role: str = "champion",
        after: float = 0,
        error: str | None = None,
        label: str | None = None,
    ) -> None:
        rows = [
            {
                **{"id": f"{i}-{version}-{role}-{n}", "problem": "small", "event_id": f"{i}-{version}-{role}-{n}"},
                **{
                    "entity": "w",
                    "day": FIRST + timedelta(days=i),
                    "event_time": 0,
                    "served_at": 100 * (i + 1) + after,
                },
                **{"model_version": version, "role": role, "score": None if error else 0.25, "error": error},
                **{"label": label, "latency_ms": 0.1, "inputs": {}, "features": {}, "as_of": {}},
            }
            for n in range(count)
        ]
        predictions.add(engine, rows)

    return served


def decide(engine: Engine, i: int, decision: str, champion: str | None = "1", **more: Any) -> None:
    evidence = {"drift_share": 0.25, "loss": 0.512, "loss_low": 0.448, "loss_high": 0.575}
    evidence |= {"residual_mean": -0.0624, "residual_low": -0.1, "residual_high": -0.02, "prediction_psi": 0.07}
    row = {"problem": "small", "as_of": FIRST + timedelta(days=i), "made_at": 1.0, "decision": decision}
    row |= {
        "champion": champion,
        "reasons": ["calibration is off", "it is <old>"],
        "evidence": evidence,
        "report": None,
    }
    decisions.record(engine, row | more)


def lifecycle(version: str, outcome: str, reason: str, trigger: str) -> Lifecycle:
    def measured(loss: float, auc: float) -> dict[str, Any]:
        return {
            "log_loss": {"value": loss, "low": loss - 0.09, "high": loss + 0.09},
            "roc_auc": {"value": auc, "low": None, "high": None},
        }

    comparison = {
        **{"winner": "tree", "reason": "tree has the lowest loss.", "rows": 6434, "days": 7},
        "refused": {"net": "it predicts NaN or infinity on the holdout"},
        "metrics": {"baseline": measured(0.4294, 0.5), "line": measured(0.3899, 0.69), "tree": measured(0.3614, 0.721)},
        **{
            "bytes": {"line": 4223, "tree": 66843},
            "slices": {"origin=EWR": {"rows": 2323, "log_loss": 0.4, "roc_auc": 0.75}},
        },
        "cost": {"tree": {"fit_s": 3.54, "p50_ms": 0.0612, "p99_ms": 0.0813}},
    }
    rules = [
        {"name": "latency", "held": True, "says": "p99 0.081 ms of 5 ms a row"},
        {"name": "champion", "held": outcome == "promote", "says": reason},
    ]
    tags = {"as_of": "2013-04-02", "reason": trigger, "winner": "tree", "data_version": "da7a.dir", "revision": "c0de"}
    verdict = {"version": version, "outcome": outcome, "reason": reason, "rules": rules}
    return Lifecycle(f"run-{version}", 150.0, tags, comparison, verdict)


def event(action: str, version: str, before: str | None, at: float, reason: str = "61 requests, 0 errors") -> Event:
    return Event(action, version, before, "lifecycle <night>", reason, at, True, {"canary": {"requests": 61}})


@pytest.fixture
def replaced(engine: Engine, serve: Callable[..., None], tmp_path: Path) -> FakeRegistry:
    """Day 1 by version 1; day 2 decides to retrain, and version 2 replaces it; on day 3 version 3 is kept out."""
    serve(0, "1", 40)
    serve(1, "1", 10)
    serve(1, "2", 5, "canary", after=10)
    serve(1, "2", 35, after=20)
    serve(2, "2", 30)
    made = tmp_path / "stack" / "reports" / "small 1.html"
    made.parent.mkdir(parents=True)
    made.write_text("evidently")
    decide(engine, 0, "ignore")
    decide(engine, 1, "retrain", report=str(made))
    decide(engine, 2, "ignore", "2", report=str(tmp_path / "gone.html"))
    events = [event("promote", "1", None, 1.0), event("canary", "2", "1", 205.0), event("promote", "2", "1", 215.0)]
    events.append(event("keep out", "3", "2", 290.0))
    cycles = [
        lifecycle("2", "promote", "log_loss -0.0123 against the champion", "monitor: calibration is off; it is old"),
        lifecycle("3", "keep", "log_loss +0.0081 against the champion", "nightly"),
    ]
    return FakeRegistry("2", events, cycles)


def test_a_day_joins_its_traffic_with_the_decision_made_before_it(
    engine: Engine, spec: ProblemSpec, replaced: FakeRegistry
) -> None:
    first, second, third = timeline(engine, spec)
    assert (first.requests, first.champion, first.decision) == (40, "1", "ignore")
    assert (second.requests, second.champions, second.decision, second.judged) == (50, ("1", "2"), "retrain", "1")
    assert (second.challenger, second.challenger_share) == ("2", 0.1)
    assert second.by_version == {"1": 10, "2": 40}
    assert answered_by(second) == "1 → 2 (canary 10 %)"
    assert answered_by(third) == "2"


def test_observed_and_expected_are_of_the_days_known_outcomes(
    engine: Engine, spec: ProblemSpec, serve: Callable[..., None]
) -> None:
    serve(0, "1", 4)
    serve(0, "1", 2, "canary", error="boom")
    known = [(f"0-1-champion-{n}", float(n == 0)) for n in range(2)]
    rows = [{"problem": "small", "event_id": i, "outcome": y, "known_on": FIRST} for i, y in known]
    predictions.add_outcomes(engine, rows)
    (day,) = timeline(engine, spec)
    assert (day.requests, day.failed, day.labelled, day.observed, day.expected) == (6, 2, 2, 0.5, 0.25)


def test_a_day_without_traffic_and_without_a_champion_is_no_day_of_the_loop(engine: Engine, spec: ProblemSpec) -> None:
    decide(engine, 200, "ignore", champion=None)
    assert timeline(engine, spec) == []


def test_the_table_fits_100_columns(engine: Engine, spec: ProblemSpec, replaced: FakeRegistry) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table(timeline(engine, spec), spec))
    text = console.export_text()
    (line,) = [line for line in text.splitlines() if line.startswith("2013-04-02")]
    assert line.split()[:9] == ["2013-04-02", "50", "25", "%", "0.512", "[0.448,", "0.575]", "0.062", "retrain"]
    assert "1 → 2 (canary 10 %)" in line


def test_the_page_tells_what_happened(
    engine: Engine, spec: ProblemSpec, replaced: FakeRegistry, tmp_path: Path
) -> None:
    text = written(tmp_path, engine, replaced, spec, {"duration": "6 min 41 s"})
    assert "Version 2 (tree) replaced version 1 (line) as champion on 2 April 2013." in text
    assert "Its life cycle was started by the monitor: calibration is off." in text
    assert "120 requests from 1 April 2013 to 3 April 2013, 0 failed." in text
    for number in (
        "6 min 41 s",
        "0.361 [0.271, 0.451]",
        "0.081</td>",
        "66.8 kB",
        "3.5 s",
        "0.00085</td>",
        "p99 0.081 ms of 5 ms a row",
    ):
        assert number in text
    assert "it predicts NaN or infinity on the holdout" in text
    assert text.index(">tree <b") < text.index(">line</th>") < text.index(">baseline</th>") < text.index(">net</th>")
    assert text.count("<i>✗</i>") == 1
    assert "kept out" in text


def test_the_page_traces_the_champion(
    engine: Engine, spec: ProblemSpec, replaced: FakeRegistry, tmp_path: Path
) -> None:
    text = written(tmp_path, engine, replaced, spec)
    for part in ("run-2", "da7a.dir", "360 files, 5.4 MB", "c0de", "77,910 rows", "1 January 2013 to 31 March 2013"):
        assert part in text
    assert "loop data restore 2 " in text
    assert text.index("python -m pipeline.features") < text.index("python -m pipeline.train --refit")


def test_the_page_stands_alone_and_its_links_are_relative(
    engine: Engine, spec: ProblemSpec, replaced: FakeRegistry, tmp_path: Path
) -> None:
    text = written(tmp_path, engine, replaced, spec)
    links = re.findall(r'href="([^"#]+)"', text)
    assert links == ["../stack/reports/small%201.html"]
    assert "http" not in text.replace("http-equiv", "")
    assert "<script" not in text
    assert len(text) < 200_000


def test_what_was_recorded_is_escaped(
    engine: Engine, spec: ProblemSpec, replaced: FakeRegistry, tmp_path: Path
) -> None:
    text = written(tmp_path, engine, replaced, spec)
    assert "it is &lt;old&gt;" in text
    assert "lifecycle &lt;night&gt;" in text
    assert "Is a &lt; b &amp; c?" in text
    assert "<old>" not in text


def test_a_roll_back_is_the_headline(engine: Engine, spec: ProblemSpec, replaced: FakeRegistry, tmp_path: Path) -> None:
    replaced.champion = "1"
    replaced.events.append(event("roll back", "1", "2", 295.0, "worse than a constant rate"))
    text = written(tmp_path, engine, replaced, spec)
    assert "Version 1 (line) is the champion again: version 2 was rolled back on 3 April 2013." in text
    assert "worse than a constant rate." in text


def test_one_champion_and_no_retraining_makes_a_page(
    engine: Engine, spec: ProblemSpec, serve: Callable[..., None], tmp_path: Path
) -> None:
    serve(0, "1", 3)
    text = written(tmp_path, engine, FakeRegistry("1", [event("promote", "1", None, 1.0)]), spec)
    assert "Version 1 (line) has been the champion from the start." in text


def test_an_empty_store_makes_a_page(engine: Engine, spec: ProblemSpec, tmp_path: Path) -> None:
    text = written(tmp_path, engine, FakeRegistry(), spec)
    assert "There is no champion yet." in text
    assert "Nothing has been answered or decided yet." in text


def test_a_life_cycle_that_failed_half_way_makes_a_page(engine: Engine, spec: ProblemSpec, tmp_path: Path) -> None:
    begun = Lifecycle("run-9", 1.0, {"as_of": "2013-04-02", "reason": "nightly"}, {}, {})
    text = written(tmp_path, engine, FakeRegistry(cycles=[begun]), spec)
    assert "not judged" in text


# the other tasks ------------------------------------------------------------------------------------------------------

MEASURED: dict[str, dict[str, dict[str, float]]] = {
    "multiclass": {
        "baseline": {"log_loss": 1.0986, "accuracy": 0.34, "observed_minus_expected": 0.01},
        "line": {"log_loss": 0.3021, "accuracy": 0.91, "observed_minus_expected": -0.02},
        "tree": {"log_loss": 0.1013, "accuracy": 0.97, "observed_minus_expected": 0.004},
    },
    "regression": {
        "baseline": {"mae": 21435.0, "r2": -0.02, "observed_minus_expected": 0.3},
        "line": {"mae": 12034.5, "r2": 0.61, "observed_minus_expected": -0.02},
        "tree": {"mae": 10123.4, "r2": 0.72, "observed_minus_expected": 0.004},
    },
}


def comparison(task: str) -> dict[str, Any]:
    def ends(name: str, value: float) -> dict[str, float]:
        half = 0.1 * abs(value)
        return {"value": value, "low": value - half, "high": value + half}

    metrics = {who: {m: ends(m, v) for m, v in found.items()} for who, found in MEASURED[task].items()}
    return {
        "winner": "tree",
        "reason": "tree has the best metric, and the smallest graph.",
        **{"rows": 6434, "days": 7, "refused": {"net": "no"}, "metrics": metrics, "slices": {}},
        "bytes": {"line": 4223, "tree": 66843},
        "cost": {
            "line": {"fit_s": 1.0, "p50_ms": 0.018, "p99_ms": 0.02},
            "tree": {"fit_s": 2.0, "p50_ms": 0.36, "p99_ms": 1},
        },
    }


def recorded(task: str, engine: Engine, serve: Callable[..., None], spread: float) -> FakeRegistry:
    """Three days of a champion, and one life cycle."""
    for i in range(3):
        serve(i, "2", 20)
    evidence = {"loss": spread, "loss_low": 0.9 * spread, "loss_high": 1.1 * spread, "labelled_days": 7}
    evidence |= {"residual_mean": -0.0624, "residual_low": -0.1, "residual_high": -0.02, "prediction_psi": 0.07}
    evidence |= {"label_psi": 0.03, "drift_share": 0.25} if task == "multiclass" else {"drift_share": 0.25}
    for i in range(3):
        decide(engine, i, "ignore", "2", evidence=evidence)
    cycle = lifecycle("2", "promote", "no champion yet, and every rule held", "nightly")
    cycle = replace(cycle, comparison=comparison(task))
    return FakeRegistry("2", [event("promote", "2", None, 1.0)], [cycle])


@pytest.mark.parametrize(
    ("task", "loss", "off", "daily", "quality"),
    [
        (
            "multiclass",
            "log loss",
            "share of right answers less mean confidence",
            "Right answers",
            "0.101 [0.091, 0.111]",
        ),
        ("regression", "MAE, min", "observed less predicted “late”", "Mean of “late”, min", "10,123 [9,111, 11,136]"),
    ],
)
def test_every_task_is_told_in_its_own_words(
    task: str, loss: str, off: str, daily: str, quality: str, engine: Engine, serve: Callable[..., None], tmp_path: Path
) -> None:
    spec, spread = problem(task), {"multiclass": 0.12, "regression": 10432.0}[task]
    registry = recorded(task, engine, serve, spread)
    outcomes = [{"problem": "small", "event_id": f"{i}-2-champion-{n}"} for i in range(3) for n in range(20)]
    known = [row | {"outcome": float(n % 3), "known_on": FIRST} for n, row in enumerate(outcomes)]
    predictions.add_outcomes(engine, known)
    text = written(tmp_path, engine, registry, spec)
    for part in (f"Live {loss}", off, f"{daily}, day by day", quality, "0.018</td>", "0.0050</td>"):
        assert part in text, part
    if task == "regression":
        assert "rate" not in re.sub(r"<style>.*?</style>", "", text, flags=re.S).replace("separate", "")
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table(timeline(engine, spec), spec))
    assert f"live {loss}" in console.export_text()


def test_the_right_answers_of_several_classes_are_counted(engine: Engine, serve: Callable[..., None]) -> None:
    """The label that was given is compared with the name of the class that came out."""
    spec = problem("multiclass")
    serve(0, "1", 4, label="late")
    rows = [{"problem": "small", "event_id": f"0-1-champion-{n}", "known_on": FIRST} for n in range(3)]
    predictions.add_outcomes(engine, [row | {"outcome": float(n)} for n, row in enumerate(rows)])
    (day,) = timeline(engine, spec)
    assert (day.labelled, day.observed, day.expected) == (3, pytest.approx(1 / 3), 0.25)


# the candidates -------------------------------------------------------------------------------------------------------


def test_a_million_predictions_cost_their_time_on_a_core() -> None:
    """3.6 ms each are an hour for a million."""
    assert candidates.cost_per_million(3.6, Cost(cpu_hour=0.05)) == pytest.approx(0.05)
    assert candidates.cost_per_million(None, Cost()) is None


@pytest.mark.parametrize("task", list(MEASURED))
def test_the_candidates_table_for_the_terminal_is_best_first_and_says_why(task: str) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(candidates.table(comparison(task), problem(task)))
    text = console.export_text()
    starts = [line.split()[0] for line in text.splitlines() if line.split()]
    assert [name for name in starts if name in (*MEASURED[task], "net")][:4] == ["tree", "line", "baseline", "net"]
    assert "tree has the best metric" in text
    assert "net is refused: no" in text
    assert "USD for 10⁶" in text
    assert "0.0050" in text
    assert "…" not in text


def test_candidates_are_ranked_by_the_good_direction_of_the_metric() -> None:
    given = problem("multiclass", gate=toy.spec(task="multiclass", gate={"metric": "accuracy"}).gate)
    names = [row.name for row in candidates.rows(comparison("multiclass"), given)]
    assert names == ["tree", "line", "baseline", "net"]


def test_numbers_keep_three_significant_digits_at_any_scale() -> None:
    assert words.interval(10123.4, 9111.0, 11136.0) == "10,123 [9,111, 11,136]"
    assert words.interval(0.00012, 0.0001, 0.00014) == "0.000120 [0.000100, 0.000140]"
    assert words.interval(0.3614, None, None) == "0.361"
    assert words.number(0.0, None) == "0.000"
    assert words.money(0.000217) == "0.00022"
    assert words.money(12.3) == "12.30"


def test_ticks_are_round_and_inside() -> None:
    assert ticks(-0.07, 0.11) == pytest.approx([-0.05, 0, 0.05, 0.1])


def written(
    folder: Path, engine: Engine, registry: FakeRegistry, spec: ProblemSpec, facts: dict[str, str] | None = None
) -> str:
    return page.write(folder / "out" / "report.html", engine, registry, spec, facts).read_text()  # type: ignore[arg-type]
