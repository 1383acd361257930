"""What a server imports late, imported by the process that servers are forked from. It only saves their time."""

import psycopg  # noqa: F401
import sqlalchemy.dialects.postgresql
import sqlalchemy.dialects.sqlite  # noqa: F401
import uvicorn.lifespan.on
import uvicorn.loops.uvloop
import uvicorn.protocols.http.httptools_impl  # noqa: F401
from prometheus_client import generate_latest  # noqa: F401
