"""The one exception tree. A message says what happened and what to do next; the edges translate it.

The edges are the HTTP status (serving), the exit code (`loop`) and the task state (Airflow).
"""


class LoopError(Exception):
    """Anything that a person can act on."""


class ConfigError(LoopError):
    """A setting, a parameter or a problem file is wrong: the message names the key and what was expected."""


class DataError(LoopError):
    """The data cannot be used as they are: a missing partition, too few days, an unknown version."""


class ModelRefused(LoopError):
    """A model failed a check that keeps it from being registered or served."""


class OutOfMemory(LoopError):
    """A process was killed for want of memory, as far as can be seen."""


class RegistryError(LoopError):
    """The registry does not hold what was asked for, or refuses what was asked of it."""


class RegistryUnavailable(RegistryError):
    """The registry does not answer. Readers go on with what they have."""


class DeployError(LoopError):
    """A target did not reach the release that it was asked to serve."""


class StackError(LoopError):
    """A local process did not start, or a port or tool that it needs is not there."""
