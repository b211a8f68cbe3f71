# SPDX-License-Identifier: MIT
# One operation's events over all streams: JOURNAL CORR with the filters of segments there, gone and damaged; what
# `memimage trace` makes of causes; past states by `memimage state`. Leans on harness.py.
"""JOURNAL CORR, memimage trace, memimage state."""

import json
import os
import random
import sys

from harness import check, equal, main, memimage, test, wait_for
from ledger import deposit, open_account
from resp import encode


def info(client, section="history"):
    lines = client.call("INFO", section).splitlines()
    return {key: value for key, _, value in (line.partition(":") for line in lines) if value.lstrip("-").isdigit()}


def number(client, field):
    return int(info(client)[field])


def correlated(client, name, *options):
    events = [json.loads(text) for text in client.call("JOURNAL", "CORR", name, *options)]
    check(all(event["correlationid"] == name for event in events), "only its events")
    return [event["position"] for event in events]


def filters(server):
    folder = os.path.join(server.directory, "index")
    return sorted(os.path.join(folder, name) for name in os.listdir(folder)) if os.path.isdir(folder) else []


def fill(client, count, seed):
    """Large deposits, so that segments roll; about a third belongs to an operation. {operation: [position ...]}."""
    rng = random.Random(seed)
    operations = {}
    note = "n" * 1000
    for start in range(0, count, 200):
        names = [f"op-{(start + n) // 40 + rng.randrange(60)}" if rng.random() < 0.3 else None for n in range(200)]
        client.send_raw(b"".join(
            encode("DO", f"account/t-{rng.randrange(5)}", "Deposit", "amount", 1, "note", note,
                   *(() if name is None else ("@corr", name)))
            for name in names))
        for name, (_, position) in zip(names, client.read_all(len(names))):
            if name is not None:
                operations.setdefault(name, []).append(position)
    return operations


@test("JOURNAL CORR finds every event of an operation with filters, without, and with damaged ones")
def corr_filters(context):
    server = context.server(args=["--segment-size-max", "4m"])
    rng = random.Random(7)
    with server.client() as client:
        for n in range(5):
            open_account(client, f"t-{n}")
        operations = fill(client, 13000, 1)
        wait_for(lambda: number(client, "correlation_filters_built_after_rolls") >= 1, 90, "a filter after a roll")
        for name, positions in fill(client, 13000, 2).items(): # from the first one on, each segment gets its filter
            operations.setdefault(name, []).extend(positions)
        wait_for(lambda: number(client, "correlation_filters_built_after_rolls") >= 3, 90, "filters after rolls")
        check(len(filters(server)) >= 3, "a filter per complete segment")
        for name, positions in operations.items():
            equal(correlated(client, name), positions, name)
        equal(correlated(client, "op-none"), [], "an id nobody gave")
        some = rng.sample(sorted(operations), 20)
        for name in some:
            positions = operations[name]
            start = rng.choice(positions) + rng.randrange(-1, 2)
            equal(correlated(client, name, "FROM", start), [p for p in positions if p >= start], f"{name} FROM {start}")
            equal(correlated(client, name, "COUNT", 2), positions[:2], f"{name} COUNT 2")
        # a filter may match for nothing, one block in 3,000: about one search in fifty reads a block of 256 KiB here
        little = 0
        for n in range(20):
            before = number(client, "history_bytes_read")
            equal(correlated(client, f"op-none-{n}"), [], "an id nobody gave")
            little += number(client, "history_bytes_read") - before < 65536
        check(little >= 15, f"a search for nothing reads little: {little} of 20")
    server.restart()
    for path in filters(server)[:1]:
        os.unlink(path)
    with open(filters(server)[0], "r+b") as handle:
        handle.seek(20)
        handle.write(b"x" * 200)
    with open(filters(server)[1], "r+b") as handle:
        handle.truncate(50)
    with server.client() as client:
        for name in some:
            equal(correlated(client, name), operations[name], f"{name} after damage")
        check(number(client, "correlation_filters_built_by_searches") >= 2, "searches made the filters anew")
        more = fill(client, 4000, 2)
        for name in rng.sample(sorted(more), 20):
            equal(correlated(client, name), operations.get(name, []) + more[name], f"{name} goes on")
    for name in some[:3]:
        status, out, err = memimage("trace", name, "--dir", server.directory, "--json")
        equal((status, err), (0, ""), "memimage trace --dir")
        found = [json.loads(line)["event"]["position"] for line in out.splitlines()]
        equal(found, operations[name] + more.get(name, []), f"{name} offline")


