# SPDX-License-Identifier: MIT
# The account kept outside of the servers: what every key has to have done, once; what every event was that a follower heard;
# and what anybody was answered meanwhile, to be compared with it.
"""The books of a soak."""

import collections
import threading

from harness import check, equal
from ledger import state, top, totals, version

ACCOUNTS = 400
OVERDRAFT = 10**15
CHANGES = {"Opened": 0, "Deposited": 1, "Withdrawn": -1, "TransferSent": -1, "TransferReceived": 1}


def account(number):
    return f"acc-{number}"


class Books:
    """All of it but the history is by the answers; the history is by what the first follower was told."""

    def __init__(self):
        self.lock = threading.Lock()
        self.amounts = collections.Counter()
        self.versions = collections.Counter({account(n): 1 for n in range(ACCOUNTS)})
        self.deposited = self.withdrawn = self.commands = 0
        self.events = ACCOUNTS
        self.positions = set()  # of the answers of this round
        self.answers = []       # of this round: (account, version, position or None)
        self.seen = []          # by queries in this round: (account, first version, last version, balance)
        self.latest = None      # (account, version, position) of an answer
        self.history = {}       # (account, version) -> (balance, position): this round's events, and each account's last before

    def done(self, words, reply):
        name, kind, amount = words[1].removeprefix("account/"), words[2], words[words.index("amount") + 1]
        with self.lock:
            check(tuple(reply) not in self.positions, f"an answer came for two keys: {reply}")
            self.positions.add(tuple(reply))
            self.commands += 1
            self.events += 1
            self.amounts[name] += amount if kind == "Deposit" else -amount
            self.versions[name] += 1
            self.deposited += amount if kind == "Deposit" else 0
            self.withdrawn += amount if kind == "Withdraw" else 0
            if kind == "Transfer":
                self.events += 1
                self.amounts[words[4]] += amount
                self.versions[words[4]] += 1
            self.answers.append((name, reply[0], None if kind == "Transfer" else reply[1]))
            self.latest = (name, *reply)

    def saw(self, name, first, last, balance):
        with self.lock:
            self.seen.append((name, first, last, balance))

    def check_seen(self):
        """Every answer and everything that was shown on any node at any moment is what the followers were told; then the
        round's history goes."""
        for name, at, position in self.answers:
            check((name, at) in self.history, f"version {at} of {name} was answered, and no follower heard of it")
            if position is not None:
                equal(self.history[name, at][1], position, f"the position of version {at} of {name}")
        for name, first, last, balance in self.seen:
            told = [self.history[name, at][0] for at in range(first, last + 1) if (name, at) in self.history]
            equal(len(told), last + 1 - first, f"of versions {first} to {last} of {name} that were shown, those that happened")
            check(balance in told, f"a balance of {name} was shown as {balance}; at versions {first} to {last} it was {told}")
        checked = len(self.answers) + len(self.seen)
        self.history = {(name, at): self.history[name, at] for name, at in self.versions.items()}
        self.positions.clear()
        self.answers.clear()
        self.seen.clear()
        return checked

    def check_node(self, client):
        """All that a node at rest shows."""
        for number in range(ACCOUNTS):
            name = account(number)
            equal(state(client, name)["balance"], self.amounts[name], f"balance of {name}")
            equal(version(client, name), self.versions[name], f"version of {name}")
        equal(totals(client), {"CZK": {"accounts": ACCOUNTS, "open": ACCOUNTS, "balance": self.deposited - self.withdrawn,
                                       "deposited": self.deposited, "withdrawn": self.withdrawn}}, "the totals")
        equal([balance for _, balance in top(client, "CZK", 10)],
              sorted((self.amounts[account(n)] for n in range(ACCOUNTS)), reverse=True)[:10], "the highest balances")
