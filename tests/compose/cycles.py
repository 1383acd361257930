"""Two life cycles in one Airflow process whose last step deploys to the docker target; prints what was seen as JSON.

    python -m tests.compose.cycles SERVING_URL IMAGE_URL

Uses the settings of the environment; MLflow and the server that follows it are there already.
"""

import json
import sys
from datetime import date
from typing import Any

from tests.dags.play import FIRST, LATER, POKE_S, few_candidates, load_dags, run, steady_traffic


def main(serving_url: str, image_url: str) -> None:
    few_candidates()
    bag, _ = load_dags()
    lifecycle = bag.dags["lifecycle"]
    for sensor in ("shadow", "canary"):
        lifecycle.get_task(sensor).poke_interval = POKE_S
    seen = {"first": run(lifecycle, FIRST) | {"serves": champion(image_url)}}
    observe(LATER)
    with steady_traffic(serving_url, LATER):
        seen["second"] = run(lifecycle, LATER) | {"serves": champion(image_url)}
    print(json.dumps(seen))


def observe(day: date) -> None:
    """The day's live look-ups: without them both models guess, and guess differently."""
    from core.config import settings
    from core.database import connect
    from pipeline.replay import feed
    from problems import load

    engine = connect(settings().store_url)
    feed(engine, load(), day)
    engine.dispose()


def champion(url: str) -> Any:
    from pipeline.deploy.local import LocalTarget

    found = LocalTarget(url).status()
    return found and found.champion


if __name__ == "__main__":
    main(*sys.argv[1:])
