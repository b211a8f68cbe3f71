# SPDX-License-Identifier: MIT
# Old journals under changed models: tests/golden/parcel-1 was written by the first version of tests/models/parcel.c,
# parcel-2 by a later one on top of it. Each change that a model may make is one test; what a model cannot read stops the
# start.
# The journal itself is never rewritten: the bytes of the past are compared.
"""Black-box test of schema evolution."""

import json
import os
import re
import shutil
import sys

from harness import BINARY, ROOT, check, equal, main, memimage, rejected, test
from ledger import digest, offline_digest

MODELS = os.environ.get("MEMIMAGE_MODELS", os.path.join(os.path.dirname(BINARY), "tests", "models"))
GOLDEN = os.path.join(ROOT, "tests", "golden")

# What the parcels of parcel-1 are today, and those that parcel-2 changed or added.
ANN = {"recipient": "Ann", "place": "Kolbenova", "weight": 1200, "metres": 405000, "tips": 20, "priority": 0,
       "moves": 2, "express": True, "dropped": True, "delivered": True}
BOB = {"recipient": "Bob", "place": "Ostrava", "weight": 300, "metres": 90000, "tips": 0, "priority": 0,
       "moves": 1, "express": False, "dropped": False, "delivered": True}
CYRIL = {"recipient": "Cyril", "place": "Plzen", "weight": 5, "metres": 1000, "tips": 0, "priority": 0,
         "moves": 1, "express": False, "dropped": False, "delivered": False}
CYRIL_LATER = dict(CYRIL, place="Cheb", metres=3000, tips=5, moves=2, dropped=True, delivered=True)
DANA = dict(CYRIL, recipient="Dana", place="", weight=7, metres=0, moves=0, priority=9)
EVA = dict(DANA, recipient="Eva", weight=8, priority=3)


def model(name):
    return os.path.join(MODELS, f"parcel-{name}.so")


def old(t, name):
    """A copy of an old directory."""
    target = os.path.join(t.scratch(), "data")
    shutil.copytree(os.path.join(GOLDEN, name), target)
    os.chmod(target, 0o700)
    return target


def segment(directory):
    with open(os.path.join(directory, "journal", f"{1:020}.journal"), "rb") as handle:
        return handle.read()


def past_is_untouched(directory, name):
    past = segment(os.path.join(GOLDEN, name))
    check(segment(directory)[: len(past)] == past, "the bytes of the old journal stand as they stood")


def start(t, changed, name="parcel-1"):
    return t.server(directory=old(t, name), args=("--model", model(changed)))


def parcel(client, name):
    reply = client.call("GET", f"parcel/{name}")
    return None if reply is None else json.loads(reply)


def last_event(client, name):
    return json.loads(client.call("EVENTS", f"parcel/{name}", "COUNT", 1, "REV")[0])


def survives(server, changed, name):
    """After the life that a test gave it: the same after a crash and from scratch, by replay under the same model."""
    with server.client() as c:
        live = digest(c)
    server.restart(crash=True)
    with server.client() as c:
        equal(digest(c), live, "the digest after kill -9")
    equal(server.stop(), 0, "exit status")
    equal(offline_digest(server.directory, "--from-scratch", "--model", model(changed)), live[1], "from scratch")
    past_is_untouched(server.directory, name)
    equal(memimage("journal", "verify", "--dir", server.directory)[0], 0, "journal verify")


def refused(t, changed, name, *lines):
    """The start stops with exit status 3 and every line of the list; nothing on disk is changed."""
    directory = old(t, name)
    status, out, err = memimage("serve", "--dir", directory, "--port", "0", "--model", model(changed))
    equal(status, 3, f"exit status ({out}{err})")
    told = [json.loads(text) for text in re.findall(r"error model_lacks what=(\".*\")$", out + err, re.MULTILINE)]
    equal(told, list(lines), "what is missing")
    check("the model cannot read this journal" in out + err, err)
    equal(segment(directory), segment(os.path.join(GOLDEN, name)), "the journal")
    status, out, err = memimage("digest", "--dir", directory, "--model", model(changed))
    equal((status, out), (3, ""), "memimage digest")
    check(lines[0] in err, err)


@test("the model that wrote it reads the old journal: the states are known")
def plain(t):
    server = start(t, "1")
    with server.client() as c:
        equal([parcel(c, f"p-{n}") for n in (1, 2, 3, 4)], [ANN, BOB, CYRIL, None], "states")
    survives(server, "1", "parcel-1")


