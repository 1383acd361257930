"""`/predict?explain=true`: what an answer with contributions says, and who gets none. The method is core.explain's."""

from typing import Any

from pydantic import BaseModel, Field, create_model

from core.errors import ModelRefused
from core.explain import Explanation
from core.schema import ProblemSpec
from serving.replies import FieldError, Refused

PARAMETER = "explain"
ABOUT = "Add how much each feature moved this answer away from that of a typical row of the training data."
OF = {
    "binary": "the probability",
    "multiclass": "the probability of the label",
    "regression": "the value",
}


def explainable(spec: ProblemSpec) -> bool:
    """Only tables: the numbers of an array have no typical value each."""
    return all(feature.kind != "array" for feature in spec.features.values())


def refuse_arrays() -> Refused:
    message = "contributions are for models of tables; this one reads an array"
    return Refused(422, FieldError(field=PARAMETER, message=message))


def refuse(version: str, reason: ModelRefused) -> Refused:
    return Refused(409, FieldError(field=PARAMETER, message=f"model version {version} cannot be explained: {reason}"))


def body(found: Explanation) -> dict[str, Any]:
    """The fields that `explained_model` adds."""
    return {"contributions": found.contributions, "baseline": found.baseline}


def explained_model(spec: ProblemSpec, prediction: type[BaseModel]) -> type[BaseModel]:
    """The model of an explained answer."""
    each = (
        f"Of each feature; with the baseline their sum is {OF[spec.task]}. Shapley values, sampled with a fixed seed."
    )
    fields: dict[str, Any] = {
        "contributions": (dict[str, float], Field(description=each)),
        "baseline": (float, Field(description="The same of the typical row: medians and most frequent categories.")),
    }
    about = "The answer for one row, explained."
    made: type[BaseModel] = create_model("Explained", __base__=prediction, __doc__=about, **fields)
    return made
