# SPDX-License-Identifier: MIT
# `memimage check`: a journal that a good model wrote is replayed by models that each break one rule of evolve, at one
# known event; that event is named. Good models pass, over the golden samples too.
"""Black-box test of memimage check."""

import json
import os
import re
import sys

from harness import BINARY, ROOT, check, equal, main, memimage, sanitized, test
from ledger import digest

MODELS = os.environ.get("MEMIMAGE_MODELS", os.path.join(os.path.dirname(BINARY), "tests", "models"))
SAMPLES = os.path.join(ROOT, "snapshots")
GOLDEN = os.path.join(ROOT, "tests", "golden")
EVENTS = 2500
UNLUCKY = 1777  # the position of the only event that the planted faults strike at


def dice(name):
    return os.path.join(MODELS, f"dice-{name}.so")


def rolled(t):
    """A stopped server's directory with rolls of forty dice, a snapshot among them."""
    server = t.server(args=("--model", dice("good")))
    with server.client() as c:
        for first, last in ((1, 2000), (2001, EVENTS)):
            c.pipeline([("DO", f"dice/d-{n % 40}", "Roll", "value", 13 if n == UNLUCKY else 14 + n % 900)
                        for n in range(first, last + 1)])
            if last == 2000:
                equal(c.call("SNAPSHOT"), 2000, "a snapshot")
        live = digest(c)
    equal(server.stop(), 0, "exit status")
    return server.directory, live


def judge(*words):
    """Exit status, the JSON that was told, and stderr."""
    status, out, err = memimage("check", *words, "--json")
    return status, json.loads(out) if out else None, err


def caught(directory, fault, *patterns):
    status, told, err = judge(dice(fault), "--journal", directory)
    equal((status, told and told["deterministic"]), (2, False), f"{fault}: {err}")
    for pattern in patterns:
        check(re.search(pattern, told["text"]), f"{fault}: {told['text']!r} tells {pattern!r}")
    check(told["text"] in err, err)
    return told["from"], told["to"]


@test("planted faults of evolve are caught, and the very event is named")
def planted(t):
    directory, live = rolled(t)
    status, told, err = judge(dice("good"), "--journal", directory)
    equal((status, err), (0, ""), f"the good model: {told}")
    equal(told, {"model": "dice", "deterministic": True, "position": EVENTS, "snapshots": 1}, "the good model")
    status, out, _ = memimage("check", dice("good"), "--journal", directory)
    equal(status, 0, out)
    check(f"digest {live[1]}" in out, out)
    subject = rf"position {UNLUCKY}, event dice\.Rolled of dice/d-{UNLUCKY % 40}: "
    shown = subject + r'one replay makes \{"name":.*\}|\.\.\., another \{'
    for fault in ("rand", "counter", "pointer", "constant", "offset"):
        equal(caught(directory, fault, shown), (UNLUCKY, UNLUCKY), fault)
    if not sanitized():  # it fills stack and heap itself
        for fault in ("uninitialised", "heap"):
            equal(caught(directory, fault, subject), (UNLUCKY, UNLUCKY), fault)
    equal(caught(directory, "hidden", subject + '.*its memory differs at field "hidden"'), (UNLUCKY, UNLUCKY), "hidden")
    equal(caught(directory, "projection", subject + ".*projection"), (UNLUCKY, UNLUCKY), "projection")


@test("a clock of whole seconds is caught by the snapshot, or without one by a replay a second later")
def clock(t):
    directory, _ = rolled(t)
    caught(directory, "seconds", "the snapshot there holds another state")
    for name in os.listdir(os.path.join(directory, "snapshots")):
        os.remove(os.path.join(directory, "snapshots", name))
    caught(directory, "seconds", "a replay a second later")


@test("an evolve that was changed without a new version of the model is told by the snapshot's digest")
def changed(t):
    directory, _ = rolled(t)
    equal(caught(directory, "changed", "snapshot", "without a new version"), (1, 2000), "where")


@test("the ledger passes over the golden sample, the parcels over theirs, and a live server's directory can be checked")
def golden(t):
    parcel = os.path.join(MODELS, "parcel-2.so")
    for model, place, position, snapshots in (("ledger", os.path.join(SAMPLES, "ledger-1"), 1928, 1),
                                              (parcel, os.path.join(GOLDEN, "parcel-2"), 16, 0)):
        status, told, err = judge(model, "--journal", place)
        equal((status, told["position"], told["snapshots"]), (0, position, snapshots), f"{model}: {told} {err}")
    server, c = t.pair()
    c.call("DO", "account/a", "Open", "owner", "o", "currency", "CZK")
    status, told, err = judge("ledger", "--journal", server.directory)
    equal((status, told["position"]), (0, 1), f"{told} {err}")
    status, told, err = judge("ledger", "--journal", os.path.join(server.directory, "journal"))
    equal((status, told["position"]), (0, 1), f"the journal's own folder means its directory: {told} {err}")


@test("a model that cannot read the journal is told the whole list, with exit status 3")
def unreadable(t):
    status, out, err = memimage("check", os.path.join(MODELS, "parcel-unknown.so"), "--journal",
                                os.path.join(GOLDEN, "parcel-2"))
    equal((status, out), (3, ""), err)
    equal(len([line for line in err.splitlines() if line.startswith("event parcel.")]), 7, err)


@test("without a journal the descriptors are checked; bad ones and bad usage are refused")
def descriptors(t):
    equal(judge(dice("good"))[:2], (0, {"model": "dice", "deterministic": None}), "the good model")
    status, out, _ = memimage("check", "ledger")
    equal(status, 0, out)
    check(out.startswith("model ledger, version 1: 1 aggregate types, 5 commands, 6 events, 0 retired, 2 queries"), out)
    for words, told in (((), "one model is wanted"), (("a", "b"), "one model is wanted"),
                        (("shop",), "no built-in model"),
                        (("ledger", "--journal", "/nonexistent"), "/nonexistent"),
                        (("ledger", "--journal", t.scratch()), "holds no journal"),
                        (("ledger", "--interval", "0"), "--interval")):
        status, out, err = memimage("check", *words)
        equal((status, out), (1, ""), f"{words}: {err}")
        check(told in err, err)


if __name__ == "__main__":
    sys.exit(main())
