# SPDX-License-Identifier: MIT
# Real input: 49,102 transactions of a bank with the bank's own balance after each (tests/data/berka). `memimage load`
# must end with every account at the bank's last balance, having passed through every balance the bank states.
"""Black-box test with the Berka transactions."""

import json
import os
import sys

from harness import ROOT, check, equal, main, memimage, test
from ledger import digest, dumped_events, offline_digest, totals

sys.path.insert(0, os.path.join(ROOT, "tests", "data", "berka"))

import to_ndjson  # noqa: E402


def write_ndjson(t, *options):
    path = os.path.join(t.scratch(), "berka.ndjson")
    equal(to_ndjson.main([*options, "--output", path]), 0, "exit status of the converter")
    return path


def last_balances(repeat=1):
    last = {}
    for row in to_ndjson.rows():
        last[row.account] = row.balance
    return {account + ending: value for account, value in last.items() for ending in to_ndjson.suffixes(repeat)}


def load(server, *words, **options):
    status, out, err = memimage("load", "--port", server.port, *words, **options)
    equal(status, 0, f"exit status of memimage load ({err[-2000:]})")
    return out


def check_last(client, last):
    replies = client.pipeline([("GET", f"account/{account}") for account in last])
    for (account, wanted), reply in zip(last.items(), replies):
        check(reply is not None, f"account {account} is missing")
        equal(json.loads(reply)["balance"], wanted, f"balance of account {account}")
    equal(totals(client)["CZK"]["balance"], sum(last.values()), "the sum of all balances")


@test("the bank's movements chain to the bank's balances")
def converter(_):
    equal(to_ndjson.check(), (49102, 1229, -544660), "rows, accounts, lowest balance")


@test("load in one command ends every account at the bank's last balance")
def loaded(t):
    path = write_ndjson(t, "--ids", "--notes")
    server, c = t.pair()
    load(server, path)
    last = last_balances()
    check_last(c, last)
    before = digest(c)
    equal(before[0], 49102 + 1229, "one event for each line")
    load(server, path)
    equal(digest(c), before, "a second load with the same keys has no effect")
    server.restart(crash=True)
    c = t.client(server)
    check_last(c, last)
    equal(digest(c), before, "digest after kill -9")
    server.stop()
    equal(offline_digest(server.directory, "--from-scratch"), before[1], "digest from scratch")


@test("load reads from standard input, and the journal passes through every balance of the bank")
def journaled(t):
    path = write_ndjson(t)
    server = t.server()
    with open(path, encoding="ascii") as handle:
        load(server, "-", input_text=handle.read())
    server.stop()
    balances, seen = {}, []
    for event in dumped_events(server.directory):
        account = event["subject"].removeprefix("account/")
        if event["type"] == "account.Opened":
            balances[account] = 0
        else:
            sign = {"account.Deposited": 1, "account.Withdrawn": -1}[event["type"]]
            balances[account] += sign * event["data"]["amount"]
            seen.append((account, balances[account]))
    equal(len(seen), 49102, "movements in the journal")
    for number, (row, got) in enumerate(zip(to_ndjson.rows(), seen), 1):
        equal(got, (row.account, row.balance), f"balance after row {number}")


@test("each account passes through every balance the bank states, seen by GET after each command")
def passed_through(t):
    server, c = t.pair()
    commands, wanted, opened = [], [], set()
    for row in to_ndjson.rows():
        name = f"account/{row.account}"
        if row.account not in opened:
            opened.add(row.account)
            commands.append(("DO", name, "Open", "owner", "berka", "currency", "CZK", "overdraft", to_ndjson.OVERDRAFT))
            wanted.append(None)
        verb = "Deposit" if row.movement > 0 else "Withdraw"
        commands.append(("DO", name, verb, "amount", abs(row.movement)))
        commands.append(("GET", name))
        wanted.extend((None, row.balance))
    for words, reply, value in zip(commands, c.pipeline(commands), wanted):
        if value is None:
            check(isinstance(reply, list), f"{words}: {reply!r}")
        else:
            equal(json.loads(reply)["balance"], value, f"balance of {words[1]}")


if __name__ == "__main__":
    sys.exit(main())
