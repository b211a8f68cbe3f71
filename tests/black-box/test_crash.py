# SPDX-License-Identifier: MIT
# kill -9 under concurrent load. Every command carries an idempotency key; a record outside the server says which were
# acknowledged, and with which answer. After each crash: what was acknowledged is there with the same answer, what was in
# flight is sent again, and at the end each key has had exactly one effect. Rounds from $ROUNDS (default 10).
"""Black-box test of crashes under load."""

import os
import random
import sys
import time

from harness import check, equal, main, test
from keyed import SHARED, WORKERS, Record, Worker, check_record, resend_all
from ledger import digest, offline_digest, open_account, state, version

ROUNDS = int(os.environ.get("ROUNDS", "10"))
SEED = int(os.environ.get("SEED", str(random.SystemRandom().randrange(2**32))))


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