@test("an additive field: old events read as its default, new ones carry their own, versions in between are right")
def added(t):
    server = start(t, "added")
    with server.client() as c:
        equal(parcel(c, "p-1"), dict(ANN, priority=3), "an old parcel")
        equal(json.loads(c.call("STATE", "parcel/p-2", "AT", "VERSION", 1)[1]),
              dict(BOB, place="", metres=0, moves=0, delivered=False, priority=3), "an old version of one")
        c.call("DO", "parcel/p-4", "Register", "recipient", "Dana", "weight", 7, "priority", 9)
        c.call("DO", "parcel/p-5", "Register", "recipient", "Eva", "weight", 8)
        equal([parcel(c, "p-4"), parcel(c, "p-5")], [DANA, EVA], "new parcels")
        equal(last_event(c, "p-4")["data"]["priority"], 9, "the new event has the field")
        check("priority" not in last_event(c, "p-2")["data"], "an old event is shown as it was written")
    survives(server, "added", "parcel-1")


@test("a renamed field: the old name is read, new events are written and shown with the new one")
def renamed(t):
    server = start(t, "renamed")
    with server.client() as c:
        equal([parcel(c, f"p-{n}") for n in (1, 2, 3)], [ANN, BOB, CYRIL], "states")
        first = json.loads(c.call("EVENTS", "parcel/p-1", "COUNT", 1)[0])
        equal(first["data"], {"recipient": "Ann", "wieght": 1200, "express": True}, "an old event, as it was written")
        c.call("DO", "parcel/p-4", "Register", "recipient", "Dana", "weight", 7)
        equal(last_event(c, "p-4")["data"], {"recipient": "Dana", "weight": 7, "express": False}, "a new event")
        equal(parcel(c, "p-4")["weight"], 7, "its state")
    survives(server, "renamed", "parcel-1")


@test("a field renamed without saying so is refused, with both names")
def renamed_silently(t):
    refused(t, "renamed-silently", "parcel-1",
            'event parcel.Registered version 1: field 2 is "wieght", i64, in the journal, but "weight", i64, '
            "in the model")


@test("a renamed event type: the old one is upcast, the new one is written")
def event_name(t):
    server = start(t, "event-name")
    with server.client() as c:
        equal([parcel(c, f"p-{n}") for n in (1, 2, 3)], [ANN, BOB, CYRIL], "states")
        c.call("DO", "parcel/p-3", "Drop", "place", "Cheb")
        equal((last_event(c, "p-3")["type"], parcel(c, "p-3")["dropped"]), ("parcel.Dropped", True), "a new event")
        names = [json.loads(text)["type"] for text in c.call("JOURNAL", "TYPES", "Droped,Dropped")]
        equal(names, ["parcel.Droped", "parcel.Dropped"], "both stand in the journal as they were written")
    survives(server, "event-name", "parcel-1")


@test("a changed version, a wider type and another unit in it: the upcaster translates the old one")
def version(t):
    server = start(t, "version")
    with server.client() as c:
        equal([parcel(c, f"p-{n}") for n in (1, 2, 3)], [ANN, BOB, CYRIL], "states")
        c.call("DO", "parcel/p-3", "Move", "place", "Cheb", "km", 40000)
        event = last_event(c, "p-3")
        equal((event["schemaversion"], event["data"]), (2, {"place": "Cheb", "metres": 40000000}), "a new event")
        equal(parcel(c, "p-3")["metres"], 40001000, "old and new kilometres")
        equal(json.loads(c.call("STATE", "parcel/p-3", "AT", "VERSION", 2)[1]), CYRIL, "the version before")
    survives(server, "version", "parcel-1")


@test("a type widened in place, without a new version, is refused with both types")
def widened(t):
    refused(t, "widened", "parcel-1",
            'event parcel.Moved version 1: field 2 is "km", i32, in the journal, but "km", i64, in the model')


@test("an event type split in two: an old event counts as one version and means both, new ones are two")
def split(t):
    server = start(t, "split")
    with server.client() as c:
        equal([parcel(c, f"p-{n}") for n in (1, 2, 3)], [ANN, BOB, CYRIL], "states")
        equal(c.call("STATE", "parcel/p-1")[0], 5, "the version of an old stream")
        equal(c.call("DO", "parcel/p-3", "Deliver", "signed_by", "Cyril", "tip", 5), [4, 12], "two events now")
        equal(parcel(c, "p-3"), dict(CYRIL, delivered=True, tips=5), "the state")
        types = [json.loads(text)["type"] for text in c.call("EVENTS", "parcel/p-3", "FROM", 3)]
        equal(types, ["parcel.Delivered", "parcel.Tipped"], "the new events")
        equal(last_event(c, "p-1")["data"], {"signed_by": "Ann", "tip": 20}, "an old event, as it was written")
    survives(server, "split", "parcel-1")


@test("a removed field: with a new version and an upcaster it is dropped")
def removed(t):
    server = start(t, "removed")
    with server.client() as c:
        equal([parcel(c, f"p-{n}") for n in (1, 2, 3)], [dict(ANN, express=False), BOB, CYRIL], "states")
        c.call("DO", "parcel/p-4", "Register", "recipient", "Dana", "weight", 7)
        event = last_event(c, "p-4")
        equal((event["schemaversion"], event["data"]), (2, {"recipient": "Dana", "wieght": 7}), "a new event")
    survives(server, "removed", "parcel-1")


