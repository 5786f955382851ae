"""Which Locust worker gets which kind of user: senders and listeners never share a process.

Ten thousand listeners beside a sender make it late (measured: p99 18 ms), and
the lateness would pass for the server's. With one worker there is no choice.
"""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

from locust.dispatch import UsersDispatcher

from harness.run.roles import share_workers


class RoleDispatcher(UsersDispatcher):
    """Locust's dispatcher, with workers that keep to one kind of user."""

    def _turns(self) -> Mapping[str, Any]:
        kinds = {u.__name__: getattr(u, "kind", "") for u in self._original_user_classes}
        nodes = {node.id: node for node in self._worker_nodes}
        shares = share_workers(list(nodes), kinds.values())
        turns = {kind: cycle([nodes[i] for i in ids]) for kind, ids in shares.items()}
        return {name: turns[kind] for name, kind in kinds.items()}

    def _add_users_on_workers(self) -> dict[str, dict[str, int]]:
        target = min(
            self._current_user_count + self._user_count_per_dispatch_iteration,
            self._target_user_count,
        )
        if not hasattr(self, "_role_turns"):
            self._role_turns = self._turns()
        for user in self._user_generator:
            if not user:
                self._no_user_to_spawn = True
                break
            node = next(self._role_turns[user])
            self._users_on_workers[node.id][user] += 1
            self._current_user_count += 1
            self._active_users.append((node, user))
            if self._current_user_count >= target:
                break
        return dict(self._users_on_workers)

    def _distribute_users(self, target_user_count: int) -> tuple[Any, Any, Any, Any]:
        self._role_turns = turns = self._turns()
        _, user_generator, worker_generator, _ = super()._distribute_users(0)
        placed = {
            node.id: {u.__name__: 0 for u in self._original_user_classes}
            for node in self._worker_nodes
        }
        active = []
        for _ in range(target_user_count):
            user = next(user_generator)
            if not user:
                break
            node = next(turns[user])
            placed[node.id][user] += 1
            active.append((node, user))
        return placed, user_generator, worker_generator, active
