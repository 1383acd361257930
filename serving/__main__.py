"""`python -m serving`: one server process for the problem that the settings name."""

import argparse
import gc
import logging
import sys
from urllib.parse import urlparse

import uvicorn

import problems
from core import logs
from core.config import Settings, settings
from core.errors import LoopError
from serving.app import create_app
from serving.connections import connection
from serving.keys import refuse_open

DRAIN_S = 20  # for requests in flight when the process is told to stop
SWITCH_S = 0.0001  # how long the shipper's thread may keep the interpreter from the requests
GARBAGE = 20_000, 20, 20  # hardly anything makes cycles; with Python's 700 the search took a fifth of a batch's time
KEEP_ALIVE_S = 75  # longer than the usual proxy's, so that the proxy is the one to close


def main() -> None:
    logs.configure(discreet=True)
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*GARBAGE)
    try:
        found = settings()
        arguments = _arguments(found)
        refuse_open(arguments.host, found.keys_path)
        app = create_app(problems.load(), found)
    except LoopError as error:
        logging.getLogger(__name__).error("%s", error)
        sys.exit(1)
    uvicorn.run(
        app,
        host=arguments.host,
        port=arguments.port,
        loop="uvloop",
        http=connection(app.state.server),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here depends on who a proxy says is asking, and it costs every request
        timeout_graceful_shutdown=DRAIN_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )


def _arguments(found: Settings) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    default = found.serving_port or urlparse(found.serving_url).port or 8000
    parser.add_argument("--port", type=int, default=default, help="port to listen on (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
