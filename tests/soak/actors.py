# SPDX-License-Identifier: MIT
# Who is busy during a soak: workers with keyed commands, readers on any node, followers as processes. Each goes on in the
# face of faults, and keeps what is wrong for the end of the round.
"""The actors of a soak."""

import collections
import json
import os
import random
import subprocess
import sys
import threading
import time

from books import ACCOUNTS, CHANGES, account
from follower import GONE as FOLLOWER_GONE
from harness import Failure, check, equal
from resp import Client, Closed, RespError, encode

WORKERS = 6
PAUSE_S = 0.02 # of a worker between pipelines: about half a core in all
PATIENCE_S = 120
GONE = (Closed, OSError, TimeoutError)
NOT_NOW = ("READONLY", "LOADING", "MASTERDOWN")
NOT_THERE = ("archived", "Too many open files") # of history, which is read from files
FOLLOWER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "follower.py")


class Actor(threading.Thread):
    """Somebody who goes on in the face of faults until told to stop."""

    def __init__(self, soak, seed):
        super().__init__(daemon=True)
        self.soak = soak
        self.random = random.Random(seed)
        self.ending = threading.Event()
        self.problem = None
        self.count = 0

    def run(self):
        while not self.finished():
            try:
                with Client(self.soak.port_for(self), timeout=60) as client:
                    self.work(client)
            except GONE:
                time.sleep(0.05)
            except Exception as problem:  # whatever it is, the round reports it
                self.problem = problem
                return

    def finished(self):
        return self.ending.is_set()

    def work(self, client):
        raise NotImplementedError

    def end(self):
        self.ending.set()
        self.join(PATIENCE_S)
        check(not self.is_alive(), f"{type(self).__name__} does not end")
        if self.problem is not None:
            raise self.problem


class Worker(Actor):
    """Pipelines of keyed commands. What has no answer is sent again with its key, until it has one."""

    def __init__(self, soak, seed, number):
        super().__init__(soak, seed)
        self.number = number
        self.open = {}  # key -> words, without an answer yet
        self.known = collections.deque(maxlen=40)  # (key, words, answer): sent again at the end, to the same answer
        self.next = 0

    def finished(self):
        return self.ending.is_set() and not self.open

    def new_command(self):
        self.next += 1
        key = f"w{self.number}-{self.next}"
        name = f"account/{account(self.random.randrange(ACCOUNTS))}"
        amount = self.random.randrange(1, 100)
        kind = self.random.choice(("Deposit", "Deposit", "Withdraw", "Transfer"))
        to = ("to", account(self.random.randrange(ACCOUNTS))) if kind == "Transfer" else ()
        if to and to[1] == name.removeprefix("account/"):
            kind, to = "Deposit", ()
        self.open[key] = ("DO", name, kind, *to, "amount", amount, "@id", key, "@corr", f"c{self.number}")

    def work(self, client):
        while not self.finished():
            for _ in range(0 if self.ending.is_set() else self.random.randrange(1, 17)):
                self.new_command()
            batch = list(self.open.items())
            client.send_raw(b"".join(encode(*words) for _, words in batch))
            for key, words in batch:
                self.answered(key, words, client.read())
            time.sleep(PAUSE_S)
        for key, words, answer in self.known:
            again = client.ask(*words)
            if isinstance(again, RespError) and again.code in ("UNKNOWN", "NOREPLICAS", *NOT_NOW):
                return
            equal(again, answer, f"the answer to {key} again")

    def answered(self, key, words, reply):
        if isinstance(reply, RespError):
            if reply.code in ("UNKNOWN", "NOREPLICAS"):  # sent again
                return
            if reply.code in NOT_NOW:
                raise Closed("not the primary any more")
            raise Failure(f"{key}: {reply.text}")
        del self.open[key]
        self.known.append((key, words, reply))
        self.count += 1
        self.soak.books.done(words, reply)


