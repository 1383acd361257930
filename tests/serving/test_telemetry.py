"""Requests are summed many at a time; what Prometheus reads is what its own client would have counted one by one."""

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from serving import telemetry
from serving.telemetry import BUCKETS_S, Requests


def text(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if "_created" not in line)


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> tuple[Requests, list[tuple[str, int, float]]]:
    """Some hundred requests, at times that are whole milliseconds: on the buckets' limits, too."""
    monkeypatch.setattr(telemetry, "KEPT", 50)
    random = np.random.default_rng(3)
    paths, statuses = random.choice(["/predict", "/metrics"], 500), random.choice([200, 422], 500)
    seconds = random.integers(0, 6000, 500) / 1000
    asked = list(zip(paths.tolist(), statuses.tolist(), seconds.tolist(), strict=True))
    requests = Requests()
    for each in asked:
        requests.note(*each)
    return requests, asked


def test_requests_are_counted_and_timed_as_prometheus_does(
    noted: tuple[Requests, list[tuple[str, int, float]]],
) -> None:
    requests, asked = noted
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    ours.register(requests)
    counter = Counter("serving_requests", "Requests answered.", ["path", "status"], registry=theirs)
    seconds = Histogram("serving_request_seconds", "Time.", ["path"], registry=theirs, buckets=BUCKETS_S)
    for path, status, s in asked:
        counter.labels(path, status).inc()
        seconds.labels(path).observe(s)
    found, wanted = text(ours), text(theirs)
    assert [line for line in found if "_sum" not in line] == [line for line in wanted if "_sum" not in line]
    assert text(ours) == found
    sums = [[float(line.split()[-1]) for line in lines if "_sum" in line] for lines in (found, wanted)]
    assert sums[0] == pytest.approx(sums[1])
    assert len(sums[0]) == 2


def test_unknown_paths_share_a_name_and_who_hung_up_has_a_status() -> None:
    requests, registry = Requests(), CollectorRegistry()
    registry.register(requests)
    for path, status in (("/a", 404), ("/b", 404), ("/predict", 0)):
        requests.note(path, status, 0.1)
    counts = [line for line in text(registry) if line.startswith("serving_requests_total")]
    assert counts == [
        'serving_requests_total{path="/predict",status="499"} 1.0',
        'serving_requests_total{path="other",status="404"} 2.0',
    ]
