"""Injects a fault of the lab: those of a single host as in any chaos run, the rest by kind."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from harness.chaos import faults as chaos
from harness.chaos.faults import Apply, Injected
from harness.chaos.schedule import Planned
from harness.lab import schedule
from harness.lab.faults import clocks, disks, hosts, mysql, redis, temporal
from harness.lab.system import Lab

BY_KIND: Mapping[str, Apply[Lab]] = {
    schedule.LOSSY_PROMOTION: mysql.lossy_promotion,
    schedule.SWITCH_OVER: mysql.switch_over,
    schedule.SEMI_SYNCHRONOUS: mysql.lossy_if_any,
    schedule.BACKUP: mysql.backup_restored,
    schedule.REPLICATION_STOPPED: mysql.replication_stopped,
    schedule.SENTINEL: redis.sentinel_fail_over,
    schedule.REDIS_LOSSY: redis.redis_lossy,
    schedule.REDIS_EMPTY: redis.redis_empty,
    schedule.NO_SENTINEL_QUORUM: redis.no_quorum,
    schedule.TEMPORAL_WIPED: temporal.temporal_wiped,
    schedule.TEMPORAL_RESTORED: temporal.temporal_restored,
    schedule.FULL_DISK: disks.full_disk,
    schedule.POWER: disks.power_loss,
    schedule.SPLIT: hosts.split,
    schedule.ONE_WAY: hosts.one_way,
    schedule.UNPLUGGED: hosts.unplugged,
    schedule.SLOW: hosts.bad_cable,
    schedule.PACKET_LOSS: hosts.bad_cable,
    schedule.REORDER: hosts.bad_cable,
    schedule.DUPLICATE: hosts.bad_cable,
    schedule.REBOOT: hosts.reboot,
    schedule.ROLLING: hosts.rolling,
    schedule.DRAIN: hosts.drain,
    schedule.PROXY_RESTART: hosts.proxy_restart,
    schedule.CLOCK_JUMP: clocks.clock_jumps,
    schedule.CLOCK_DRIFT: clocks.clock_drifts,
    schedule.ROLLBACK: hosts.rolled_back,
}


def injected(lab: Lab, fault: Planned) -> AbstractAsyncContextManager[Injected]:
    """The fault holds inside the context; leaving it heals. Proof is complete after it."""
    return chaos.injected(lab, fault, BY_KIND)
