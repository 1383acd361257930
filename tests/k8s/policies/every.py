"""All policies, and for which renderings they hold."""

from collections.abc import Callable, Iterator

from tests.k8s.policies import flows, pods, rights, scaling, wiring
from tests.k8s.rendered import Object

Policy = Callable[[list[Object]], Iterator[str]]
POLICIES: dict[str, Policy] = {
    policy.__name__: policy
    for policy in (
        pods.restricted, pods.bounded, pods.probed, pods.graceful, pods.drains, pods.unlinked, pods.writable,
        scaling.autoscaled, scaling.evictable, scaling.spread,
        flows.denied,
        rights.least, rights.tokens, rights.secretless, rights.at_home, rights.named,
        wiring.unique, wiring.complete, wiring.secrets_known, wiring.selecting, wiring.ports_named,
    )
}  # fmt: skip
