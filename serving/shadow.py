"""Scores the version in shadow on the rows that were answered, after they were. It answers nobody.

One thread works off a bounded queue and rests most of the time, so that requests do not feel it. A row that finds the
queue full, or the store far behind, is dropped and counted: a shadow needs some rows, the requests need their server.
"""

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np

from core.columns import Columns
from core.predictions import SHADOW
from core.schema import ProblemSpec
from serving.predictor import Answered
from serving.records import Record, as_lines, of_attempts
from serving.scoring import Attempt, attempt
from serving.spool import Spool, SpoolFull
from serving.state import ServedModel
from serving.telemetry import Metrics

log = logging.getLogger(__name__)
AFTER_S = 0.005  # what was just answered leaves first
SHARE = 0.05  # of the time, at most, it works
WAITING_NUMBERS = 40_000  # of the rows that wait; a row has as many as its columns and arrays hold
PIECE_ROWS = 64  # scored at once
WORK_S = 0.002  # then it logs what it has, and rests
SPOOL_BYTES = 64 * 1024 * 1024  # more than that not yet in the store: the spool is for what was answered


@dataclass(frozen=True)
class Job:
    """Rows that were answered together: what the models see, and what their records say whoever answers."""

    model: ServedModel
    inputs: Columns
    common: list[Record]

    def pieces(self) -> list["Job"]:
        """Of at most PIECE_ROWS rows each."""
        if len(self.common) <= PIECE_ROWS:
            return [self]
        parts = [slice(start, start + PIECE_ROWS) for start in range(0, len(self.common), PIECE_ROWS)]
        return [
            Job(self.model, {n: column[part] for n, column in self.inputs.items()}, self.common[part]) for part in parts
        ]


class Shadow(threading.Thread):
    """`offer` from any thread; of a micro-batch it takes microseconds."""

    def __init__(self, spec: ProblemSpec, spool: Spool, metrics: Metrics) -> None:
        super().__init__(name="shadow", daemon=True)
        self._spec, self._spool, self._metrics = spec, spool, metrics
        self._limit = max(1, WAITING_NUMBERS // sum(column.size for column in spec.columns.values()))
        self._model: ServedModel | None = None
        self._jobs: deque[Job] = deque()
        self._waiting = 0  # rows
        self._lock, self._some, self._stopping = threading.Lock(), threading.Event(), threading.Event()

    def offer(self, model: ServedModel | None, answered: Answered) -> None:
        """Score these rows some time later, or drop them. What waits for another model is forgotten."""
        if model is not self._model:
            self._begin(model)
        if model is None:
            return
        rows, jobs = len(answered.common), Job(model, answered.seen.inputs, answered.common).pieces()
        with self._lock:
            full = self._waiting >= self._limit
            if not full:
                self._waiting += rows
                self._jobs.extend(jobs)
        if full:
            self._metrics.dropped(model.version, rows)
        elif not self._some.is_set():
            self._some.set()

    def run(self) -> None:
        """Few long rests instead of many short ones: whenever it wakes, it takes the interpreter from a request."""
        while not self._stopping.is_set():
            self._some.wait()
            self._some.clear()
            rest_s = AFTER_S
            while not self._stopping.wait(rest_s) and self._jobs:
                rest_s = max(AFTER_S, self._work() * (1 / SHARE - 1))

    def stop(self) -> None:
        """What waits still is dropped."""
        self._stopping.set()
        self._some.set()
        if self.is_alive():
            self.join(timeout=10)

    def _begin(self, model: ServedModel | None) -> None:
        with self._lock:
            self._model, self._waiting = model, 0
            self._jobs.clear()

    def _work(self) -> float:
        """Score what waits for WORK_S, one piece at least, and log it. Returns the seconds that it took."""
        started, version, rows = time.perf_counter(), "", 0
        attempts, found = list[Attempt](), list[Record]()
        try:
            while time.perf_counter() - started < WORK_S and (job := self._next()):
                version, rows, tried = job.model.version, rows + len(job.common), _attempts(job)
                attempts += tried
                found += of_attempts(self._spec, tried, job.common)
            self._log(found)
            self._metrics.shadowed(attempts)
        except SpoolFull:
            self._metrics.dropped(version, rows)
        except Exception:  # whatever it is, requests go on and so does the shadow
            log.exception("version %s could not be scored in shadow", version)
            self._metrics.dropped(version, rows)
        return time.perf_counter() - started

    def _next(self) -> Job | None:
        with self._lock:
            if not self._jobs:
                return None
            job = self._jobs.popleft()
            self._waiting -= len(job.common)
            return job

    def _log(self, found: list[Record]) -> None:
        if self._spool.pending_bytes > SPOOL_BYTES:
            raise SpoolFull("the store is far behind")
        self._spool.append(as_lines(found), len(found))


def _attempts(job: Job) -> list[Attempt]:
    """All rows at once; when the model raises, each alone, so that one row does not spoil the others.

    Timed by the thread's own processor time: a shadow that was made to wait is not slow.
    """
    rows = np.arange(len(job.common))
    found = attempt(job.model, SHADOW, job.inputs, rows, time.thread_time)
    if not found.raised or len(rows) == 1:
        return [found]
    return [attempt(job.model, SHADOW, job.inputs, rows[[row]], time.thread_time) for row in rows]