@test("searches at once, and one whose client left, all get their answers")
def corr_at_once(context):
    server = context.server(args=["--segment-size-max", "4m"])
    with server.client() as client:
        for n in range(5):
            open_account(client, f"t-{n}")
        operations = fill(client, 9000, 3)
    server.stop()
    for path in filters(server):
        os.unlink(path)
    server.start()
    leaver = server.client()
    leaver.send("JOURNAL", "CORR", "op-1")
    leaver.close()
    clients = [server.client() for _ in range(8)]
    names = sorted(operations)[:8]
    for client, name in zip(clients, names):
        client.send("JOURNAL", "CORR", name)
    for client, name in zip(clients, names):
        equal([json.loads(text)["position"] for text in client.read()], operations[name], name)
        client.close()


def traced(server, ident, *options):
    status, out, err = memimage("trace", ident, "--json", *options)
    equal((status, err), (0, ""), "exit status and stderr of memimage trace")
    return [json.loads(line) for line in out.splitlines()]


@test("memimage trace arranges an operation by causes, from the server and from the directory")
def trace_tree(context):
    server = context.server()
    with server.client() as client:
        open_account(client, "alice")
        open_account(client, "bob")
        deposit(client, "alice", 9000, "@corr", "salary", "@cause", "bank-file", "@by", "import")
        client.call("DO", "account/alice", "Transfer", "to", "bob", "amount", 2500, "@corr", "order", "@cause", "web",
                    "@by", "alice")
        client.call("DO", "account/bob", "Withdraw", "amount", 500, "@corr", "order", "@cause", "5")
        deposit(client, "alice", 25, "@corr", "order", "@cause", "6")
        client.call("DO", "account/alice", "Withdraw", "amount", 1, "@corr", "order", "@cause", "3")
        deposit(client, "alice", 5, "@corr", "order", "@cause", "99")
        deposit(client, "alice", 5, "@corr", "12345")
        client.call("DIGEST")
    wanted = [  # depth, parent, position, outside
        (0, None, "bank-file", None), (1, "bank-file", 3, True), (2, "3", 8, False),
        (0, None, "web", None), (1, "web", 4, False), (1, "web", 5, False), (2, "5", 6, False), (3, "6", 7, False),
        (0, None, "99", None), (1, "99", 9, False),
    ]
    for options in (("--port", server.port), ("--dir", server.directory)):
        for ident in ("order", "6", "9"):
            lines = traced(server, ident, *options)
            got = [(line["depth"], line.get("parent"), line.get("cause") or line["event"]["position"],
                    line.get("outside")) for line in lines]
            equal(got, wanted, f"the tree of {ident}")
        equal([line["event"]["position"] for line in traced(server, "12345", *options)], [10], "digits as an id")
        equal([line["event"]["position"] for line in traced(server, "1", *options)], [1], "an event of no operation")
        equal([line["event"]["position"] for line in traced(server, "1", "--position", *options)], [1], "--position")
        status, out, err = memimage("trace", "order", *options)
        equal((status, err), (0, ""), "exit status and stderr of memimage trace")
        check(out.startswith("order: 6 events of 2 aggregates in "), f"the head line of {out!r}")
        equal(len(out.splitlines()), 1 + len(wanted), "a line for each node")
        for ident, problem in (("nobody", "correlation id nobody"), ("77", "correlation id 77")):
            status, out, err = memimage("trace", ident, *options)
            equal((status, out), (1, ""), "an unknown id")
            check(problem in err, err)
    status, _, err = memimage("trace", "x", "--position", "--port", server.port)
    equal(status, 1, "a word as a position")
    server.stop()
    status, _, err = memimage("trace", "x", "--port", server.port)
    check(status == 1 and err.startswith("memimage trace: "), "no server")
    equal(memimage("trace")[0], 1, "no id")
    equal(memimage("trace", "--help")[0], 0, "--help")


@test("a long chain of causes is printed to its end")
def trace_chain(context):
    server = context.server()
    with server.client() as client:
        open_account(client, "c")
        for start in range(1, 5001, 500):
            client.send_raw(b"".join(
                encode("DO", "account/c", "Deposit", "amount", 1, "@corr", "chain", "@cause", position)
                for position in range(start, start + 500)))
            client.read_all(500)
    lines = traced(server, "chain", "--port", server.port)
    equal([(line["depth"], line["event"]["position"]) for line in lines], [(n, n + 1) for n in range(5001)], "the chain")
    status, out, _ = memimage("trace", "chain", "--port", server.port)
    equal((status, len(out.splitlines())), (0, 5002), "as text")