class Reader(Actor):
    """Queries into present and past, on any node. What is shown goes into the books, to be compared."""

    def ask(self, client, *words):
        reply = client.ask(*words)
        self.count += 1
        if not isinstance(reply, RespError):
            return reply
        if reply.code not in ("LOADING", "MASTERDOWN", "UNKNOWN") and not any(text in reply.text for text in NOT_THERE):
            raise Failure(f"{words}: {reply.text}")
        return None

    def work(self, client):
        while not self.ending.is_set():
            name = account(self.random.randrange(ACCOUNTS))
            before = self.ask(client, "STATE", f"account/{name}")
            shown = self.ask(client, "GET", f"account/{name}")
            after = self.ask(client, "STATE", f"account/{name}")
            if before and shown and after:
                self.compare(client, name, before, shown, after)
            self.own_write(client)
            totals = self.ask(client, "QUERY", "account", "Totals")
            if totals:
                sums = json.loads(totals)["CZK"]
                equal((sums["accounts"], sums["balance"]), (ACCOUNTS, sums["deposited"] - sums["withdrawn"]), "the totals")
            self.ask(client, "JOURNAL", "CORR", f"c{self.random.randrange(WORKERS)}", "COUNT", 5)
            time.sleep(0.05)

    def compare(self, client, name, before, shown, after):
        check(before[0] <= after[0], f"{name} went back from version {before[0]} to {after[0]}")
        for version, text in (before, after):
            self.soak.books.saw(name, version, version, json.loads(text)["balance"])
        self.soak.books.saw(name, before[0], after[0], json.loads(shown)["balance"])
        then = self.ask(client, "STATE", f"account/{name}", "AT", "VERSION", before[0])
        check(then is None or then == before, f"{name} at version {before[0]} was {before}, and is told as {then}")
        events = self.ask(client, "EVENTS", f"account/{name}", "FROM", max(1, before[0] - 5), "TO", before[0])
        if events:
            equal([json.loads(event)["streamversion"] for event in events],
                  list(range(max(1, before[0] - 5), before[0] + 1)), f"the versions of {name}")

    def own_write(self, client):
        """What somebody was answered is here when asked for by its position."""
        latest = self.soak.books.latest
        if latest is not None:
            name, version, position = latest
            reply = self.ask(client, "STATE", f"account/{name}", "MIN", "POSITION", position)
            check(reply is None or reply[0] >= version, f"{name} had version {version} at {position}: {reply}")


class Follower(Actor):
    """Folds what its process is told into balances; no gap, no repeat, whatever happens to the process or its server."""

    def __init__(self, soak, seed, history):
        super().__init__(soak, seed)
        self.history = history  # writes the books' history
        self.position = 0
        self.amounts = collections.Counter()
        self.versions = collections.Counter()
        self.child = None

    def run(self):
        while not self.finished():
            words = [sys.executable, FOLLOWER, str(self.soak.port_for(self)), str(self.position + 1)]
            with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as self.child:
                try:
                    for line in self.child.stdout:
                        if line.endswith("\n"):  # the last one of a killed process may be cut short
                            self.fold(*line.split(" "))
                    status, told = self.child.wait(), self.child.stderr.read()
                    check(status in (FOLLOWER_GONE, -9), f"a follower ended with status {status}: {told}")
                except Exception as problem:
                    self.child.kill()
                    self.problem = problem
                    return
            time.sleep(0.05)

    def fold(self, position, name, version, kind, amount, audience):
        equal(int(position), self.position + 1, "the next event of a follower")
        equal(int(version), self.versions[name] + 1, f"the next version of {name}")
        self.position += 1
        self.versions[name] += 1
        self.amounts[name] += CHANGES[kind] * int(amount)
        equal(audience, f"bank,{'odd' if self.amounts[name] % 2 else 'even'}\n", f"who hears of event {position}")
        self.count += 1
        if self.history:
            self.soak.books.history[name, int(version)] = (self.amounts[name], int(position))

    def kill(self):
        if self.child is not None:
            self.child.kill()

    def end(self):
        self.ending.set()
        while self.is_alive():
            self.kill()
            self.join(0.2)
        if self.problem is not None:
            raise self.problem
