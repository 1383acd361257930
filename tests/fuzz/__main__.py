"""`make fuzz-serving`: a real server is asked all that its document allows, and what nobody should ask.

No 5xx but a deliberate 503, no crash, memory bounded; everything that is refused is refused with a reason.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable

from tests.drills.ground import Ground, ground
from tests.drills.pressure import Watched
from tests.fuzz import bodies, openapi, wires
from tests.fuzz.judge import Judge

PROBLEMS = ("flights", "digits")


def main() -> int:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=2013, help="of everything that is random; try others")
    parser.add_argument("--seconds", type=int, default=20, help="of random damage, and of schemathesis, a problem")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    wrong = [found for problem in PROBLEMS for found in _fuzz(problem, arguments.seed, arguments.seconds)]
    print(*(f"WRONG: {found}" for found in wrong), sep="\n")
    return 1 if wrong else 0


def _fuzz(problem: str, seed: int, seconds: int) -> list[str]:
    with ground(seed, problem=problem) as found:
        server = found.server()
        judge = Judge(found, server.port)
        with Watched(server) as watched:
            _timed(f"{problem}: nasty bodies", judge, lambda: nasty(judge, found))
            _timed(f"{problem}: damaged bodies", judge, lambda: damaged(judge, found, seconds / 2))
            if problem == PROBLEMS[0]:  # the others would be read by the same code
                _timed(f"{problem}: raw requests", judge, lambda: wires.send_all(judge, found.row))
            judge.closing(watched)
            said = openapi.violations(server.url, seed, 100, seconds)
        print(f"{problem}: schemathesis {'WRONG' if said else 'finds nothing'}; {watched.most_mb:.0f} MB", flush=True)
        return judge.wrong + ([said] if said else [])


def nasty(judge: Judge, found: Ground) -> None:
    for about, body in bodies.nasty(found.row, found.spec):
        judge.post(about, "/predict", body)
        judge.post(f"{about}, in a batch", "/predict/batch", b'{"rows": [' + body + b"]}")


def damaged(judge: Judge, found: Ground, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        body = bodies.damaged(found.row, found.random)
        judge.post(f"damaged {body[:2000]!r}", found.random.choice(("/predict", "/predict/batch")), body)


def _timed(about: str, judge: Judge, do: Callable[[], None]) -> None:
    started, before = time.monotonic(), (judge.asked, len(judge.wrong))
    do()
    asked, wrong = judge.asked - before[0], len(judge.wrong) - before[1]
    print(f"{about}: {asked:,} in {time.monotonic() - started:.0f} s, {wrong} wrong", flush=True)


if __name__ == "__main__":
    sys.exit(main())
