# SPDX-License-Identifier: MIT
# History on the wire, against an independent reference: what GET said after every command, and `memimage journal
# dump`. STATE ... AT, EVENTS, JOURNAL, FOLLOW. Leans on harness.py.
"""STATE AT, EVENTS, JOURNAL and FOLLOW."""

import json
import random
import sys
import threading

from harness import check, equal, error, main, memimage, test, wait_for
from ledger import deposit, open_account
from resp import Push, RespError, encode


def events_of(client, name, *options):
    return [json.loads(text) for text in client.call("EVENTS", f"account/{name}", *options)]


def journal_of(client, *options):
    return [json.loads(text) for text in client.call("JOURNAL", *options)]


def past(client, name, by, value):
    reply = client.call("STATE", f"account/{name}", "AT", by, value)
    return None if reply is None else (reply[0], json.loads(reply[1]))


def dump(directory):
    status, out, err = memimage("journal", "dump", "--dir", directory)
    equal((status, err), (0, ""), "exit status and stderr of journal dump")
    return [json.loads(line) for line in out.splitlines()]


def workload(client, count, seed, names):
    """Random commands. Returns {name: [state after version 1, 2 ...]}."""
    rng = random.Random(seed)
    states = {name: [] for name in names}
    for step in range(count):
        name = rng.choice(names)
        other = rng.choice(names)
        kind = rng.random()
        options = ["@corr", f"c{step % 50}"] if rng.random() < 0.3 else []
        if rng.random() < 0.2:
            options += ["@cause", f"x{step}", "@by", "tester é"]
        if kind < 0.05 or not states[name]:
            words = ["Open", "owner", f"owner \"{step}\"", "currency", "CZK", "overdraft", step % 7]
        elif kind < 0.55:
            words = ["Deposit", "amount", rng.randrange(1, 1000)]
            words += ["note", f"n{step}"] if rng.random() < 0.3 else []
        elif kind < 0.75:
            words = ["Withdraw", "amount", rng.randrange(1, 800)]
        else:
            words = ["Transfer", "to", other, "amount", rng.randrange(1, 500)]
        if isinstance(client.ask("DO", f"account/{name}", *words, *options), RespError):
            continue
        for changed in {name, other if words[0] == "Transfer" else name}:
            version, text = client.call("STATE", f"account/{changed}")
            if version > len(states[changed]):
                equal(version, len(states[changed]) + 1, "versions are seen one by one")
                states[changed].append(json.loads(text))
    return states


@test("every version of every account is what GET said then")
def every_version(context):
    server = context.server()
    names = [f"a-{n}" for n in range(5)]
    with server.client() as client:
        states = workload(client, 3000, 1, names)
        records = dump(server.directory)
        for name, known in states.items():
            version, text = client.call("STATE", f"account/{name}")
            equal(version, len(known), f"versions of {name}")
            check(version > 200, "streams are long enough for skip references")
            for n, wanted in enumerate(known, 1):
                equal(past(client, name, "VERSION", n), (n, wanted), f"{name} at version {n}")
            equal(past(client, name, "VERSION", 0), None, "version 0")
            equal(past(client, name, "VERSION", len(known) + 1), None, "a version beyond the present")
            mine = [r for r in records if r["subject"] == f"account/{name}"]
            for n in range(0, len(known), 17):
                position = mine[n]["position"]
                equal(past(client, name, "POSITION", position), (n + 1, known[n]), f"{name} at position {position}")
                before = past(client, name, "POSITION", position - 1)
                equal(before, None if n == 0 else (n, known[n - 1]), f"{name} just before position {position}")
                moment = mine[n]["time"]
                last = max(i for i, r in enumerate(mine) if r["time"] <= moment)
                equal(past(client, name, "TIME", moment), (last + 1, known[last]), f"{name} at {moment}")
            equal(past(client, name, "TIME", 1000), None, "before its first event")
            equal(past(client, name, "TIME", 2**62), (len(known), known[-1]), "in the far future")
            equal(past(client, name, "POSITION", 2**63), (len(known), known[-1]), "beyond the last position")
        equal(client.call("STATE", "account/none", "AT", "VERSION", 1), None, "an account that never was")
    server.restart(crash=True)
    with server.client() as client:
        for name, known in states.items():
            for n in range(1, len(known) + 1, 29):
                equal(past(client, name, "VERSION", n), (n, known[n - 1]), f"{name} at version {n} after a crash")


