"""`make e2e-k8s`: the whole loop on the cluster of the present kubectl context, judged under load.

    python3 -m tests.e2e             builds and loads the images, applies tests/e2e/overlay, plays the story, judges
    E2E_LOAD='kind load docker-image {}'    how the cluster takes an image, where the context's name does not tell
    E2E_BUILD=no                            the images are built already
    E2E_STORY=only                          the cluster runs already and has two versions

It needs kubectl, docker and a python3; about half an hour. It leaves the namespace closed-loop as it is.
"""

import os
import sys
import time

from tests.e2e import judge
from tests.e2e.kubectl import Kubectl, load_images
from tests.e2e.story import Story

HOLD_S = 15.0
SECOND_DAY = "2013-05-10"


def main() -> None:
    cluster, started = Kubectl(), time.monotonic()
    story = Story(cluster, HOLD_S, lambda line: print(f"{time.monotonic() - started:6.0f} s  {line}", flush=True))
    if os.environ.get("E2E_STORY") != "only":
        bring_up(cluster, story)
    champion = cluster.champion()
    cluster.start_load()
    story.tell(champion, other={"1": "2", "2": "1"}[champion])
    seconds = judge.read(cluster.stop_load())
    print(judge.table(story.phases, seconds))
    if faults := judge.faults(story.phases, seconds):
        sys.exit("\n".join(["", *faults[:50], f"{len(faults)} faults"]))
    print("No request was lost, and no wrong version answered.")


def bring_up(cluster: Kubectl, story: Story) -> None:
    """Everything from nothing, and two versions, the second by a life cycle whose trial sees the load."""
    story.say("images")
    load_images()
    story.say("kubectl apply")
    cluster.apply()
    story.say("the first life cycle")
    story.say(f"version {cluster.lifecycle(1)} is the champion")
    cluster.start_load()
    cluster.trigger(SECOND_DAY)
    story.say("the second life cycle, under load")
    story.say(f"version {cluster.lifecycle(2)} is the champion")
    seconds = judge.read(cluster.stop_load())
    if faults := [why for second in seconds for why in (*second.lost, *second.again)]:
        sys.exit("\n".join(["in the second life cycle:", *faults[:50]]))


if __name__ == "__main__":
    main()
