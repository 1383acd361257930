"""Checked columns to what the graph takes: the problem's features, and look-ups as of each row's prediction time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from core.columns import Columns
from core.lookups import join
from core.runtime import OnnxModel
from pipeline.score.decode import Decoder
from pipeline.score.lookback import Lookback
from pipeline.score.source import Chunk
from problems import Problem


@dataclass(frozen=True)
class Prepared:
    """A chunk that is ready for the graph: `inputs` of the good rows, whose numbers in the chunk are `good`.

    `note` is the journal's; its `missing`: look-up -> how many of the good rows it had nothing for, and that did not
    bring its values themselves.
    """

    note: dict[str, Any]
    inputs: Columns
    ids: pa.Array
    good: np.ndarray
    reasons: dict[int, str]


@dataclass(frozen=True)
class Preparer:
    problem: Problem
    model: OnnxModel
    decoder: Decoder
    lookback: Lookback

    def prepare(self, chunk: Chunk) -> Prepared:
        decoded, missing = self.decoder.decode(chunk), dict[str, int]()
        inputs = self._inputs(decoded.columns, missing) if len(decoded.good) else {}
        note = {"part": chunk.part, "start": chunk.start, "end": chunk.end, "broken": chunk.broken, "missing": missing}
        return Prepared(note, inputs, decoded.ids, decoded.good, decoded.reasons)

    def _inputs(self, columns: Columns, missing: dict[str, int]) -> Columns:
        """As core.lookups.model_inputs, but that texts stay numpy's: onnxruntime reads them faster than objects."""
        derived: Columns = self.problem.features.features(columns)
        at = derived["prediction_time"]
        joined, used = join(derived, at, self.problem.spec.lookups, self.lookback.of(at))
        missing |= self._missing(derived, used)
        features = self.problem.spec.features
        return {
            name: joined[name] if features[name].kind == "category" else joined[name].astype(np.float32, copy=False)
            for name in self.model.contract.features
        }

    def _missing(self, derived: Columns, used: Mapping[str, np.ndarray]) -> dict[str, int]:
        found = {}
        for name, spec in self.problem.spec.lookups.items():
            absent = np.isnat(used[name])
            sent = [~np.isnan(derived[value]) for value in spec.values if value in derived]
            if len(sent) == len(spec.values):
                absent = absent & ~np.logical_and.reduce(sent)
            found[name] = int(absent.sum())
        return found