def as_dumped(event):
    """A CloudEvent as the line of `journal dump` would be, as far as both tell."""
    keys = ("position", "subject", "streamversion", "type", "schemaversion", "time", "correlationid", "causationid",
            "actor", "data")
    return {key: event[key] for key in keys if key in event}


@test("EVENTS and JOURNAL are the journal as dump prints it, as CloudEvents")
def as_dump(context):
    server = context.server()
    names = [f"b-{n}" for n in range(4)]
    with server.client() as client:
        workload(client, 2500, 2, names)
        records = [as_dumped(record) for record in dump(server.directory)]
        events = journal_of(client, "COUNT", 1000000)
        equal([as_dumped(event) for event in events], records, "JOURNAL")
        equal(journal_of(client), events[:1000], "JOURNAL without COUNT")
        for n, event in enumerate(events, 1):
            equal((event["specversion"], event["id"], event["datacontenttype"]), ("1.0", str(n), "application/json"),
                  "attributes")
            check(event["source"].startswith("/memimage/"), "source")
        for _ in range(50):
            start = random.randrange(1, len(events) + 10)
            count = random.randrange(0, 70)
            equal(journal_of(client, "FROM", start, "COUNT", count), events[start - 1 : start - 1 + count], "JOURNAL FROM")
        equal(journal_of(client, "CORR", "c7"), [e for e in events if e.get("correlationid") == "c7"], "CORR")
        wanted = ("account.Withdrawn", "account.Opened")
        equal(journal_of(client, "TYPES", ",".join(wanted), "COUNT", 99999), [e for e in events if e["type"] in wanted],
              "TYPES")
        for name in names:
            mine = [event for event in events if event["subject"] == f"account/{name}"]
            equal(events_of(client, name), mine, f"EVENTS of {name}")
            equal(events_of(client, name, "REV"), mine[::-1], "REV")
            equal(events_of(client, name, "TYPES", "Deposited"), [e for e in mine if e["type"] == "account.Deposited"],
                  "TYPES without the aggregate's name")
            for _ in range(40):
                low = random.randrange(0, len(mine) + 5)
                high = random.randrange(0, len(mine) + 5)
                count = random.randrange(0, 200)
                part = [e for e in mine if low <= e["streamversion"] <= high]
                equal(events_of(client, name, "FROM", low, "TO", high), part, "FROM TO")
                equal(events_of(client, name, "FROM", low, "TO", high, "COUNT", count, "REV"), part[::-1][:count],
                      "FROM TO COUNT REV")
                equal(events_of(client, name, "COUNT", count, "FROM", low), mine[max(low - 1, 0) :][:count], "COUNT")
        equal(client.call("EVENTS", "account/none"), [], "events of an account that never was")


@test("memimage history lists every version: event, before, after, the same beside a live server")
def history_offline(context):
    server = context.server()
    names = ["h-0", "h-1"]
    with server.client() as client:
        states = workload(client, 400, 3, names)
        events = {name: events_of(client, name) for name in names}
        for name in names:
            status, out, err = memimage("history", f"account/{name}", "--dir", server.directory, "--json")
            equal((status, err), (0, ""), "exit status and stderr")
            lines = [json.loads(line) for line in out.splitlines()]
            equal([line["after"] for line in lines], states[name], "states after")
            equal([line.get("before") for line in lines], [None] + states[name][:-1], "states before")
            equal([line["event"] for line in lines], events[name], "events")
            status, out, err = memimage("history", f"account/{name}", "--dir", server.directory, "--from", 5, "--to", 6)
            equal((status, err), (0, ""), "exit status and stderr")
            equal([line.split()[0] for line in out.splitlines() if not line.startswith("        ")], ["5", "6"], "versions")
        status, out, err = memimage("history", "account/none", "--dir", server.directory)
        check(status == 1 and "does not exist" in err, f"an account that never was: {status} {err}")


