# SPDX-License-Identifier: MIT
# kill -9 under concurrent load. Every command carries an idempotency key; a record outside the server says which were
# acknowledged, and with which answer. After each crash: what was acknowledged is there with the same answer, what was in
# flight is sent again, and at the end each key has had exactly one effect. Rounds from $ROUNDS (default 10).
"""Black-box test of crashes under load."""

import os
import random
import sys
import threading
import time

from harness import check, equal, main, test
from ledger import digest, offline_digest, open_account, state, totals, version
from resp import Client, Closed, RespError, encode

ROUNDS = int(os.environ.get("ROUNDS", "10"))
SEED = int(os.environ.get("SEED", str(random.SystemRandom().randrange(2**32))))
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
            raise AssertionError(f"{key}: {reply.text}")
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


def one_round(server, records, source):
    """Load, kill -9 at a random moment, restart, and the record holds."""
    workers = [Worker(server.port, record, source.randrange(2**32)) for record in records]
    for worker in workers:
        worker.start()
    time.sleep(source.uniform(0.02, 0.4))
    server.kill()
    for worker in workers:
        worker.join(30)
        check(not worker.is_alive(), "a worker still waits for an answer of a killed server")
        check(worker.problem is None, f"a worker failed: {worker.problem!r}")
    server.start()


@test(f"{ROUNDS} rounds of kill -9 under load lose nothing acknowledged and apply nothing twice")
def rounds(t):
    print(f"# SEED={SEED}")
    source = random.Random(SEED)
    # Every key ever used is sent again: the window must hold them all.
    server, c = t.pair(args=("--idempotency-window", "100000000"))
    records = [Record(number) for number in range(WORKERS)]
    for name in SHARED + [record.account for record in records]:
        open_account(c, name, overdraft=10**12)
    for number in range(ROUNDS):
        one_round(server, records, source)
        with server.client() as client:
            resend_all(client, records, only_unknown=number % max(4, ROUNDS // 8) != 3)
            check_record(client, records)
    with server.client() as client:
        resend_all(client, records, only_unknown=False)
        check_record(client, records)
        live = digest(client)
    count = sum(len(record.entries) for record in records)
    print(f"# {count} commands, {live[0]} events, {server.starts} starts")
    server.kill()
    equal(offline_digest(server.directory, "--from-scratch"), live[1], "the digest from scratch")


@test("a crash in each of the first moments of a server's life leaves a directory that starts")
def early_crashes(t):
    server = t.new_server()
    for number in range(12):
        server.launch()
        time.sleep(number * 0.004)
        server.kill()
    server.start()
    with server.client() as client:
        equal(open_account(client, "a"), [1, 1], "the first command")
    server.kill()
    for number in range(8):
        server.launch()
        time.sleep(number * 0.004)
        server.kill()
    server.start()
    with server.client() as client:
        equal(state(client, "a")["balance"], 0, "the account after crashes at start")


@test("interval and none lose nothing at a process crash")
def other_modes(t):
    for mode in ("interval:50", "none"):
        server, c = t.pair(args=("--durability", mode))
        open_account(c, "a")
        replies = c.pipeline([("DO", "account/a", "Deposit", "amount", 1)] * 5000)
        server.restart(crash=True)
        with server.client() as client:
            equal(version(client, "a"), replies[-1][0], f"version after kill -9 with {mode}")


if __name__ == "__main__":
    sys.exit(main())
