"""The drills by name, in the order in which they run."""

from collections.abc import Callable

from tests.drills.ground import Ground
from tests.drills.kills import kill_minus_nine
from tests.drills.report import Report

DRILLS: dict[str, Callable[[Ground], Report]] = {
    "kills": kill_minus_nine,
}
