"""The drills by name, in the order in which they run."""

from collections.abc import Callable

from tests.drills.disks import full_disk, full_spool
from tests.drills.ground import Ground
from tests.drills.kills import kill_minus_nine
from tests.drills.pressure import flood, slow_callers
from tests.drills.report import Report
from tests.drills.stores import locked_sqlite, silent_postgres, stopped_postgres

DRILLS: dict[str, Callable[[Ground], Report]] = {
    "kills": kill_minus_nine,
    "stopped": stopped_postgres,
    "silent": silent_postgres,
    "locked": locked_sqlite,
    "disk": full_disk,
    "spool": full_spool,
    "flood": flood,
    "slow": slow_callers,
}
