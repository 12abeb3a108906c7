"""A worker whose store is a Redis Cluster: it does what it always does, also after a master is lost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.consistency import check, watching
from tests.processes import install, running
from tests.servers.local_cluster import LocalRedisCluster
from tests.servers.plugin import MakesRedisCluster, Space
from tests.servers.ports import KafkaServer
from tests.servers.waiting import wait_until
from tests.stories import Traffic
from tests.traffic import sender
from worker.nodes import slot_of
from worker.settings import Settings

PARTITIONS: Final = 6
"""On all three masters: 2, 3 and 1 of them."""
SOME: Final = 120
"""Records, half a second of traffic: before, between and after faults."""
HEALED_WITHIN_S: Final = 20.0


@contextmanager
def traffic(settings: Settings) -> Iterator[Traffic]:
    with sender(settings, PARTITIONS) as send, Traffic(send, seed=random.randrange(2**32)) as made:
        made.wait_for(SOME)
        yield made


def test_a_replica_that_was_made_master_is_found_and_caught_up(
    real_kafka: KafkaServer, private_redis_cluster: MakesRedisCluster, space: Space
) -> None:
    """It may lack the last writes: its readers go back with it, whatever the worker does."""
    cluster = private_redis_cluster(replicas=1, cluster_node_timeout="1000")
    settings = install(real_kafka, cluster, space.prefix, PARTITIONS)
    with running(settings) as worker, traffic(settings) as made:
        failed = cluster.master_of(slot_of(0))
        failed.kill()
        made.wait_for(SOME)
        wait_until(lambda: cluster.master_of(slot_of(0)) is not failed, HEALED_WITHIN_S, "another has become master")
        made.wait_for(SOME)
        made.end()
        check(settings)
        assert worker.count("recoveries_total") > 0


def test_a_slot_that_is_moved_is_waited_for_and_found_where_it_is(
    real_kafka: KafkaServer, redis_cluster: LocalRedisCluster, space: Space
) -> None:
    settings = install(real_kafka, redis_cluster, space.prefix, PARTITIONS)
    with running(settings) as worker, watching(settings, PARTITIONS) as watched, traffic(settings) as made:
        assert worker.count("recoveries_total") == 0
        with redis_cluster.moving(slot_of(0)) as move:
            move.some(move.keys[::2])
            wait_until(lambda: worker.count("recoveries_total") > 0, HEALED_WITHIN_S, "the move is noticed")
            move.rest()
            made.wait_for(SOME)
        made.end()
        assert check(settings, watched).changes > SOME / 4
        assert watched.looks > 5
