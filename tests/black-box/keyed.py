# SPDX-License-Identifier: MIT
# Load whose every command carries an idempotency key, and an outside record of which were acknowledged and how. After
# whatever happens to the server, the record says what must be there: shared by the tests of crashes and of power cuts.
"""Keyed load and its record."""

import random
import threading

from harness import check, equal
from ledger import digest, state, totals, version
from resp import Client, Closed, RespError, encode

WORKERS = 6
PIPELINE = 16
SHARED = [f"shared-{number}" for number in range(4)]


class Worker(threading.Thread):
    """One connection's life between two crashes: pipelines of keyed commands until the server is gone."""

    def __init__(self, port, record, seed):
        super().__init__(daemon=True)
        self.port = port
        self.record = record
        self.random = random.Random(seed)
        self.problem = None

    def run(self):
        try:
            with Client(self.port) as client:
                while True:
                    self.one_pipeline(client)
        except (Closed, OSError):
            pass
        except Exception as problem:  # whatever it is, the round reports it
            self.problem = problem

    def one_pipeline(self, client):
        batch = [self.record.new_command(self.random) for _ in range(self.random.randrange(1, PIPELINE + 1))]
        client.send_raw(b"".join(encode(*words) for _, words in batch))
        for key, _ in batch:
            self.record.answered(key, client.read())


class Record:
    """One worker's outside record: key -> (words, answer); the answer is None while unknown."""

    def __init__(self, number):
        self.number = number
        self.account = f"own-{number}"
        self.entries = {}

    def new_command(self, source):
        key = f"w{self.number}-{len(self.entries)}"
        amount = source.randrange(1, 100)
        kind = source.randrange(4)
        if kind == 0:
            words = ("DO", f"account/{source.choice(SHARED)}", "Deposit", "amount", amount, "@id", key)
        elif kind == 1:
            words = ("DO", f"account/{self.account}", "Transfer", "to", source.choice(SHARED), "amount", amount,
                     "@id", key)
        elif kind == 2:
            words = ("DO", f"account/{self.account}", "Withdraw", "amount", amount, "@id", key)
        else:
            words = ("DO", f"account/{self.account}", "Deposit", "amount", amount, "@id", key)
        self.entries[key] = [words, None]
        return key, words

    def answered(self, key, reply):
        if isinstance(reply, RespError):
            if reply.code != "UNKNOWN":  # that one says itself that it has to be sent again
                raise AssertionError(f"{key}: {reply.text}")
        else:
            self.entries[key][1] = reply


def resend_all(client, records, only_unknown):
    """Sends keys again: a known answer must come again, an unknown one is recorded."""
    for record in records:
        wanted = [(key, entry) for key, entry in record.entries.items() if entry[1] is None or not only_unknown]
        replies = client.pipeline([entry[0] for _, entry in wanted])
        for (key, entry), reply in zip(wanted, replies):
            check(not isinstance(reply, RespError), f"{key} again: {reply!r}")
            if entry[1] is None:
                entry[1] = reply
            equal(reply, entry[1], f"the answer to {key} again")


def expected_balances(records):
    """The balances and versions when each key has had exactly one effect."""
    amounts = {name: 0 for name in SHARED} | {record.account: 0 for record in records}
    versions = dict.fromkeys(amounts, 1)
    for record in records:
        for words, _ in record.entries.values():
            name, amount = words[1].removeprefix("account/"), words[words.index("amount") + 1]
            amounts[name] += amount if words[2] == "Deposit" else -amount
            versions[name] += 1
            if words[2] == "Transfer":
                amounts[words[4]] += amount
                versions[words[4]] += 1
    return amounts, versions


def check_record(client, records):
    """Each key has had one effect: balances, versions, totals, positions without gaps."""
    amounts, versions = expected_balances(records)
    for name, amount in amounts.items():
        equal(state(client, name)["balance"], amount, f"balance of {name}")
        equal(version(client, name), versions[name], f"version of {name}")
    equal(totals(client)["CZK"]["balance"], sum(amounts.values()), "the sum of all balances")
    equal(digest(client)[0], sum(versions.values()), "the position: one for each event")
    positions = [entry[1][1] for record in records for entry in record.entries.values()]
    equal(len(set(positions)), len(positions), "different positions for different keys")
