# SPDX-License-Identifier: MIT
# The built-in ledger as the black-box tests use it: shorthands for its commands, tolerant readers of what the contract
# leaves open (the shape of the JSON of queries, of `journal dump` and of `digest`). One place to change.
"""Shorthands for the ledger model."""

import json
import re

from harness import Failure, check, equal, memimage

I64_MAX = 2**63 - 1


def open_account(client, name, owner="o", currency="CZK", overdraft=None):
    extra = [] if overdraft is None else ["overdraft", overdraft]
    return client.call("DO", f"account/{name}", "Open", "owner", owner, "currency", currency, *extra)


def deposit(client, name, amount, *options):
    return client.call("DO", f"account/{name}", "Deposit", "amount", amount, *options)


def state(client, name):
    """The account's state as a dict, or None."""
    reply = client.call("GET", f"account/{name}")
    return None if reply is None else json.loads(reply)


def balance(client, name):
    return state(client, name)["balance"]


def version(client, name):
    reply = client.call("STATE", f"account/{name}")
    return 0 if reply is None else reply[0]


def totals(client):
    """QUERY account Totals as {currency: {accounts, open, balance, deposited, withdrawn}}."""
    answer = json.loads(client.call("QUERY", "account", "Totals"))
    if isinstance(answer, dict):
        answer = answer.get("totals", answer)
    if isinstance(answer, list):
        answer = {entry["currency"]: entry for entry in answer}
    for currency, entry in answer.items():
        equal(entry["balance"], entry["deposited"] - entry["withdrawn"], f"the balance of the {currency} totals")
    return answer


def top(client, currency, count):
    """QUERY account Top as a list of (id, balance)."""
    answer = json.loads(client.call("QUERY", "account", "Top", currency, count))
    if isinstance(answer, dict):
        answer = next(value for value in answer.values() if isinstance(value, list))
    names = ("id", "account", "subject")
    return [
        (next(str(entry[name]) for name in names if name in entry).removeprefix("account/"), entry["balance"])
        for entry in answer
    ]


def digest(client):
    """(position, 16 hex digits) of a live server."""
    reply = client.call("DIGEST")
    check(isinstance(reply, list) and len(reply) == 2, f"DIGEST answers an array of two, got {reply!r}")
    check(isinstance(reply[0], int), f"the position is an integer, got {reply[0]!r}")
    check(re.fullmatch(r"[0-9a-f]{16}", reply[1]), f"the digest has 16 hex digits, got {reply[1]!r}")
    return tuple(reply)


def offline_digest(directory, *options):
    """The 16 hex digits that `memimage digest` prints."""
    status, out, err = memimage("digest", "--dir", directory, *options)
    equal(status, 0, f"exit status of memimage digest ({err})")
    found = re.findall(r"\b[0-9a-f]{16}\b", out)
    check(len(found) == 1, f"one digest in {out!r}")
    return found[0]


def dumped_events(directory):
    """The events of `memimage journal dump`, as dicts with type, subject and data."""
    status, out, err = memimage("journal", "dump", "--dir", directory)
    equal(status, 0, f"exit status of memimage journal dump ({err})")
    events = []
    for line in out.splitlines():
        entry = json.loads(line)
        if isinstance(entry, dict) and str(entry.get("type", "")).startswith("account."):
            if "subject" not in entry or "data" not in entry:
                raise Failure(f"an event of the dump without subject or data: {line[:200]}")
            events.append(entry)
    return events
