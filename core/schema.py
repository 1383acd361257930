"""What a problem is, as data: the typed content of `problems/NAME/problem.yaml`.

Names of columns exist only in those files. Nothing here reads data or knows a model.
"""

from datetime import date
from math import prod
from typing import Any, Literal

from pydantic import Field, model_validator

from core.config import Frozen

TaskName = Literal["binary", "multiclass", "regression"]
Kind = Literal["number", "category", "array"]
MISSING_CATEGORY = "__NA__"
LARGEST = 1e12  # of a number that problem.yaml sets no bound for: finite as float32 and after scaling, too
LONGEST = 200  # letters of a text
METRICS: dict[TaskName, tuple[str, ...]] = {
    "binary": ("log_loss", "brier", "roc_auc", "pr_auc", "accuracy", "f1"),
    "multiclass": ("log_loss", "accuracy", "macro_f1", "top_2_accuracy"),
    "regression": ("mae", "mse", "rmse", "r2", "pinball"),
}


class Column(Frozen):
    """One field of a request and of the event table."""

    type: Literal["string", "category", "number", "datetime", "array"]
    description: str
    unit: str | None = None
    min: float | None = None
    max: float | None = None
    shape: list[int] = Field(default_factory=list, description="Of an array. Two sizes make an image: height, width.")
    example: str | float | None = None
    optional: bool = Field(False, description="May be absent. The time column's default is the moment of arrival.")
    source: str | None = Field(None, description="Its name in the source table, where that is another.")
    sensitive: bool = Field(False, description="The prediction log holds it as a hash with a secret salt (LOOP_SALT).")

    @model_validator(mode="after")
    def _complete(self) -> "Column":
        if self.type == "array" and not self.shape:
            raise ValueError("an array needs a shape, such as [28, 28]")
        if self.type == "array" and self.optional:
            raise ValueError("an array cannot be optional; a row without it has nothing to be judged by")
        if self.type == "array" and self.sensitive:
            raise ValueError("an array cannot be sensitive; leave out of it what the log must not hold")
        if self.type != "array" and self.example is None:
            raise ValueError("an example is missing; the documentation of the server shows it")
        return self

    @property
    def size(self) -> int:
        """Numbers that one value holds."""
        return prod(self.shape)


class Value(Frozen):
    """One number that a look-up supplies. A caller may send it in its request instead."""

    description: str
    unit: str | None = None
    min: float | None = None
    max: float | None = None


class LookupSpec(Frozen):
    """A table with an availability time, joined as of each row's prediction time."""

    keys: list[str] = Field(min_length=1, description="Columns of the request, or derived ones, that identify a row.")
    tolerance_h: float = Field(gt=0, description="A row older than this at prediction time counts as missing.")
    feed: Literal["nightly", "live"] = Field(description="Written by the nightly run, or as it is observed.")
    values: dict[str, Value] = Field(min_length=1)


class Feature(Frozen):
    """One input of the models."""

    kind: Kind
    monotone: Literal[-1, 0, 1] = 0
    size: int = Field(1, gt=0, description="Numbers of an array.")
    sensitive: bool = Field(False, description="Made of a sensitive column: neither logged nor watched.")


class Clock(Frozen):
    """When a day ends for the loop."""

    timezone: str = "UTC"
    cutoff_hour: int = Field(0, ge=0, le=23, description="Local hour of the nightly cut-off.")
    replay_year: int | None = Field(None, description="Replay this year: today's date with the year replaced.")
    latest: date | None = Field(None, description="Today is never later: for a table that has stopped growing.")


class Split(Frozen):
    window_days: int = Field(365, gt=0)
    holdout_days: int = Field(7, gt=0)
    min_train_days: int = Field(28, gt=0)


class Quality(Frozen):
    """What makes the partition of a day a bad one."""

    smallest_share: float = Field(0.25, ge=0, lt=1, description="Fewer rows than this share of a usual day's.")
    out_of_range_share: float = Field(0.01, ge=0, lt=1, description="More values of a column outside min..max.")


class SliceFloor(Frozen):
    """No slice may fall below this metric's floor. Slices with fewer rows are reported, not judged."""

    metric: Literal["roc_auc", "pr_auc", "accuracy", "f1", "macro_f1", "top_2_accuracy", "r2"]
    floor: float
    min_rows: int = Field(200, gt=0)


