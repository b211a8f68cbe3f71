# SPDX-License-Identifier: MIT
# A standby behind a bad network: a network namespace of its own whose link loses packets, is slow, or is cut. After each
# round the network is well again, and primary and standby must have the same digest and the same journal. Needs root and
# iproute2, nftables; skipped elsewhere. Rounds from $ROUNDS (default 3).
"""Black-box test of replication over a bad network."""

import os
import random
import shutil
import subprocess
import sys
import time

import harness
from harness import Skip, check, equal, main, test, wait_for
from ledger import open_account
from resp import Client, Closed

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SEED = int(os.environ.get("SEED", str(random.SystemRandom().randrange(2**32))))


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=20)


class Link:
    """A namespace with one end of a link in it."""

    def __init__(self, number):
        self.name = f"mimtest{os.getpid()}"
        self.near, self.far = f"mima{number}", f"mimb{number}"
        self.here, self.there = f"10.213.{number}.1", f"10.213.{number}.2"
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.near, "type", "veth", "peer", "name", self.far, "netns", self.name)
        run("ip", "addr", "add", f"{self.here}/24", "dev", self.near)
        run("ip", "link", "set", self.near, "up")
        self.inside("ip", "addr", "add", f"{self.there}/24", "dev", self.far)
        self.inside("ip", "link", "set", self.far, "up")
        self.inside("ip", "link", "set", "lo", "up")

    def inside(self, *words):
        run("ip", "netns", "exec", self.name, *words)

    def lose(self, percent):
        self.inside("nft", "add", "table", "inet", "bad")
        for hook in ("input", "output"):
            self.inside("nft", "add", "chain", "inet", "bad", hook, f"{{ type filter hook {hook} priority 0 ; }}")
            self.inside("nft", "add", "rule", "inet", "bad", hook, "numgen", "random", "mod", "100", "<", str(percent),
                        "drop")

    def slow(self, rate):
        run("tc", "qdisc", "add", "dev", self.near, "root", "tbf", "rate", rate, "burst", "16kb", "latency", "50ms")

    def cut(self):
        run("ip", "link", "set", self.near, "down")

    def mend(self):
        subprocess.run(["ip", "netns", "exec", self.name, "nft", "delete", "table", "inet", "bad"], check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20)
        subprocess.run(["tc", "qdisc", "del", "dev", self.near, "root"], check=False, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=20)
        run("ip", "link", "set", self.near, "up")

    def close(self):
        subprocess.run(["ip", "netns", "del", self.name], check=False, stderr=subprocess.DEVNULL, timeout=20)


def linked(t):
    if os.geteuid() != 0 or not all(shutil.which(tool) for tool in ("ip", "tc", "nft")):
        raise Skip("needs root, iproute2 and nftables")
    try:
        link = Link(random.SystemRandom().randrange(1, 250))
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as problem:
        raise Skip(f"no network namespaces here: {problem}") from None
    t.stack.callback(link.close)
    try:
        link.lose(1)
        link.slow("1gbit")
        link.mend()
    except subprocess.CalledProcessError as problem:
        raise Skip(f"no packet filter or rate limit here: {problem}") from None
    return link


def ask(host, port, *words):
    try:
        with Client(port, host=host, timeout=5) as client:
            client.call("AUTH", "secret")
            return client.ask(*words)
    except (Closed, OSError):
        return None


@test(f"a link that loses packets, crawls or is cut: the standby always converges ({ROUNDS} rounds)")
def bad_network(t):
    print(f"# SEED={SEED}")
    source = random.Random(SEED)
    link = linked(t)
    server = t.new_server(args=("--bind", link.here, "--requirepass", "secret", "--segment-size-max", "4m"))
    server.launch()
    wait_for(lambda: "ready" in server.stderr(), 20, "the primary")
    port, directory = harness.free_port(), os.path.join(t.scratch(), "data")
    follower = harness.Process(
        ["ip", "netns", "exec", link.name, harness.BINARY, "serve", "--dir", directory, "--port", str(port), "--bind",
         link.there, "--requirepass", "secret", "--replica-of", f"{link.here}:{server.port}", "--primary-password",
         "secret", "--replica-timeout", "2"], os.path.join(server.scratch, "standby"))
    t.stack.callback(follower.kill)
    kinds = []
    with Client(server.port, host=link.here) as c:
        c.call("AUTH", "secret")
        open_account(c, "a")
        for _ in range(ROUNDS):
            kinds.append(source.choice(("lose", "slow", "cut", "lose and slow")))
            if "lose" in kinds[-1]:
                link.lose(source.choice((5, 20, 50)))
            if "slow" in kinds[-1]:
                link.slow(source.choice(("1mbit", "20mbit")))
            if kinds[-1] == "cut":
                link.cut()
            else:
                c.pipeline([("DO", "account/a", "Deposit", "amount", 1, "@corr", "x" * 100)] * 3000)
            time.sleep(source.uniform(0.2, 2))
            link.mend()
            c.pipeline([("DO", "account/a", "Deposit", "amount", 1, "@corr", "x" * 100)] * 2000)
            wanted = c.call("DIGEST")
            wait_for(lambda wanted=wanted: ask(link.there, port, "DIGEST") == wanted, 60, f"convergence after {kinds}")
    equal(follower.running(), True, "the standby runs")
    for name in sorted(n for n in os.listdir(os.path.join(directory, "journal")) if n.endswith(".journal")):
        with open(os.path.join(directory, "journal", name), "rb") as mine, \
                open(os.path.join(server.directory, "journal", name), "rb") as theirs:
            own = mine.read().rstrip(b"\0")
            check(theirs.read(len(own)) == own, f"{name} is the primary's, byte for byte")
    print(f"# {', '.join(kinds)}")


if __name__ == "__main__":
    sys.exit(main())
