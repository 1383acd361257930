"""The parts of a running server, put together, started and stopped. Knows no HTTP."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from core.config import Settings
from core.releases import Reader
from core.sensitive import Mask
from problems import Problem
from serving import explain
from serving.answers import Answer
from serving.cache import ModelCache
from serving.follower import Follower
from serving.gather import Gather
from serving.parsing import Row, RowParser
from serving.pin import Pin
from serving.predictor import Answered, Predictor
from serving.records import as_lines
from serving.replies import FieldError, Refused, unavailable
from serving.shadow import Shadow
from serving.shipper import Shipper
from serving.spool import Spool, SpoolFull
from serving.state import State
from serving.store import Store
from serving.telemetry import Metrics
from serving.traffic import Traffic

BATCH_THREADS, BATCHES_WAITING = 1, 16  # a second thread shares the interpreter: no faster, more memory


class ModelRaised(Exception):
    """A model gave nothing for a micro-batch: one of its rows may be to blame."""


class Server:
    """One problem's server. Reads its folder when it is made; threads run between start and stop."""

    def __init__(self, problem: Problem, settings: Settings, reader: Reader) -> None:
        mask = Mask(problem.spec, settings.salt)
        self.problem, home = problem, settings.home / "serving" / problem.spec.name
        self.store = Store(settings.store_url)
        self.spool = Spool(home / "spool", settings.spool_mb * 1024 * 1024)
        self.shipper = Shipper(self.spool, self.store)
        cache = ModelCache(home / "models", problem.spec, reader)
        self.follower = Follower(problem.spec, reader, cache, self.store, settings.poll_s, Pin.set_by(settings))
        self.traffic = Traffic()
        self.metrics = Metrics(self.follower, self.spool, self.shipper, self.traffic)
        self.shadow = Shadow(problem.spec, self.spool, self.metrics)
        self.parser, self._predictor = RowParser(problem.spec), Predictor(problem, mask)
        self.pool = ThreadPoolExecutor(BATCH_THREADS, thread_name_prefix="batch")
        self._gather = Gather(self._predict_each, shed=self.metrics.shed)
        self._batches = threading.BoundedSemaphore(BATCHES_WAITING)

    def start(self) -> None:
        self.follower.start()
        self.shipper.start()
        self.shadow.start()

    def stop(self) -> None:
        """Called when no request is left: what was acknowledged is shipped, or stays in the spool."""
        self.pool.shutdown()
        self.follower.stop()
        self.shadow.stop()
        self.shipper.stop()
        self.spool.close()
        self.store.close()

    def predict_one(self, body: bytes) -> asyncio.Future[Answer]:
        """In the event loop: answered together with what else is asked in this moment. Raises Refused."""
        return self._gather.ask(self.parser.one(body))

    def predict_many(self, body: bytes) -> dict[str, Any]:
        """For a thread of the pool."""
        return {"predictions": self._predict(self.parser.many(body))}

    def predict_image(self, body: bytes, others: Mapping[str, str]) -> dict[str, Any]:
        """For a thread of the pool."""
        return self._predict([self.parser.image(body, others)])[0]

    def explain_one(self, body: bytes) -> dict[str, Any]:
        """For a thread of the pool. What cannot be explained is not answered either."""
        answered, found = self._predictor.explain(self._state(), self.parser.one(body))
        self._log(answered)
        if found is None or answered.answers[0] is None:
            raise _failed(0)
        return answered.answers[0] | explain.body(found)

    @property
    def ready(self) -> bool:
        """Whether a request would be answered."""
        return self.follower.state.answers and self.spool.trouble() is None

    @property
    def reason(self) -> str | None:
        """What is not as it should be; it may be ready all the same."""
        waiting = f"the store takes no predictions, {self.spool.pending_rows} wait" if self.store_is_down else None
        return "; ".join(filter(None, (self.spool.trouble(), self.follower.reason, waiting))) or None

    @property
    def store_is_down(self) -> bool:
        return self.shipper.store_error is not None

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """A place for one batch. Too many at once, or answers not taken, are refused: they cannot fill the memory."""
        if self.traffic.held > self.traffic.limit:
            raise self._shed("answers", "too many answers wait to be taken")
        if not self._batches.acquire(blocking=False):
            raise self._shed("batches", "too many batches at once")
        try:
            yield
        finally:
            self._batches.release()

    def _predict(self, rows: list[Row]) -> list[Answer]:
        """The answers for one caller's rows: all, or a refusal."""
        answered = self._answer(rows)
        self._log(answered)
        failed = [row for row, answer in enumerate(answered.answers) if answer is None]
        if failed:
            raise _failed(*failed[:20])
        return [answer for answer in answered.answers if answer is not None]

    def _predict_each(self, rows: list[Row]) -> list[Answer | Refused]:
        """The answer or the refusal for each of several callers' rows. Raises ModelRaised when one may spoil others."""
        answered = self._answer(rows)
        if answered.raised and len(rows) > 1:
            raise ModelRaised
        self._log(answered)
        return [_failed(0) if answer is None else answer for answer in answered.answers]

    def _answer(self, rows: list[Row]) -> Answered:
        return self._predictor.answer(self._state(), rows)

    def _state(self) -> State:
        state = self.follower.state
        if not state.answers:
            raise unavailable(f"not ready: {self.follower.reason}")
        return state

    def _shed(self, why: str, message: str) -> Refused:
        self.metrics.shed(why)
        return unavailable(message)

    def _log(self, answered: Answered) -> None:
        """Before anybody is answered."""
        try:
            self.spool.append(as_lines(answered.records), len(answered.records))
        except SpoolFull as error:
            raise self._shed("spool", str(error)) from error
        self.metrics.count(answered)
        self.shadow.offer(self.follower.state.shadow, answered)


def _failed(*rows: int) -> Refused:
    return Refused(503, *(FieldError(field=f"rows.{row}", message="the model failed") for row in rows))
