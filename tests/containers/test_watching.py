"""What Prometheus and Grafana are given, held against a real server's /metrics. No Grafana can be started here."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

import problems
from core.config import ROOT
from tests.containers.test_files import SERVICES
from tests.serving.conftest import filled
from tests.serving.models import bundle
from tests.serving.process import ServerHere

PROVISIONING = ROOT / "docker" / "grafana" / "provisioning"
DASHBOARDS = [json.loads(path.read_text()) for path in (ROOT / "docker" / "grafana" / "dashboards").glob("*.json")]
PANELS: list[dict[str, Any]] = [panel for dashboard in DASHBOARDS for panel in dashboard["panels"]]
ALERTS = yaml.safe_load((ROOT / "docker" / "prometheus" / "alerts.yml").read_text())["groups"]
ASKED = [target["expr"] for panel in PANELS for target in panel["targets"]]
ASKED += [rule["expr"] for group in ALERTS for rule in group["rules"]]
SUFFIX = re.compile(r"_(total|bucket|sum|count)$")


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("watched")
    fake = filled({"1": bundle(problems.load("flights").spec, home / "1", 0.25)})
    server = ServerHere(home / "home", fake.url)
    server.ready()
    yield server.get("/metrics").text
    server.stop()
    fake.close()


def test_panels_and_alerts_ask_for_metrics_that_the_server_has(metrics: str) -> None:
    told = set(re.findall(r"^# TYPE (\w+) ", metrics, re.MULTILINE))
    asked = {name for expression in ASKED for name in re.findall(r"\bserving_\w+", expression)}
    assert asked
    assert {name for name in asked if name not in told and SUFFIX.sub("", name) not in told} == set()


def test_every_panel_asks_the_data_source_that_is_provisioned() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in SERVICES
    assert PANELS
    assert {panel["datasource"]["uid"] for panel in PANELS} == {source["uid"]}


def test_grafana_finds_provisioning_and_dashboards_where_they_are_mounted() -> None:
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "loop.yml").read_text())["providers"]
    mounted = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"] if volume.startswith("./"))
    assert mounted["./docker/grafana/dashboards"] == provider["options"]["path"]
    assert mounted["./docker/grafana/provisioning"] == "/etc/grafana/provisioning"


def test_no_panel_hides_another() -> None:
    for dashboard in DASHBOARDS:
        assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
        cells = [cell for panel in dashboard["panels"] for cell in covered(**panel["gridPos"])]
        assert len(cells) == len(set(cells))


def covered(x: int, y: int, w: int, h: int) -> Iterator[tuple[int, int]]:
    assert x + w <= 24  # columns of Grafana's grid
    yield from ((column, row) for column in range(x, x + w) for row in range(y, y + h))