@test("memimage state tells now, a version, a position and a time as the server does")
def state_offline(context):
    server = context.server()
    with server.client() as client:
        open_account(client, "s")
        for n in range(1, 150):
            deposit(client, "s", n)
        moment = json.loads(client.call("EVENTS", "account/s", "FROM", 70, "COUNT", 1)[0])["time"]
        for words in ((), ("AT", "VERSION", 1), ("at", "version", 77), ("AT", "POSITION", 100), ("AT", "TIME", moment),
                      ("AT", "VERSION", 150), ("AT", "TIME", "2100-01-01T00:00:00Z"), ("AT", "POSITION", 10**15)):
            version, text = client.call("STATE", "account/s", *words)
            status, out, err = memimage("state", "account/s", *words, "--json", "--dir", server.directory)
            equal((status, err), (0, ""), f"memimage state {words}")
            equal(json.loads(out), {"version": version, "state": json.loads(text)}, f"the state {words}")
            status, out, _ = memimage("state", "account/s", *words, "--dir", server.directory)
            head, _, body = out.partition("\n")
            equal((head, json.loads(body)), (f"version {version}", json.loads(text)), f"as text {words}")
        for words in (("AT", "VERSION", 0), ("AT", "VERSION", 151), ("AT", "TIME", 1000), ("AT", "POSITION", 0)):
            equal(client.call("STATE", "account/s", *words), None, f"the server says nil {words}")
            status, out, err = memimage("state", "account/s", *words, "--dir", server.directory)
            equal((status, out), (1, ""), f"nothing {words}")
            check(err.startswith("memimage state: account/s "), err)
        for words in (("AT",), ("AT", "VERSION"), ("AT", "AGE", 3), ("AT", "VERSION", "x"), ("NOW", "VERSION", 3)):
            status, out, err = memimage("state", "account/s", *words, "--dir", server.directory)
            equal((status, out), (1, ""), f"usage {words}")


@test("INFO history counts followers by what they do, their lag, and jobs")
def info_history(context):
    server = context.server()
    with server.client() as client, server.client() as live, server.client() as asleep:
        open_account(client, "i")
        live.call("FOLLOW", "FROM", 1)
        asleep.call("FOLLOW", "FROM", 1)
        wait_for(lambda: number(client, "followers_live") == 2, 10, "two live followers")
        equal(number(client, "follower_lag_events"), 0, "lag")
        note = "n" * 1000
        for _ in range(30):
            client.send_raw(b"".join(encode("DO", "account/i", "Deposit", "amount", 1, "note", note) for _ in range(300)))
            client.read_all(300)
            for _ in range(300):
                live.read()
        wait_for(lambda: number(client, "followers_paused") == 1, 10, "one that does not read")
        now = info(client)
        equal((int(now["followers"]), int(now["followers_dropped"])), (2, 0), "followers")
        check(int(now["follower_lag_events"]) > 1000, "the lag of the one that does not read")
        check(int(now["follower_events_pushed"]) > 9000, "events pushed")
        before = int(now["history_jobs_done"])
        client.call("STATE", "account/i", "AT", "VERSION", 5)
        client.call("JOURNAL", "COUNT", 3)
        equal(number(client, "history_jobs_done"), before + 2, "jobs")
        live.send("UNFOLLOW")
        while live.read() != "OK":
            pass
        equal(number(client, "followers"), 1, "followers after UNFOLLOW")


@test("a follower that does not read is dropped with an error it can read, and goes on where it stopped")
def follower_dropped(context):
    server = context.server()
    with server.client() as client, server.client() as asleep:
        client.call("CONFIG", "SET", "follower-timeout", 1)
        equal(client.call("CONFIG", "GET", "follower-timeout"), ["follower-timeout", "1"], "CONFIG GET")
        open_account(client, "d")
        note = "n" * 1000
        for _ in range(30):
            client.send_raw(b"".join(encode("DO", "account/d", "Deposit", "amount", 1, "note", note) for _ in range(300)))
            client.read_all(300)
        asleep.send("FOLLOW", "FROM", 1)
        wait_for(lambda: number(client, "followers_dropped") == 1, 30, "the follower to be dropped")
        equal(number(client, "followers"), 0, "followers")
        equal(asleep.read(), "OK", "the answer of FOLLOW")
        *messages, last = asleep.read_until_closed()
        seen = [json.loads(message[1])["position"] for message in messages]
        equal(seen, list(range(1, len(seen) + 1)), "events up to there")
        check(str(last).startswith("OVERLOADED the follower read nothing for 1 s"), f"the error {last!r}")
        with server.client() as again:
            again.send("FOLLOW", "FROM", len(seen) + 1)
            equal(again.read(), "OK", "the answer of FOLLOW")
            for position in range(len(seen) + 1, 9002):
                equal(json.loads(again.read()[1])["position"], position, "the next position")


if __name__ == "__main__":
    sys.exit(main())