class Gate(Frozen):
    metric: str = Field(description="The primary metric: one of the task's (METRICS).")
    quantile: float | None = Field(None, gt=0, lt=1, description="Quantile that a regression predicts, for pinball.")
    worse_t: float = Field(1.0, description="Worse when the paired t statistic over days reaches this.")
    better_t: float = Field(1.0, description="How credibly a first champion must beat the trivial baseline: paired t.")
    min_days: int = Field(5, gt=1, description="Days that neither model was trained on.")
    calibration_max: float = Field(0.05, description="|observed - expected| that is always acceptable.")
    calibration_slack: float = Field(0.02, description="Beyond it, how much worse than the incumbent is acceptable.")
    slice_floor: SliceFloor | None = None
    latency_p99_ms: float = Field(5.0, gt=0, description="One row through the ONNX graph.")
    parity_max: float = Field(1e-4, gt=0, description="Largest |original - ONNX| of any prediction.")
    refit_shift_max: float = Field(0.1, gt=0, description="Largest move of the mean prediction by the refit.")


class Canary(Frozen):
    """How a challenger is tried on live traffic: first in shadow, then on a share of the entities."""

    shadow: bool = Field(True, description="Score it on what the champion answers, before it answers anything.")
    percent: float = Field(10.0, gt=0, le=100)
    min_requests: int = Field(50, gt=0, description="Rows in shadow, then rows as canary, before it is judged.")
    min_labels: int = Field(0, ge=0, description="Matured labels besides. 0: judged on those that there are by then.")
    wait_min: float = Field(30.0, gt=0, description="Minutes from its start after which it is judged on what it has.")
    max_error_rate: float = Field(0.01, ge=0)
    max_latency_ratio: float = Field(3.0, gt=0, description="p99 of the canary over p99 of the champion.")
    max_shift: float = Field(0.1, gt=0, description="|mean prediction of canary - of champion|; see ProblemSpec.")


class Monitor(Frozen):
    """The retraining policy. Input drift explains; alone it retrains nothing."""

    window_days: int = Field(7, gt=0)
    min_days: int | None = Field(None, gt=0, description="Labelled days of the window for a verdict. Default: all.")
    statistics: list[str] = Field(default_factory=list, description="Derived numbers that are watched, not fed.")
    min_rows: int = Field(500, gt=0, description="Fewer live rows than this are no evidence.")
    sample_rows: int = Field(5000, gt=0, description="Rows of the full column report, at most.")
    calibration_max: float = Field(0.05, gt=0)
    prediction_psi_max: float = Field(0.2, gt=0)
    column_psi_max: float = Field(0.2, gt=0)
    null_share_max: float = Field(0.2, gt=0, description="Rise of a column's null share that raises an alarm.")
    max_age_days: int = Field(28, gt=0)
    cooldown_days: int = Field(7, gt=0)
    rollback_t: float = Field(2.0, gt=0, description="Roll back when credibly worse than the trivial baseline.")


class Demo(Frozen):
    """The span that `loop demo` plays."""

    first_day: date
    days: int = Field(gt=0)
    change: dict[str, Any] = Field(default_factory=dict, description="What data.py changes in the world, and when.")
    expect_retrain: bool = Field(True, description="Whether the monitor must ask for a retraining in this span.")


class Cost(Frozen):
    """Prices behind the cost of a million predictions."""

    cpu_hour: float = Field(0.05, ge=0, description="One CPU core for an hour.")
    currency: str = "USD"


class Resources(Frozen):
    """What the pod of a task may use on Kubernetes. Nothing else reads it, and no result depends on it."""

    cpu: float | None = Field(None, gt=0, description="Cores; also how many threads a fit may use.")
    memory: str | None = Field(None, pattern=r"^[1-9][0-9]*(Mi|Gi)$")
    gpu: int = Field(0, ge=0, description="NVIDIA GPUs; the cluster must offer them.")