@test("a field removed in place is refused by name")
def removed_silently(t):
    refused(t, "removed-silently", "parcel-1",
            'event parcel.Registered version 1: field "express" of the journal is not in the model')


@test("events that the model does not know stop the start, with the whole list")
def unknown(t):
    refused(t, "unknown", "parcel-1", "event parcel.Droped version 1", "event parcel.Delivered version 1")


@test("an aggregate type that the model does not know stops the start, its events named too")
def other_type(t):
    refused(t, "other-type", "parcel-1", "aggregate type parcel", "event parcel.Registered version 1",
            "event parcel.Moved version 1", "event parcel.Droped version 1", "event parcel.Delivered version 1")


@test("all changes at once, over a journal with both kinds of events")
def all_at_once(t):
    server = start(t, "2", "parcel-2")
    with server.client() as c:
        wanted = [dict(ANN, priority=3), dict(BOB, priority=3), dict(CYRIL_LATER, priority=3), DANA, EVA]
        equal([parcel(c, f"p-{n}") for n in range(1, 6)], wanted, "states")
        past = json.loads(c.call("STATE", "parcel/p-3", "AT", "VERSION", 2)[1])
        equal(past, dict(CYRIL, priority=3), "an old version")
        rejected(c.ask("DO", "parcel/p-5", "Register", "recipient", "E", "weight", 1), "PARCEL_EXISTS")
        c.call("DO", "parcel/p-5", "Deliver", "signed_by", "Eva", "tip", 1)
        c.call("SNAPSHOT")
        c.call("DO", "parcel/p-5", "Move", "place", "Aš", "km", 1)
    server.restart(crash=True)
    check("events_replayed=1 " in server.stderr(), f"the snapshot is used: {server.stderr()}")
    survives(server, "2", "parcel-2")


@test("a downgrade is refused: the older model is told what it does not know")
def downgrade(t):
    refused(t, "1", "parcel-2", "event parcel.Moved version 2", "event parcel.Dropped version 1",
            "event parcel.Delivered version 2", "event parcel.Tipped version 1",
            'event parcel.Registered version 1: field 2 is "weight", i64, in the journal, but "wieght", i64, '
            "in the model")


@test("a changed default of an event's field is refused: it would change what stored events mean")
def changed_default(t):
    refused(t, "added-6", "parcel-2", 'event parcel.Registered version 1: field "priority" that was left out means 3 '
            "in the journal, the model's fallback is 5")


@test("version 2 side by side: a new projection and a changed evolve are rebuilt from the journal, snapshots follow")
def side_by_side(t):
    server = start(t, "1")
    with server.client() as c:
        equal(c.call("SNAPSHOT"), 10, "a snapshot of version 1")
        equal(parcel(c, "p-2")["moves"], 1, "version 1 counts every move")
        before = digest(c)
    equal(server.stop(), 0, "exit status")
    server.args = ["--model", model("projection")]
    server.start()
    check(re.search(r"warning snapshots_skipped .*another model layout", server.stderr()), server.stderr())
    check("events_replayed=10 " in server.stderr(), f"all is rebuilt: {server.stderr()}")
    with server.client() as c:
        equal(json.loads(c.call("QUERY", "parcel", "Places")), {"Brno": 1, "Praha": 1, "Ostrava": 1, "Plzen": 1},
              "the new projection over old events")
        equal([parcel(c, f"p-{n}")["moves"] for n in (1, 2, 3)], [2, 0, 0], "the changed evolve over old events")
        check(digest(c)[1] != before[1], "another state has another digest")
        c.call("DO", "parcel/p-3", "Move", "place", "Brno", "km", 100)
        equal(c.call("SNAPSHOT"), 11, "a snapshot of version 2")
        live = digest(c)
    server.restart(crash=True)
    check("events_replayed=0 " in server.stderr(), f"the new snapshot is used: {server.stderr()}")
    check("snapshots_skipped" not in server.stderr(), f"and nothing is skipped: {server.stderr()}")
    with server.client() as c:
        equal(digest(c), live, "the digest from the new snapshot")
        equal(json.loads(c.call("QUERY", "parcel", "Places"))["Brno"], 2, "the projection from the new snapshot")
    equal(offline_digest(server.directory, "--from-scratch", "--model", model("projection")), live[1], "from scratch")
    equal(server.stop(), 0, "exit status")
    server.args = ["--model", model("1")]
    server.start()
    check("events_replayed=11 " in server.stderr() or "events_replayed=1 " in server.stderr(),
          f"and back: version 1 rebuilds, or uses its own snapshot: {server.stderr()}")
    with server.client() as c:
        equal([parcel(c, f"p-{n}")["moves"] for n in (1, 2, 3)], [2, 1, 2], "version 1 again")
    past_is_untouched(server.directory, "parcel-1")


if __name__ == "__main__":
    sys.exit(main())
