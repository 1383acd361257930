"""Prometheus metrics of one application, in a registry of their own, and the ASGI layer that times requests."""

import threading
import time
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric, SummaryMetricFamily
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.follower import Follower
from serving.predictor import Answered
from serving.records import Record
from serving.shipper import Shipper
from serving.spool import Spool
from serving.traffic import Traffic

PATHS = frozenset({"/predict", "/predict/batch", "/predict/image", "/healthz", "/readyz", "/metrics", "/release"})
HUNG_UP = 499  # nginx's number for a caller that did not wait for its answer
BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


Samples = dict[tuple[str, ...], float]  # label values -> number


class Metrics:
    """What is counted as it happens."""

    def __init__(self, follower: Follower, spool: Spool, shipper: Shipper, traffic: Traffic) -> None:
        self.registry = registry = CollectorRegistry()
        registry.register(_Now(follower, spool, shipper, traffic))
        by = ["version", "role"]
        self.requests = Counter("serving_requests", "Requests answered.", ["path", "status"], registry=registry)
        self.seconds = Histogram("serving_request_seconds", "Time.", ["path"], registry=registry, buckets=BUCKETS_S)
        self.predictions = Counter("serving_predictions", "Rows answered.", by, registry=registry)
        self._scores: dict[tuple[str, str], tuple[int, float]] = {}  # version, role -> how many, their sum
        self._scoring = threading.Lock()
        registry.register(self)
        self.labels = Counter("serving_labels", "Classes predicted.", [*by, "label"], registry=registry)
        self.shadows = Counter("serving_shadow", "Rows scored in shadow.", ["version"], registry=registry)
        about = "Rows that the shadow had no time for."
        self.shadows_dropped = Counter("serving_shadow_dropped", about, ["version"], registry=registry)
        self.failures = Counter("serving_failures", "Rows that a model failed on.", by, registry=registry)
        self._shed = Counter("serving_shed", "Requests and callers that were sent away.", ["why"], registry=registry)
        self.missing = Counter("serving_missing", "Numbers absent or stale.", ["feature"], registry=registry)
        self.unknown = Counter("serving_unknown", "Categories never seen in training.", ["feature"], registry=registry)

    def count(self, answered: Answered) -> None:
        answers = [answer for answer in answered.answers if answer is not None]
        _add(self.predictions, [(answer.model_version, answer.role) for answer in answers])
        _add(self.missing, [(name,) for answer in answers for name in answer.missing])
        _add(self.unknown, [(name,) for answer in answers for name in answer.unknown])
        self._tried(answered.records)

    def shadowed(self, records: list[Record]) -> None:
        """Records of what was scored in shadow."""
        _add(self.shadows, ((r["model_version"],) for r in records))
        self._tried(records)

    def dropped(self, version: str, rows: int) -> None:
        self.shadows_dropped.labels(version).inc(rows)

    def shed(self, why: str) -> None:
        self._shed.labels(why).inc()

    def _tried(self, records: list[Record]) -> None:
        _add(self.failures, [(r["model_version"], r["role"]) for r in records if r["error"]])
        good = [r for r in records if not r["error"]]
        _add(self.labels, [(r["model_version"], r["role"], r["label"]) for r in good if r["label"]])
        scores: dict[tuple[str, str], list[float]] = {}
        for r in good:
            scores.setdefault((r["model_version"], r["role"]), []).append(r["score"])
        with self._scoring:
            for by, values in scores.items():
                n, total = self._scores.get(by, (0, 0.0))
                self._scores[by] = n + len(values), total + sum(values)

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client's own Summary would take value by value."""
        about = "Probability of the positive or the predicted class, or the value."
        found = SummaryMetricFamily("serving_score", about, labels=["version", "role"])
        for by, (n, total) in list(self._scores.items()):
            found.add_metric(by, n, total)
        yield found


def _add(counter: Counter, labels: Iterable[tuple[str, ...]]) -> None:
    for values, n in Tally(labels).items():
        counter.labels(*values).inc(n)


class _Now:
    """What is looked up when Prometheus asks."""

    def __init__(self, follower: Follower, spool: Spool, shipper: Shipper, traffic: Traffic) -> None:
        self._follower, self._spool, self._shipper, self._traffic = follower, spool, shipper, traffic

    def collect(self) -> Iterator[Metric]:
        state, spool = self._follower.state, self._spool
        versions: Samples = {(role, model.version): 1.0 for role, model in state.roles.items()}
        yield _gauge("serving_release", "Versions that are loaded.", versions, ["role", "version"])
        yield _gauge("serving_canary_percent", "The canary's share of the entities.", {(): state.percent})
        yield _gauge("serving_lookups_id", "Newest look-up row in use.", {(): state.lookups_id})
        yield _gauge("serving_registry_up", "1: the registry answers.", {(): not self._follower.registry_error})
        yield _gauge("serving_spool_rows", "Predictions not yet in the store.", {(): spool.pending_rows})
        yield _gauge("serving_spool_bytes", "The same in bytes.", {(): spool.pending_bytes})
        yield _gauge("serving_spool_limit_bytes", "Beyond it requests get 503.", {(): spool.limit})
        yield _gauge("serving_spool_full", "1: nothing can be kept, requests get 503.", {(): bool(spool.trouble())})
        yield _gauge("serving_store_up", "1: the store takes what is shipped.", {(): not self._shipper.store_error})
        yield _gauge("serving_connections", "Open connections.", {(): len(self._traffic.peers)})
        yield _gauge("serving_held_bytes", "Large bodies, and answers not yet taken.", {(): self._traffic.held})


def _gauge(name: str, text: str, samples: Samples, labels: Sequence[str] = ()) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in samples.items():
        family.add_metric(values, float(number))
    return family


class Timed:
    """Counts and times every request by path and status. Paths that do not exist share one label."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}  # a look-up by label takes a lock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), HUNG_UP

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            path = scope["path"] if scope["path"] in PATHS else "other"
            requests, seconds = self._children.get((path, status)) or self._made(path, status)
            requests.inc()
            seconds.observe(time.perf_counter() - started)

    def _made(self, path: str, status: int) -> tuple[Counter, Histogram]:
        made = self.metrics.requests.labels(path, status), self.metrics.seconds.labels(path)
        self._children[path, status] = made
        return made
