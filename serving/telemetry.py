"""Prometheus metrics of one application, in a registry of their own.

What happens for every request or row is summed many at a time: prometheus_client's own counters take one by one.
"""

import threading
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from serving.follower import Follower
from serving.predictor import Answered
from serving.scoring import Attempt
from serving.shipper import Shipper
from serving.spool import Spool
from serving.traffic import Traffic

PATHS = frozenset({"/predict", "/predict/batch", "/predict/image", "/healthz", "/readyz", "/metrics", "/release"})
HUNG_UP = 499  # nginx's number for a caller that did not wait for its answer
BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
KEPT = 4096  # times of requests that are kept at most before they are summed


Samples = dict[tuple[str, ...], float]  # label values -> number


class Metrics:
    """What is counted as it happens."""

    def __init__(self, follower: Follower, spool: Spool, shipper: Shipper, traffic: Traffic) -> None:
        self.registry = registry = CollectorRegistry()
        registry.register(_Now(follower, spool, shipper, traffic))
        by = ["version", "role"]
        self.requests = Requests()
        registry.register(self.requests)
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
        _add(self.missing, [(name,) for answer in answers for name in answer["missing"]])
        _add(self.unknown, [(name,) for answer in answers for name in answer["unknown"]])
        for attempt in answered.attempts:
            self.predictions.labels(attempt.model.version, attempt.role).inc(attempt.answered.sum())
            self._tried(attempt)

    def shadowed(self, attempts: Sequence[Attempt]) -> None:
        """What was scored in shadow."""
        for attempt in attempts:
            self.shadows.labels(attempt.model.version).inc(len(attempt.rows))
            self._tried(attempt)

    def dropped(self, version: str, rows: int) -> None:
        self.shadows_dropped.labels(version).inc(rows)

    def shed(self, why: str) -> None:
        self._shed.labels(why).inc()

    def _tried(self, attempt: Attempt) -> None:
        by, task = (attempt.model.version, attempt.role), attempt.model.onnx.task
        good = attempt.prediction[attempt.answered]
        if len(good) < len(attempt.rows):
            self.failures.labels(*by).inc(len(attempt.rows) - len(good))
        _add(self.labels, [(*by, label) for label in task.names(good) if label])
        with self._scoring:
            n, total = self._scores.get(by, (0, 0.0))
            self._scores[by] = n + len(good), total + float(task.score(good).sum())

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


class Requests:
    """How many requests there were by path and status, and their times. Belongs to one event loop."""

    def __init__(self) -> None:
        self._taken: defaultdict[tuple[str, int], list[float]] = defaultdict(list)  # seconds, not yet summed
        self._counts: Tally[tuple[str, int]] = Tally()
        self._buckets: dict[str, np.ndarray] = {}  # by path: how many, shape (buckets + 1,)
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def note(self, path: str, status: int, seconds: float) -> None:
        """Paths that do not exist share one name, and so do callers that hung up: status 0."""
        taken = self._taken[path if path in PATHS else "other", status or HUNG_UP]
        taken.append(seconds)
        if len(taken) >= KEPT:
            self._sum()

    def collect(self) -> Iterator[Metric]:
        self._sum()
        counts = CounterMetricFamily("serving_requests", "Requests answered.", labels=["path", "status"])
        for (path, status), n in self._counts.items():
            counts.add_metric([path, str(status)], n)
        yield counts
        times = HistogramMetricFamily("serving_request_seconds", "Time.", labels=["path"])
        limits = [*map(str, BUCKETS_S), "+Inf"]
        for path, found in self._buckets.items():
            passed = zip(limits, found.cumsum().tolist(), strict=True)
            times.add_metric([path], list(passed), self._seconds[path])
        yield times

    def _sum(self) -> None:
        for (path, status), taken in self._taken.items():
            found = np.bincount(np.searchsorted(BUCKETS_S, taken), minlength=len(BUCKETS_S) + 1)
            self._buckets[path] = self._buckets.get(path, 0) + found
            self._counts[path, status] += len(taken)
            self._seconds[path] += sum(taken)
        self._taken.clear()