@test("a pipeline of commands and reads of history answers in order and sees its own commands")
def pipeline(context):
    server = context.server()
    with server.client() as client:
        raw = encode("DO", "account/p", "Open", "owner", "o", "currency", "CZK")
        for n in range(1, 200):
            raw += encode("DO", "account/p", "Deposit", "amount", n)
            raw += encode("STATE", "account/p", "AT", "VERSION", n)
            raw += encode("EVENTS", "account/p", "REV", "COUNT", 1)
            raw += encode("JOURNAL", "FROM", n + 1)
        client.send_raw(raw)
        equal(client.read(), [1, 1], "Open")
        for n in range(1, 200):
            equal(client.read(), [n + 1, n + 1], "Deposit")
            version, text = client.read()
            equal((version, json.loads(text)["balance"]), (n, n * (n - 1) // 2), "STATE AT VERSION")
            equal([json.loads(e)["streamversion"] for e in client.read()], [n + 1], "EVENTS REV COUNT 1")
            equal([json.loads(e)["position"] for e in client.read()], [n + 1], "JOURNAL")


@test("bad arguments are errors and change nothing")
def bad_arguments(context):
    server = context.server()
    with server.client() as client:
        open_account(client, "e")
        for words in (
            ("STATE", "account/e", "AT"), ("STATE", "account/e", "AT", "VERSION"), ("STATE", "account/e", "NOW"),
            ("STATE", "account/e", "AT", "VERSION", "x"), ("STATE", "account/e", "AT", "VERSION", "-1"),
            ("STATE", "account/e", "AT", "TIME", "yesterday"), ("STATE", "account/e", "AT", "AGE", "1"),
            ("STATE", "account/e", "AT", "VERSION", "1", "x"), ("STATE", "nosuch/e", "AT", "VERSION", "1"),
            ("EVENTS", "account"), ("EVENTS", "nosuch/e"), ("EVENTS", "account/e", "FROM"),
            ("EVENTS", "account/e", "FROM", "x"), ("EVENTS", "account/e", "COUNT", "99999999999999999999"),
            ("EVENTS", "account/e", "TYPES", "Nothing"), ("EVENTS", "account/e", "CORR", "x"),
            ("JOURNAL", "FROM"), ("JOURNAL", "TO", "3"), ("JOURNAL", "TYPES", ","), ("JOURNAL", "CORR", ""),
            ("FOLLOW", "FROM", "x"), ("FOLLOW", "STREAM", "account"), ("FOLLOW", "TYPE", "nosuch"),
            ("FOLLOW", "COUNT", "3"), ("FOLLOW", "TYPE", "account", "STREAM", "account/e"),
        ):
            error(client.ask(*words), "ERR")
        equal(client.call("PING"), "PONG", "PING after all that")
        equal(len(client.call("JOURNAL")), 1, "events")


class Feed(threading.Thread):
    """Commands pouring in until stopped."""

    def __init__(self, server, names):
        super().__init__(daemon=True)
        self.server, self.names = server, names
        self.stopping = False
        self.done = 0

    def run(self):
        with self.server.client() as client:
            while not self.stopping:
                batch = b"".join(
                    encode("DO", f"account/{random.choice(self.names)}", "Deposit", "amount", 1) for _ in range(50)
                )
                client.send_raw(batch)
                for _ in range(50):
                    client.read()
                self.done += 50

    def stop(self):
        self.stopping = True
        self.join(30)


def next_push(client):
    """The next event in RESP2, where a push is an array."""
    message = client.read()
    equal(message[0], "event", "a push's first word")
    return json.loads(message[1])


@test("FOLLOW from 1 while commands pour in, killed and resumed: no gap, no repeat")
def follow_resumed(context):
    server = context.server()
    names = [f"f-{n}" for n in range(20)]
    with server.client() as client:
        for name in names:
            open_account(client, name)
    feed = Feed(server, names)
    feed.start()
    position = 0
    try:
        for _ in range(60):
            with server.client() as follower:
                follower.send("FOLLOW", "FROM", position + 1)
                equal(follower.read(), "OK", "the answer of FOLLOW")
                for _ in range(random.randrange(1, 400)):
                    event = next_push(follower)
                    equal(event["position"], position + 1, "the next position")
                    position += 1
    finally:
        feed.stop()
    check(feed.done > 0, "commands were done meanwhile")
    with server.client() as client, server.client() as follower:
        last = client.call("DIGEST")[0]
        follower.send("FOLLOW", "FROM", position + 1)
        equal(follower.read(), "OK", "the answer of FOLLOW")
        while position < last:
            equal(next_push(follower)["position"], position + 1, "the next position")
            position += 1
        deposit(client, names[0], 5)
        equal(next_push(follower)["position"], last + 1, "live")
        follower.send("UNFOLLOW")
        equal(follower.read(), "OK", "the answer of UNFOLLOW")
        deposit(client, names[0], 5)
        equal(follower.call("PING"), "PONG", "nothing is pushed any longer")


@test("FOLLOW takes a stream, a type of aggregate, types of events, and begins now without FROM")
def follow_filters(context):
    server = context.server()
    with server.client() as client, server.client() as a, server.client() as b, server.client() as c:
        open_account(client, "x")
        for follower, words in ((a, ("STREAM", "account/y")), (b, ("TYPES", "account.Withdrawn,Closed")),
                                (c, ("FROM", "1", "TYPE", "account"))):
            follower.send("FOLLOW", *words)
            equal(follower.read(), "OK", "the answer of FOLLOW")
        open_account(client, "y")
        deposit(client, "x", 9)
        deposit(client, "y", 7)
        client.call("DO", "account/x", "Withdraw", "amount", 9)
        client.call("DO", "account/x", "Close")
        equal([next_push(a)["type"] for _ in range(2)], ["account.Opened", "account.Deposited"], "of one stream")
        equal([next_push(b)["type"] for _ in range(2)], ["account.Withdrawn", "account.Closed"], "of two types")
        equal([next_push(c)["position"] for _ in range(6)], [1, 2, 3, 4, 5, 6], "of one type of aggregate")
        a.send("RESET")
        equal(a.read(), "RESET", "RESET ends it")
        deposit(client, "y", 7)
        equal(a.call("PING"), "PONG", "nothing is pushed after RESET")


@test("in RESP3 events are pushes between replies")
def follow_resp3(context):
    server = context.server()
    with server.client() as client, server.client() as follower:
        open_account(client, "r")
        follower.call("HELLO", "3")
        follower.call("FOLLOW", "FROM", "1")
        deposit(client, "r", 5)
        wait_for(lambda: follower.call("PING") == "PONG" and len(follower.pushes) == 2, 5, "two pushes")
        for n, message in enumerate(follower.pushes, 1):
            check(isinstance(message, Push), "a push message")
            equal((message[0], json.loads(message[1])["position"]), ("event", n), "the event")


@test("a follower that does not read costs no memory and goes on where it stopped")
def follower_asleep(context):
    server = context.server()
    names = [f"s-{n}" for n in range(10)]
    with server.client() as client, server.client() as sleeper:
        for name in names:
            open_account(client, name)
        sleeper.send("FOLLOW", "FROM", 1)
        equal(sleeper.read(), "OK", "the answer of FOLLOW")
        feed = Feed(server, names)
        feed.start()
        wait_for(lambda: feed.done >= 40000, 60, "40000 commands")
        feed.stop()
        listed = client.call("CLIENT", "LIST")
        check("omem=" not in listed or max(int(w[5:]) for w in listed.split() if w.startswith("omem=")) < 4 << 20,
              "output stays below 4 MiB")
        last = client.call("DIGEST")[0]
        for position in range(1, last + 1):
            equal(next_push(sleeper)["position"], position, "the next position")


@test("three hundred live followers get every event")
def many_followers(context):
    server = context.server()
    with server.client() as client:
        open_account(client, "m")
        followers = [server.client() for _ in range(300)]
        for follower in followers:
            follower.send("FOLLOW", "FROM", 1)
        client.send_raw(b"".join(encode("DO", "account/m", "Deposit", "amount", 1) for _ in range(200)))
        for _ in range(200):
            client.read()
        for follower in followers:
            equal(follower.read(), "OK", "the answer of FOLLOW")
            equal([next_push(follower)["position"] for _ in range(201)], list(range(1, 202)), "positions")
            follower.close()
        wait_for(lambda: "connected_clients:1\r" in client.call("INFO", "clients"), 10, "the followers to be gone")
        deposit(client, "m", 1)


if __name__ == "__main__":
    sys.exit(main())
