"""Kafka's own tools, as its bin/*.sh start them: by class, with jars that Maven fetches once."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.deploy.tools import TIMEOUT_S, go_without
from worker.servers.java import Jars, version_in

_POM: Final = Path(__file__).parent / "pom.xml"
VERSION: Final = version_in(_POM, "kafka-tools")
JARS: Final = Jars(f"the tools of Apache Kafka {VERSION}", f"kafka-tools-{VERSION}", _POM)
CLASSES: Final = {
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
    "kafka-consumer-groups.sh": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-transactions.sh": "org.apache.kafka.tools.TransactionsCommand",
}
PATIENCE: Final = 3
"""A tool needs a second where it has a core to itself."""


def run_tool(name: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """A tool by the name of its script. Skips the test, or fails it in CI, where it cannot be had."""
    why_not = JARS.unavailable()
    if why_not is not None:
        go_without(why_not)
    # They run for a second: what makes a long run fast would take longer than that.
    return subprocess.run(
        JARS.command("-XX:TieredStopAtLevel=1", CLASSES[name], *arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE * TIMEOUT_S,
        check=False,
    )