class ProblemSpec(Frozen):
    """One problem. Limits on means and residuals are shares for classes, and for numbers standard deviations of the
    target in training."""

    name: str
    question: str
    task: TaskName
    target: str
    classes: list[str] = Field(description="Values of the target; binary: negative, positive. Empty: it is a number.")
    target_unit: str | None = None
    id: str = Field(description="Column that identifies an event, once.")
    entity: str = Field(description="Column by which a canary is sticky.")
    time: str = Field(description="Datetime column: when the event takes place.")
    columns: dict[str, Column]
    lookups: dict[str, LookupSpec] = Field(default_factory=dict)
    features: dict[str, Feature]
    slices: list[str]
    cluster: str | None = Field(None, description="Column whose rows belong together in intervals. Default: the day.")
    clock: Clock = Clock()
    split: Split
    quality: Quality = Quality()
    cost: Cost = Cost()
    gate: Gate
    canary: Canary = Canary()
    monitor: Monitor = Monitor()
    demo: Demo | None = None
    candidates: dict[str, dict[str, Any]]
    resources: dict[str, Resources] = Field(default_factory=dict, description="By candidate; `default`: other tasks.")

    @model_validator(mode="after")
    def _names_exist(self) -> "ProblemSpec":
        for role in ("id", "entity", "time"):
            if getattr(self, role) not in self.columns:
                raise ValueError(f"{role} is {getattr(self, role)!r}, which is not among columns")
        if self.columns[self.id].type != "string":
            raise ValueError(f"id is {self.id!r}, which is a {self.columns[self.id].type}; labels are found by text")
        for name in self.slices:
            if name not in self.features:
                raise ValueError(f"slice {name!r} is not among features")
        if self.cluster is not None and self.cluster not in self.columns:
            raise ValueError(f"cluster is {self.cluster!r}, which is not among columns")
        for name in self.resources:
            if name not in (*self.candidates, "default"):
                raise ValueError(f"resources names {name!r}, which is neither a candidate nor `default`")
        return self

    @model_validator(mode="after")
    def _can_be_hidden(self) -> "ProblemSpec":
        for role in ("id", "time"):
            if self.columns[getattr(self, role)].sensitive:
                raise ValueError(f"{getattr(self, role)} is the {role} and cannot be sensitive; labels are found by it")
        for name in self.monitor.statistics:
            if name in self.unlogged:
                raise ValueError(f"monitor.statistics names {name!r}, which is sensitive; statistics are logged")
        return self

    @model_validator(mode="after")
    def _fits_the_task(self) -> "ProblemSpec":
        known = METRICS[self.task]
        for metric in (self.gate.metric, self.gate.slice_floor.metric if self.gate.slice_floor else known[0]):
            if metric not in known:
                raise ValueError(f"{metric} is no metric of a {self.task} problem; there are: {', '.join(known)}")
        wanted = {"binary": (0, 2), "regression": (0,)}.get(self.task)
        if (len(self.classes) not in wanted) if wanted else len(self.classes) < 3:
            raise ValueError(f"a {self.task} problem cannot have {len(self.classes)} classes")
        if (self.gate.metric == "pinball") > (self.gate.quantile is not None):
            raise ValueError("gate.metric pinball needs gate.quantile, such as 0.9")
        if self.gate.quantile is not None and self.task != "regression":
            raise ValueError("gate.quantile is for regression")
        return self

    @property
    def lookup_values(self) -> dict[str, Value]:
        """Every value that any look-up supplies, by column name."""
        return {name: value for lookup in self.lookups.values() for name, value in lookup.values.items()}

    @property
    def watched(self) -> dict[str, Kind]:
        """What the monitor compares column by column: the features but for arrays, and the derived statistics."""
        single: dict[str, Kind] = {
            name: f.kind for name, f in self.features.items() if f.kind != "array" and name not in self.unlogged
        }
        return single | dict.fromkeys(self.monitor.statistics, "number")

    @property
    def sensitive(self) -> frozenset[str]:
        """Columns that the prediction log holds as hashes."""
        return frozenset(name for name, column in self.columns.items() if column.sensitive)

    @property
    def unlogged(self) -> frozenset[str]:
        """Features that the prediction log does not hold and nobody watches: sensitive by name, or declared so."""
        return self.sensitive | {name for name, feature in self.features.items() if feature.sensitive}

    @property
    def datetimes(self) -> list[str]:
        return [name for name, column in self.columns.items() if column.type == "datetime"]
