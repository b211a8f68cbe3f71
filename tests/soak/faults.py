# SPDX-License-Identifier: MIT
# What goes wrong during a soak, each fault leaving a cluster that heals by itself.
"""The faults of a soak."""

import contextlib
import os
import resource
import signal
import socket
import time

from actors import GONE, PATIENCE_S
from books import account
from harness import check, equal, memimage, wait_for
from resp import encode

# name: how often among the others; is a server killed or another one made the primary?
FAULTS = {"promotion": (1, True), "switchover": (1, True), "primary_killed": (1, True), "standby_killed": (3, True),
          "standby_stopped": (4, False), "redis_stopped": (3, False), "redis_killed": (1, False), "snapshot_killed": (3, False),
          "follower_killed": (4, False), "descriptors": (2, False), "storm": (4, False), "deaf": (4, False)}


class Faults:
    """Part of a Soak."""

    def strike(self, rare):
        names = [name for name, (weight, kills) in FAULTS.items() for _ in range(weight) if rare or not kills]
        name = self.random.choice(names)
        self.counts[f"fault {name}"] += 1
        getattr(self, f"fault_{name}")()

    def fault_promotion(self):
        """The primary dies; the standby that has more is promoted, and the others follow it."""
        former = self.primary
        former.kill()
        chosen = max(self.standbys(), key=lambda node: self.ask(node, "DIGEST")[0])
        equal(self.ask(chosen, "REPLICAOF", "NO", "ONE"), "OK", "promotion")
        self.primary = chosen
        chosen.args = self.options_of(chosen)
        for node in self.standbys():
            if node is former:
                self.follow(node)
            else:
                self.turn(node)

    def fault_switchover(self):
        """The planned way: a standby takes over, nobody dies."""
        status, _, err = memimage("switchover", "--port", self.primary.port)
        if status != 0:  # no standby was near enough in that moment: all stays as it was
            equal(self.told(self.primary)["fenced"], "0", f"fenced, after {err}")
            self.counts["switch-overs refused"] += 1
            return
        former = self.primary
        self.primary = wait_for(lambda: next((node for node in self.standbys() if self.ask(node, "ROLE")[0] == "master"), None),
                                PATIENCE_S, f"the new primary ({err})")
        self.primary.args = self.options_of(self.primary)
        for node in self.standbys():
            self.turn(node, told=node is former)

    def fault_primary_killed(self):
        self.primary.kill()
        self.primary.start()

    def fault_standby_killed(self):
        node = self.random.choice(self.standbys())
        node.kill()
        node.start()

    def fault_standby_stopped(self):
        node = self.random.choice(self.standbys())
        node.process.signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.2, 3))
        node.process.signal(signal.SIGCONT)

    def fault_redis_stopped(self):
        self.redis.process.signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.2, 2))
        self.redis.process.signal(signal.SIGCONT)

    def fault_redis_killed(self):
        self.redis.kill()
        time.sleep(self.random.uniform(0, 1))
        self.redis.start()

    def fault_snapshot_killed(self):
        """SNAPSHOT, and its process dies."""
        with self.primary.client() as client:
            client.send("SNAPSHOT")
            time.sleep(self.random.uniform(0, 0.05))
            with open(f"/proc/{self.primary.process.pid}/task/{self.primary.process.pid}/children", encoding="ascii") as file:
                for child in file.read().split():
                    self.counts["snapshot processes killed"] += 1
                    os.kill(int(child), signal.SIGKILL)

    def fault_follower_killed(self):
        self.random.choice(self.followers).kill()

    def fault_descriptors(self):
        """A server has no descriptors left for some time: whoever was there is served, whoever comes has to wait."""
        node = self.random.choice(self.nodes)
        pid = node.process.pid
        used = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 3, before[1]))
        try:
            with contextlib.ExitStack() as stack:
                for _ in range(20):
                    with contextlib.suppress(*GONE):
                        stack.enter_context(socket.create_connection(("127.0.0.1", node.port), timeout=2))
                time.sleep(self.random.uniform(0.2, 3))
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        check(node.process.running(), f"a server without descriptors ended: {node.stderr()[-500:]}")

    def fault_storm(self):
        with contextlib.ExitStack() as stack:
            for _ in range(300):
                stack.enter_context(self.primary.client()).send("PING")

    def fault_deaf(self):
        """A client that asks and does not read."""
        with self.primary.client() as client:
            client.socket.settimeout(1)
            try:
                for _ in range(2000):
                    client.socket.send(encode("EVENTS", f"account/{account(0)}", "COUNT", 100))
            except OSError:
                pass
            time.sleep(0.2)
