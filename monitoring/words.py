"""How the policy names what it judges, task by task. Wording only."""

from dataclasses import dataclass

from core.schema import ProblemSpec
from core.task import primary_loss

LOSSES = {
    "log_loss": "log loss",
    "brier": "Brier score",
    "mae": "absolute error",
    "mse": "squared error",
    "pinball": "pinball loss",
}


@dataclass(frozen=True)
class Words:
    residual: str  # what the mean residual is (core.task)
    unit: str  # behind it
    scores: str  # what the score is (core.task), of many
    loss: str
    constant: str  # the trivial baseline's prediction


def words(spec: ProblemSpec) -> Words:
    loss = LOSSES[primary_loss(spec)]
    if spec.task == "binary":
        return Words("observed - predicted rate", "", "predictions", loss, "constant rate")
    if spec.task == "multiclass":
        return Words("accuracy - confidence", "", "confidences", loss, "constant")
    if spec.gate.quantile is not None:
        return Words("coverage - quantile", "", "predictions", loss, "constant")
    return Words("mean residual", " standard deviations", "predictions", loss, "constant")
