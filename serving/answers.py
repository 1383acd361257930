"""What a caller is told about one row: the answer by the problem's task, and its model for the documentation.

An answer is a plain dictionary that nobody checks on its way out; a test compares it with the model.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, create_model

from core.schema import ProblemSpec
from core.task import of

Answer = dict[str, Any]  # the fields of `prediction_model`
Said = dict[str, Any]  # of these the ones that only the task's answers have
Probability = Annotated[float, Field(ge=0, le=1)]


def saying(spec: ProblemSpec) -> Callable[[np.ndarray], list[Said]]:
    """A function from predictions, shape (n,) or (n, k), to what each answer says about the target."""
    names, classes = of(spec).names, spec.classes

    def binary(prediction: np.ndarray) -> list[Said]:
        probabilities = [{"probability": p} for p in np.clip(prediction, 0, 1).tolist()]
        if not classes:
            return probabilities
        return [{"label": label, **said} for label, said in zip(names(prediction), probabilities, strict=True)]

    def multiclass(prediction: np.ndarray) -> list[Said]:
        each = zip(names(prediction), np.clip(prediction, 0, 1).tolist(), strict=True)
        return [{"label": label, "probabilities": dict(zip(classes, row, strict=True))} for label, row in each]

    def regression(prediction: np.ndarray) -> list[Said]:
        return [{"value": value} for value in prediction.tolist()]

    return {"binary": binary, "multiclass": multiclass, "regression": regression}[spec.task]


def prediction_model(spec: ProblemSpec) -> type[BaseModel]:
    """The model of one answer."""
    event = str(spec.columns[spec.id].example)
    example: Answer = {"prediction_id": "0199c0ffee00a1b2c3d4e5f60718293a", "event_id": event, **_example(spec)}
    example |= {"model_version": "7", "role": "champion", "missing": [], "unknown": []}
    fields: dict[str, Any] = {
        "prediction_id": (str, Field(description="Unique; the prediction log's key.")),
        "event_id": (str, Field(description="The event that was asked about.")),
        **_said_fields(spec),
        "model_version": (str, Field(description="Version in the registry of the model that answered.")),
        "role": (str, Field(description="`champion` or `canary`.")),
        "missing": (list[str], Field(description="Numeric features that were absent or stale.")),
        "unknown": (list[str], Field(description="Category features whose value was not seen in training.")),
    }
    config = ConfigDict(json_schema_extra={"example": example})
    return create_model("Prediction", __doc__="The answer for one row.", __config__=config, **fields)


def predictions_model(prediction: type[BaseModel]) -> type[BaseModel]:
    """The model of a batch's answers."""
    about = "The answers, in the order of the rows."
    return create_model("Predictions", __doc__=about, predictions=(list[prediction], ...))  # type: ignore[valid-type]


def _said_fields(spec: ProblemSpec) -> dict[str, Any]:
    if spec.task == "regression":
        return {"value": (float, Field(description=_described_value(spec)))}
    fields: dict[str, Any] = {}
    if spec.classes:
        fields["label"] = (Literal[tuple(spec.classes)], Field(description=f"The likeliest {spec.target}."))
    if spec.task == "multiclass":
        each: Any = dict[Literal[tuple(spec.classes)], Probability]  # type: ignore[misc]
        return fields | {"probabilities": (each, Field(description=f"Probability of each {spec.target}."))}
    positive = spec.classes[1] if spec.classes else 1
    return fields | {"probability": (Probability, Field(description=f"Probability that {spec.target} is {positive}."))}


def _described_value(spec: ProblemSpec) -> str:
    unit = f" ({spec.target_unit})" if spec.target_unit else ""
    of_quantile = f", its {spec.gate.quantile} quantile" if spec.gate.quantile is not None else ""
    return f"Predicted {spec.target}{unit}{of_quantile}."


def _example(spec: ProblemSpec) -> Said:
    """What an answer may say."""
    if spec.task == "regression":
        prediction = np.array([12.5])
    elif spec.task == "binary":
        prediction = np.array([0.25])
    else:
        prediction = np.eye(len(spec.classes))[:1]
    return saying(spec)(prediction)[0]
