"""The ground of one drill: a folder, a stand-in registry, a tiny model, and servers that are gone afterwards."""

import itertools
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import problems
from core.schema import ProblemSpec
from serving.schemas import example
from tests.drills.forge import Forged, forge
from tests.drills.ledger import Ledger
from tests.serving.models import bundle
from tests.serving.registry import FakeRegistry

PROBLEM = "flights"


class Ground:
    """Servers that are started one after the other are the same server: one home, one port."""

    def __init__(self, folder: Path, seed: int, context: ForkServerContext, problem: str = PROBLEM) -> None:
        self.folder, self.random, self._context = folder, random.Random(seed), context
        self.spec: ProblemSpec = problems.load(problem).spec
        self.row = example(self.spec)
        self.registry = FakeRegistry(problem)
        self.registry.register("1", bundle(self.spec, folder / "bundle", _prediction(self.spec)))
        self.registry.release("1")
        self.store_url, self.ledger, self._port = f"sqlite:///{folder / 'store' / 'loop.db'}", Ledger(), 0
        self._started: list[Forged] = []
        self._events = itertools.count()

    def server(self, ready: bool = True, patience_s: float | None = None, **settings: str) -> Forged:
        places = {"LOOP_HOME": str(self.folder / "home"), "LOOP_MLFLOW_URL": self.registry.url}
        more = {"LOOP_PROBLEM": self.spec.name, "LOOP_DATABASE_URL": self.store_url, "LOOP_POLL_S": "0.2"}
        log = self.folder / "serving.log"
        self._started.append(Forged(self._context, places | more | settings, log, self._port, patience_s))
        self._port = self._started[-1].port
        if ready:
            self._started[-1].ready()
        return self._started[-1]

    def fresh_row(self) -> dict[str, Any]:
        """A row about an event that nobody asked about before."""
        return self.row | {self.spec.id: f"event {next(self._events)}"}

    @property
    def log(self) -> str:
        return (self.folder / "serving.log").read_text()

    @property
    def spool(self) -> Path:
        return self.folder / "home" / "serving" / self.spec.name / "spool"

    def close(self) -> None:
        for server in self._started:
            if server.process.is_alive():
                server.kill()
        self.registry.close()


@contextmanager
def ground(seed: int, folder: Path | None = None, problem: str = PROBLEM) -> Iterator[Ground]:
    """A fresh one; its folder is removed afterwards when it is not given."""
    with tempfile.TemporaryDirectory(prefix="loop-drill-") as made:
        found = Ground(folder or Path(made), seed, forge(), problem)
        try:
            yield found
        finally:
            found.close()


def _prediction(spec: ProblemSpec) -> float | list[float]:
    return [1 / len(spec.classes)] * len(spec.classes) if spec.task == "multiclass" else 0.25
