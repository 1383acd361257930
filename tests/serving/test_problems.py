"""Every problem in problems/ is served by a real process: its example is answered and logged, its image uploaded."""

from io import BytesIO
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image
from sqlalchemy import select

import problems
from core.database import connect
from core.predictions import PREDICTIONS
from core.schema import ProblemSpec
from serving.images import image_column
from serving.schemas import example
from tests.serving.models import Prediction, bundle
from tests.serving.process import ServerProcess
from tests.serving.registry import FakeRegistry

MEMORY = 150 * 2**20


@pytest.mark.parametrize("name", problems.names())
def test_a_problem_is_served(name: str, tmp_path: Path) -> None:
    spec = problems.load(name).spec
    registry = FakeRegistry(name)
    arrays = any(feature.kind == "array" for feature in spec.features.values())
    registry.register("1", bundle(spec, tmp_path / "1", some_prediction(spec), embedding=arrays))
    registry.release("1")
    server = ServerProcess(tmp_path / "home", registry.url, problem=name)
    server.ready()
    assert psutil.Process(server.process.pid).memory_info().rss < MEMORY
    schemas = server.get("/openapi.json").json()["components"]["schemas"]
    asked = [server.post("/predict", example(spec))]
    if column := image_column(spec):
        height, width = spec.columns[column].shape
        asked.append(upload(server, spec, Image.new("L", (width, height), 255)))
    for answer in asked:
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == set(schemas["Prediction"]["properties"])
    server.wait("/readyz", pending_rows=0)
    with connect(f"sqlite:///{tmp_path / 'home' / 'loop.db'}").connect() as connection:
        rows = {row["id"]: row for row in connection.execute(select(PREDICTIONS)).mappings()}
    server.kill()
    registry.close()
    ids = [answer.json()["prediction_id"] for answer in asked]
    assert set(rows) == set(ids)
    watched = {*spec.watched, *(["embedding_0"] if arrays else [])}
    assert all(set(row["features"]) == watched for row in rows.values())
    assert rows[ids[0]]["inputs"] == example(spec)


def some_prediction(spec: ProblemSpec) -> Prediction:
    return [1 / len(spec.classes)] * len(spec.classes) if spec.task == "multiclass" else 0.5


def upload(server: ServerProcess, spec: ProblemSpec, picture: Image.Image) -> httpx.Response:
    out = BytesIO()
    picture.save(out, "PNG")
    query = {name: value for name, value in example(spec).items() if name != image_column(spec)}
    headers = {"content-type": "image/png"}
    return server.client.post("/predict/image", content=out.getvalue(), params=query, headers=headers)
