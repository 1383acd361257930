"""What a problem is, as data: the typed content of `problems/NAME/problem.yaml`.

Names of columns exist only in those files. Nothing here reads data or knows a model.
"""

from datetime import date
from typing import Any, Literal

from pydantic import Field, model_validator

from core.config import Frozen

Kind = Literal["number", "category"]
MISSING_CATEGORY = "__NA__"


class Column(Frozen):
    """One field of a request and of the event table."""

    type: Literal["string", "category", "number", "datetime"]
    description: str
    unit: str | None = None
    min: float | None = None
    max: float | None = None
    example: str | float
    optional: bool = False


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


class Clock(Frozen):
    """When a day ends for the loop."""

    timezone: str = "UTC"
    cutoff_hour: int = Field(0, ge=0, le=23, description="Local hour of the nightly cut-off.")
    replay_year: int | None = Field(None, description="Replay this year: today's date with the year replaced.")


class Split(Frozen):
    window_days: int = Field(365, gt=0)
    holdout_days: int = Field(7, gt=0)
    min_train_days: int = Field(28, gt=0)


class SliceFloor(Frozen):
    """No slice may fall below this metric's floor. Slices with fewer rows are reported, not judged."""

    metric: Literal["roc_auc", "pr_auc"]
    floor: float
    min_rows: int = Field(200, gt=0)


class Gate(Frozen):
    metric: Literal["log_loss", "brier"] = Field(description="The primary metric: a loss, lower is better.")
    worse_t: float = Field(1.0, description="Worse when the paired t statistic over days reaches this.")
    better_t: float = Field(1.0, description="How credibly a first champion must beat the trivial baseline: paired t.")
    min_days: int = Field(5, gt=1, description="Days that neither model was trained on.")
    calibration_max: float = Field(0.05, description="|observed - expected| that is always acceptable.")
    calibration_slack: float = Field(0.02, description="Beyond it, how much worse than the incumbent is acceptable.")
    slice_floor: SliceFloor
    latency_p99_ms: float = Field(5.0, gt=0, description="One row through the ONNX graph.")
    parity_max: float = Field(1e-4, gt=0, description="Largest |original - ONNX| of any prediction.")
    refit_shift_max: float = Field(0.1, gt=0, description="Largest move of the mean prediction by the refit.")


class Canary(Frozen):
    percent: float = Field(10.0, gt=0, le=100)
    min_requests: int = Field(50, gt=0)
    wait_min: float = Field(30.0, gt=0, description="Minutes after which the canary is judged on what it has.")
    max_error_rate: float = Field(0.01, ge=0)
    max_latency_ratio: float = Field(3.0, gt=0, description="p99 of the canary over p99 of the champion.")
    max_shift: float = Field(0.1, gt=0, description="|mean prediction of canary - of champion|.")


class Monitor(Frozen):
    """The retraining policy. Input drift explains; alone it retrains nothing."""

    window_days: int = Field(7, gt=0)
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


class ProblemSpec(Frozen):
    name: str
    question: str
    task: Literal["binary"]
    target: str
    id: str = Field(description="Column that identifies an event, once.")
    entity: str = Field(description="Column by which a canary is sticky.")
    time: str = Field(description="Datetime column: when the event takes place.")
    columns: dict[str, Column]
    lookups: dict[str, LookupSpec] = Field(default_factory=dict)
    features: dict[str, Feature]
    slices: list[str] = Field(default_factory=list)
    clock: Clock = Clock()
    split: Split = Split()
    gate: Gate
    canary: Canary = Canary()
    monitor: Monitor = Monitor()
    demo: Demo | None = None
    candidates: dict[str, dict[str, Any]]

    @model_validator(mode="after")
    def _names_exist(self) -> "ProblemSpec":
        for role in ("id", "entity", "time"):
            if getattr(self, role) not in self.columns:
                raise ValueError(f"{role} is {getattr(self, role)!r}, which is not among columns")
        for name in self.slices:
            if name not in self.features:
                raise ValueError(f"slice {name!r} is not among features")
        return self

    @property
    def lookup_values(self) -> dict[str, Value]:
        """Every value that any look-up supplies, by column name."""
        return {name: value for lookup in self.lookups.values() for name, value in lookup.values.items()}

    @property
    def datetimes(self) -> list[str]:
        return [name for name, column in self.columns.items() if column.type == "datetime"]
