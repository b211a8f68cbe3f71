# SPDX-License-Identifier: MIT
# Publication against a real redis-server: what stands in the stream, that it is every position once and in order whoever
# is killed when, that a Redis in any trouble costs commands nothing and is told in INFO, and what the policies for gaps do.
# Crash rounds from $ROUNDS (default 5).
"""Black-box test of publication to Redis."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import sys

from harness import Process, Skip, check, command, equal, free_port, main, memimage, sanitized, test, wait_for
from ledger import deposit, open_account
from resp import Client, Closed, RespError, encode

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SEED = int(os.environ.get("SEED", str(random.SystemRandom().randrange(2**32))))
STREAM = "memimage:events"
PATIENCE = 60
ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")


class Redis:
    """A redis-server on one port and directory, to be stopped, killed and started again."""

    def __init__(self, context, *args):
        if shutil.which("redis-server") is None:
            raise Skip("redis-server is not installed")
        self.scratch = context.scratch()
        self.port = free_port()
        self.args = args
        self.process = None
        context.stack.callback(self.kill)

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def start(self, *more):
        self.process = Process(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.scratch, "--save", "",
             *self.args, *more], os.path.join(self.scratch, "log"))
        wait_for(self.answers, 30, "redis-server")
        return self

    def answers(self):
        check(self.process.running(), f"redis-server ended: {self.process.stderr()}")
        with contextlib.suppress(OSError, Closed, TimeoutError):
            with self.client(timeout=2) as client:
                reply = client.ask("PING")
                return reply == "PONG" or (isinstance(reply, RespError) and reply.code == "NOAUTH")
        return False

    def client(self, **options):
        return Client(self.port, **options)

    def call(self, *words):
        with self.client() as client:
            return client.call(*words)

    def kill(self):
        if self.process is not None and self.process.running():
            self.process.signal(signal.SIGCONT)
            self.process.kill()


def redis(context, *args):
    return Redis(context, *args).start()


def info(server):
    with server.client() as client:
        text = client.call("INFO", "publish")
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def wait_state(server, state, reason=""):
    def reached():
        now = info(server)
        return now if now["publish_state"] == state and reason in now["publish_last_error"] else None

    try:
        return wait_for(reached, PATIENCE, f"publish_state:{state} {reason}")
    except AssertionError as problem:
        problem.add_note(str(info(server)))
        raise


def position(server):
    with server.client() as client:
        return client.call("DIGEST")[0]


def wait_published(server):
    """Waits until Redis has acknowledged everything; returns the position."""
    wanted = position(server)

    def reached():
        now = info(server)
        return now["publish_state"] == "live" and int(now["publish_position"]) >= wanted

    try:
        wait_for(reached, PATIENCE, f"position {wanted} to be published")
    except AssertionError as problem:
        problem.add_note(str(info(server)))
        raise
    return wanted


def wait_states(server):
    wanted = wait_published(server)
    wait_for(lambda: int(info(server)["publish_state_position"]) >= wanted, PATIENCE, "the read model")


def entries(target, stream=STREAM):
    """[(id, {field: value})] of the whole stream."""
    with target.client() as client:
        found = []
        start = "-"
        while True:
            part = client.call("XRANGE", stream, start, "+", "COUNT", 5000)
            found += [(name, dict(zip(fields[::2], fields[1::2]))) for name, fields in part]
            if len(part) < 5000:
                return found
            start = "(" + part[-1][0]


def check_stream(target, server, stream=STREAM, first=1):
    """Every position from `first` on, once, in order, and what the journal has there."""
    last = position(server)
    found = entries(target, stream)
    equal([name for name, _ in found], [f"{number}-0" for number in range(first, last + 1)], f"the ids of {stream}")
    with server.client(timeout=60) as client:
        for start in range(first, last + 1, 1000):
            events = client.call("JOURNAL", "FROM", start, "COUNT", 1000)
            for text, (name, fields) in zip(events, found[start - first :]):
                event = json.loads(text)
                wanted = (f"{event['position']}-0", event["type"], event["subject"], str(event["streamversion"]))
                equal((name, fields["type"], fields["subject"], fields["version"]), wanted, "an entry")
    return found


def check_states(target, server, names, kind="account"):
    with target.client() as there, server.client() as here:
        for name in names:
            equal(there.call("GET", f"{kind}:{name}"), here.call("GET", f"{kind}/{name}"), f"the key {kind}:{name}")
            version = here.call("STATE", f"{kind}/{name}")[0]
            equal(there.call("HGET", f"{STREAM}:versions", f"{kind}:{name}"), str(version), f"the version of {name}")


def fill(server, count=20, accounts=3):
    """`count` more events over a few accounts."""
    with server.client() as client:
        for name in range(accounts):
            client.ask("DO", f"account/a-{name}", "Open", "owner", "o", "currency", "CZK")
        client.pipeline([("DO", f"account/a-{number % accounts}", "Deposit", "amount", number + 1)
                         for number in range(count)])
    return [f"a-{name}" for name in range(accounts)]


def publishing(context, target, *args):
    return context.server(args=["--publish", target if isinstance(target, str) else target.url, *args])


# What stands in the stream


@test("a thin entry says what happened, with the position as its id")
def thin_entries(context):
    target = redis(context)
    server = publishing(context, target)
    with server.client() as client:
        open_account(client, "a")
        open_account(client, "b")
        deposit(client, "a", 100, "@corr", "c1")
        client.call("DO", "account/a", "Transfer", "to", "b", "amount", 30)
    wait_published(server)
    rows = [("account.Opened", "a", 1), ("account.Opened", "b", 1), ("account.Deposited", "a", 2),
            ("account.TransferSent", "a", 3), ("account.TransferReceived", "b", 2)]
    wanted = [(f"{n}-0", {"id": str(n), "type": kind, "subject": f"account/{name}", "position": str(n),
                          "version": str(version)}) for n, (kind, name, version) in enumerate(rows, 1)]
    equal(entries(target), wanted, "the stream")
    about = target.call("HGETALL", f"{STREAM}:about")
    equal(about[2:6], ["stream", STREAM, "base", "0"], "what stands beside the stream")
    equal(target.call("KEYS", "*").sort(), [STREAM, f"{STREAM}:about"].sort(), "the keys of Redis")


@test("a fat entry carries the CloudEvent that JOURNAL shows")
def fat_entries(context):
    target = redis(context)
    server = publishing(context, target, "--publish-style", "fat")
    with server.client() as client:
        open_account(client, "a", owner='quote " and č')
        deposit(client, "a", 100, "@corr", "c1", "@by", "users/1")
        wait_published(server)
        events = client.call("JOURNAL")
    found = entries(target)
    equal([fields["event"] for _, fields in found], events, "the events")
    equal(found[1][1]["version"], "2", "the thin fields are there too")
    equal(json.loads(found[1][1]["event"])["correlationid"], "c1", "an extension")


@test("the audience that the model gives is in entries, CloudEvents and on channels of its own")
def audiences(context):
    target = redis(context)
    module = os.environ.get("NOTES_MODEL")
    if module is None:
        raise Skip("NOTES_MODEL is not set")
    server = publishing(context, target, "--model", module, "--publish-style", "fat", "--publish-audiences",
                        "--publish-channels", "--publish-state")
    with target.client() as listener, server.client() as client:
        listener.call("SUBSCRIBE", "memimage:audience:users:7")
        listener.call("SUBSCRIBE", "memimage:note")
        client.call("DO", "note/n-1", "Write", json.dumps({"text": "one", "readers": ["users:7", "educators:s-1"]}))
        client.call("DO", "note/n-2", "Write", "text", "two")
        client.call("DO", "note/n-1", "Write", json.dumps({"text": "three", "readers": ["users:8"]}))
        heard = [listener.read() for _ in range(4)]
        wait_states(server)
        journal = [json.loads(text) for text in client.call("JOURNAL")]
    equal([event.get("audience") for event in journal], ["users:7,educators:s-1", None, "users:8"], "the extension")
    found = entries(target)
    equal([fields.get("audience") for _, fields in found], ["users:7,educators:s-1", None, "users:8"], "the field")
    by_channel = {}
    for _, channel, text in heard:
        by_channel.setdefault(channel, []).append(json.loads(text)["position"])
    equal(by_channel, {"memimage:note": [1, 2, 3], "memimage:audience:users:7": [1]}, "who heard what")
    check_states(target, server, ["n-1", "n-2"], "note")


@test("a thin channel carries a small JSON object")
def thin_channels(context):
    target = redis(context)
    server = publishing(context, target, "--publish-channels")
    with target.client() as listener, server.client() as client:
        listener.call("SUBSCRIBE", "memimage:account")
        open_account(client, "a")
        equal(listener.read()[1:], ["memimage:account", '{"id":"1","type":"account.Opened","subject":"account/a",'
                                    '"position":1,"version":1}'], "the message")
        wait_published(server)
    equal(list(entries(target)[0][1]), ["id", "type", "subject", "position", "version"], "the entry stays thin")


@test("filters leave out events, and what is left has gaps that are none")
def filters(context):
    target = redis(context)
    server = publishing(context, target, "--publish-types", "account.Opened,TransferSent")
    fill(server, 1000)
    with server.client() as client:
        client.call("DO", "account/a-0", "Transfer", "to", "a-1", "amount", 1)
        fill(server, 500)
        wait_published(server)
        open_account(client, "late")
    wait_published(server)
    server.restart(crash=True)
    with server.client() as client:
        open_account(client, "later")
    wait_published(server)
    found = [(fields["type"], fields["subject"]) for _, fields in entries(target)]
    equal(found, [("account.Opened", "account/a-0"), ("account.Opened", "account/a-1"),
                  ("account.Opened", "account/a-2"), ("account.TransferSent", "account/a-0"),
                  ("account.Opened", "account/late"), ("account.Opened", "account/later")], "the entries")
    equal(info(server)["publish_gaps"], "0", "gaps")


@test("MAXLEN keeps the stream short, and a trimmed stream is no hole")
def maxlen(context):
    target = redis(context)
    server = publishing(context, target, "--publish-maxlen", "100")
    fill(server, 5000)
    last = wait_published(server)
    check(target.call("XLEN", STREAM) < 1000, "the stream is trimmed")
    server.restart()
    fill(server, 10)
    last = wait_published(server)
    found = entries(target)
    equal(found[-1][0], f"{last}-0", "the last entry")
    equal([name for name, _ in found], [f"{n}-0" for n in range(last - len(found) + 1, last + 1)], "no hole")
    equal(info(server)["publish_gaps"], "0", "gaps")


@test("the read model is what GET answers, hot aggregates included")
def read_model(context):
    target = redis(context)
    server = publishing(context, target, "--publish-state")
    names = fill(server, 3000, 50)
    stop = threading.Event()
    seen = []

    def watch():
        with target.client() as client:
            while not stop.is_set():
                text = client.call("GET", "account:hot")
                if text is not None:
                    seen.append(json.loads(text)["balance"])

    with server.client() as client:
        open_account(client, "hot")
        watcher = threading.Thread(target=watch)
        watcher.start()
        for _ in range(20):
            client.pipeline([("DO", "account/hot", "Deposit", "amount", 1)] * 500)
        stop.set()
        watcher.join()
    wait_states(server)
    check_states(target, server, [*names, "hot"])
    equal(seen, sorted(seen), "the balance seen never falls")
    target.call("DEL", "account:hot")
    with server.client() as client:
        deposit(client, "hot", 1)
    wait_states(server)
    check_states(target, server, ["hot"])


@test("the read model never goes backwards, whoever writes")
def read_model_versions(context):
    target = redis(context)
    server = publishing(context, target, "--publish-state")
    fill(server, 10, 2)
    wait_states(server)
    target.call("HSET", f"{STREAM}:versions", "account:a-0", "1000")  # as if a publisher far ahead had been here
    target.call("SET", "account:a-0", "newer")
    fill(server, 10, 2)
    wait_states(server)
    equal(target.call("GET", "account:a-0"), "newer", "the newer state")
    check_states(target, server, ["a-1"])


# Troubles


@test("a Redis that is absent is waited for, and gets everything")
def absent(context):
    target = Redis(context)
    server = publishing(context, target, "--publish-state")
    names = fill(server, 500)
    now = wait_state(server, "backing_off", "refused")
    equal(int(now["publish_lag_events"]), 503, "the lag")
    check("publish_interrupted" in server.stderr(), "the log tells it")
    equal(server.stderr().count("publish_interrupted"), 1, "lines in the log")
    target.start()
    wait_states(server)
    check_stream(target, server)
    check_states(target, server, names)
    equal(info(server)["publish_reason"], "", "the reason when it is live")


@test("a paused Redis does not stop commands, and goes on where it was")
def paused(context):
    target = redis(context)
    server = publishing(context, target)
    fill(server, 100)
    wait_published(server)
    target.process.signal(signal.SIGSTOP)
    fill(server, 20000)
    now = info(server)
    check(int(now["publish_lag_events"]) > 0, "there is a lag")
    check(int(now["publish_unanswered_calls"]) <= 8, f"calls on their way: {now['publish_unanswered_calls']}")
    check(int(now["publish_unanswered_bytes"]) < 8 << 20, f"bytes on their way: {now['publish_unanswered_bytes']}")
    wait_state(server, "backing_off", "no answer")
    target.process.signal(signal.SIGCONT)
    wait_published(server)
    check_stream(target, server)


@test("a Redis out of memory refuses, and gets everything when it has room, without a hole")
def out_of_memory(context):
    target = redis(context)
    server = publishing(context, target, "--publish-state")
    names = fill(server, 100)
    wait_states(server)
    with target.client() as client:
        used = int(re.search(r"used_memory:(\d+)", client.call("INFO", "memory")).group(1))
        client.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        client.call("CONFIG", "SET", "maxmemory", used + 300000)
        fill(server, 30000)
        wait_state(server, "backing_off", "OOM")
        for step in range(1, 6):  # a little more room, several times: each time some of it fits
            client.call("CONFIG", "SET", "maxmemory", used + 300000 + step * 60000)
            time.sleep(0.1)
        client.call("CONFIG", "SET", "maxmemory", 0)
    wait_states(server)
    check(int(info(server)["publish_refusals"]) > 0, "refusals are counted")
    check_stream(target, server)
    check_states(target, server, names)


@test("a Redis that became a replica refuses, and gets everything when it is a primary again")
def read_only(context):
    other = redis(context)
    target = redis(context)
    server = publishing(context, target)
    fill(server, 50)
    wait_published(server)
    other.call("SET", "x", "y")
    dump = [(name, fields) for name, fields in entries(target)]
    target.call("CONFIG", "SET", "replica-serve-stale-data", "yes")
    target.call("REPLICAOF", "127.0.0.1", free_port())  # a primary that does not exist: it keeps its data
    fill(server, 50)
    wait_state(server, "backing_off", "READONLY")
    equal(entries(target), dump, "the stream meanwhile")
    target.call("REPLICAOF", "NO", "ONE")
    wait_published(server)
    check_stream(target, server)


@test("a wrong password is told, and the right one works")
def password(context):
    target = redis(context, "--requirepass", "right")
    server = publishing(context, f"redis://:wrong@127.0.0.1:{target.port}")
    fill(server, 10)
    wait_state(server, "backing_off", "WRONGPASS")
    check("wrong" not in server.stderr().replace("WRONGPASS", ""), "the log does not show the password")
    with target.client() as client:
        client.call("AUTH", "right")
        client.call("CONFIG", "SET", "requirepass", "wrong")
        wait_published(server)
        client.call("CONFIG", "SET", "requirepass", "")
    check_stream(target, server)
    without = publishing(context, redis(context, "--requirepass", "p"))
    wait_state(without, "backing_off", "NOAUTH")


@test("an ACL user, a database and a unix socket work")
def unix_socket(context):
    target = redis(context)
    path = os.path.join(target.scratch, "r.sock")
    target.kill()
    target.start("--unixsocket", path)
    target.call("ACL", "SETUSER", "mim", "on", ">s@cret", "~*", "&*", "+@all")
    server = publishing(context, f"unix://mim:s%40cret@{path}?db=3")
    fill(server, 10)
    wait_published(server)
    with target.client() as client:
        client.call("SELECT", 3)
        equal(client.call("XLEN", STREAM), 13, "entries in database 3")


class Peer(threading.Thread):
    """Something that listens where a Redis was awaited."""

    def __init__(self, context, greeting, answer, close=False):
        super().__init__(daemon=True)
        self.greeting, self.answer, self.close = greeting, answer, close
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        context.stack.callback(self.listener.close)
        self.start()

    def run(self):
        kept = []
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                kept.append(peer)
                threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        with contextlib.suppress(OSError):
            peer.sendall(self.greeting)
            while peer.recv(65536) and not self.close:
                peer.sendall(self.answer)
            peer.close()


@test("what is no Redis at all is told, and never brings the server down")
def no_redis(context):
    peers = [
        Peer(context, b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        Peer(context, b"+OK POP3 ready\r\n+OK\r\n*2\r\n:1\r\n:2\r\n", b"-ERR no\r\n"),
        Peer(context, b"", b"+OK\r\n"),
        Peer(context, b"", b":1\r\n:1\r\n$-1\r\n*-1\r\n"),
        Peer(context, b"", b"*3\r\n*3\r\n$2\r\nhi\r\n"),
        Peer(context, b"", b"$99999999999999999999\r\n"),
        Peer(context, b"", b"*1000000000\r\n"),
        Peer(context, b"", b"", close=True),
        Peer(context, bytes(range(256)) * 64, b""),
        Peer(context, b"$100000000\r\n" + b"x" * (20 << 20), b"x" * 65536),
    ]
    servers = [publishing(context, f"redis://127.0.0.1:{peer.port}") for peer in peers]
    servers.append(publishing(context, f"redis://127.0.0.1:{servers[0].port}"))  # another memimage
    for server in servers:
        wait_for(lambda: int(info(server)["publish_failures"]) > 0, PATIENCE, "a failure")  # noqa: B023
        with server.client() as client:
            equal(open_account(client, "a"), [1, 1], "commands go on")
    for server in servers:
        equal(server.stop(), 0, "exit status")


@test("scripts that Redis forgets and connections that it closes cost nothing")
def forgetful(context):
    target = redis(context)
    server = publishing(context, target)
    for _ in range(3):
        fill(server, 100)
        target.call("SCRIPT", "FLUSH")
        fill(server, 100)
        target.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        fill(server, 100)
        wait_published(server)
    check_stream(target, server)
    check(int(info(server)["publish_reconnects"]) > 0, "reconnects are counted")


# Gaps


def gap_stop(server, words):
    now = wait_state(server, "stopped", words)
    check("publish_stopped" in server.stderr(), "the log tells it")
    with server.client() as client:
        check(client.call("PING") == "PONG", "the server goes on")
    return now


@test("a flushed Redis stops publication by default, while running and at the next start")
def flushed_stop(context):
    target = redis(context)
    server = publishing(context, target)
    fill(server, 50)
    wait_published(server)
    time.sleep(1.3)  # publish.state is written once a second
    target.call("FLUSHALL")
    fill(server, 10)
    gap_stop(server, "is gone")
    equal(target.call("DBSIZE"), 0, "nothing is written")
    server.restart(crash=True)
    gap_stop(server, "is gone")
    equal(target.call("DBSIZE"), 0, "nothing is written")


@test("a flushed Redis is filled again from the first position by refill")
def flushed_refill(context):
    target = redis(context)
    server = publishing(context, target, "--publish-on-gap", "refill", "--publish-state")
    names = fill(server, 700)
    wait_states(server)
    target.call("FLUSHALL")
    fill(server, 10)
    wait_states(server)
    check_stream(target, server)
    check_states(target, server, names)
    check("publish_refill" in server.stderr(), "the log tells it")
    target.call("DEL", STREAM)
    fill(server, 10)
    wait_states(server)
    check_stream(target, server)
    equal(info(server)["publish_gaps"], "2", "gaps")


@test("a flushed Redis gets a new stream by new-stream, and a restart goes on in it")
def flushed_new_stream(context):
    target = redis(context)
    server = publishing(context, target, "--publish-on-gap", "new-stream", "--publish-state")
    names = fill(server, 50)
    wait_states(server)
    target.call("FLUSHALL")
    fill(server, 10)
    wait_states(server)
    equal(target.call("EXISTS", STREAM), 0, "the old stream")
    check_stream(target, server, f"{STREAM}:2")
    check_states(target, server, names)
    server.restart(crash=True)
    fill(server, 10)
    wait_states(server)
    equal(info(server)["publish_stream"], f"{STREAM}:2", "the stream after a restart")
    target.call("FLUSHALL")
    fill(server, 10)
    wait_states(server)
    check_stream(target, server, f"{STREAM}:3")


@test("a lost tail is told; refill fills in just what is missing, new-stream goes on with it")
def lost_tail(context):
    for policy in ("stop", "refill", "new-stream"):
        target = redis(context)
        server = publishing(context, target, "--publish-on-gap", policy)
        fill(server, 50)
        kept = wait_published(server)
        target.call("SAVE")
        fill(server, 50)
        wait_published(server)
        target.kill()
        target.start()
        if policy == "stop":
            gap_stop(server, f"ends at position {kept}")
            continue
        wait_for(lambda: int(info(server)["publish_gaps"]) == 1, PATIENCE, "the gap")
        fill(server, 50)
        wait_published(server)
        if policy == "refill":
            check_stream(target, server)
        else:
            equal(entries(target)[-1][0], f"{kept}-0", "the old stream's end")
            check_stream(target, server, f"{STREAM}:2", kept + 1)


@test("a stream of somebody else is not written to, unless refill says so")
def foreign(context):
    for kind in ("clock", "history"):
        for policy in ("stop", "refill", "new-stream"):
            target = redis(context)
            if kind == "clock":
                target.call("XADD", STREAM, "*", "hello", "world")
            else:
                other = publishing(context, target)
                fill(other, 5)
                wait_published(other)
                equal(other.stop(), 0, "exit status")
            before = entries(target)
            server = publishing(context, target, "--publish-on-gap", policy)
            fill(server, 50)
            if policy == "stop":
                gap_stop(server, "not written by memimage" if kind == "clock" else "another history")
            else:
                wait_published(server)
                check_stream(target, server, STREAM if policy == "refill" else f"{STREAM}:2")
                server.restart(crash=True)
                fill(server, 5)
                wait_published(server)
                check_stream(target, server, STREAM if policy == "refill" else f"{STREAM}:2")
            if policy != "refill":
                equal(entries(target), before, "the other's stream")


@test("a stream that is ahead of the journal, or tells another story at its end, is not ours")
def ahead(context):
    target = redis(context)
    server = publishing(context, target)
    fill(server, 20)
    wait_published(server)
    equal(server.stop(), 0, "exit status")
    copy = os.path.join(context.scratch(), "data")
    shutil.copytree(server.directory, copy)
    server.start()
    fill(server, 20)
    wait_published(server)
    equal(server.stop(), 0, "exit status")
    branch = context.server(directory=copy, args=["--publish", target.url])
    gap_stop(branch, "the journal at 23")
    with branch.client() as client:
        client.pipeline([("DO", "account/a-1", "Deposit", "amount", 1)] * 30)
    branch.restart()
    gap_stop(branch, "in the journal")
    equal(len(entries(target)), 43, "entries")


@test("an entry that was never written is noticed, one that a consumer deleted is none")
def hole(context):
    target = redis(context)
    server = publishing(context, target)
    fill(server, 20)
    last = wait_published(server)
    target.call("XDEL", STREAM, "5-0", "6-0", f"{last}-0")
    server.restart()
    fill(server, 5)
    wait_published(server)
    equal(len(entries(target)), last + 5 - 3, "entries")
    equal(server.stop(), 0, "exit status")
    kept = entries(target)
    target.call("DEL", STREAM)
    with target.client() as client:
        for name, fields in kept:
            client.call("XADD", STREAM, name, *(word for field in fields.items() for word in field))
    server.start()
    gap_stop(server, "entries")


@test("somebody who writes into the stream is noticed at once")
def intruder(context):
    target = redis(context)
    server = publishing(context, target)
    fill(server, 20)
    wait_published(server)
    target.call("XADD", STREAM, "*", "hello", "world")
    fill(server, 20)
    gap_stop(server, "the journal at")
    equal(len(entries(target)), 24, "entries")


# Both sides killed


class Load(threading.Thread):
    """Pipelines of deposits, whatever happens to the server."""

    def __init__(self, server, seed):
        super().__init__(daemon=True)
        self.server, self.random, self.over = server, random.Random(seed), threading.Event()
        self.problem = None

    def run(self):
        while not self.over.is_set():
            try:
                with Client(self.server.port) as client:
                    while not self.over.is_set():
                        batch = [("DO", f"account/a-{self.random.randrange(20)}", "Deposit", "amount", 1)
                                 for _ in range(self.random.randrange(1, 100))]
                        client.send_raw(b"".join(encode(*words) for words in batch))
                        client.read_all(len(batch))
                        time.sleep(0.005)
            except (Closed, OSError, TypeError):
                time.sleep(0.02)


@test("Redis and the server are killed at random under load: every position once, in order; the read model is the image")
def crashes(context):
    target = redis(context, *ALWAYS)
    server = publishing(context, target, "--publish-state")
    names = fill(server, 20, 20)
    source = random.Random(SEED)
    print(f"# SEED={SEED} ROUNDS={ROUNDS}")
    load = Load(server, SEED)
    load.start()
    for _ in range(ROUNDS):
        time.sleep(source.random() * 0.4)
        kind = source.randrange(3)
        if kind != 0:
            target.kill()
        if kind != 1:
            server.restart(crash=True)
        if kind != 0:
            time.sleep(source.random() * 0.3)
            target.start()
        wait_for(lambda: info(server)["publish_state"] == "live" or None, PATIENCE, "publication after a crash")
    load.over.set()
    load.join()
    wait_states(server)
    found = check_stream(target, server)
    check_states(target, server, names)
    equal(info(server)["publish_gaps"], "0", "gaps")
    print(f"# {len(found)} entries")


# The command line, and the README's consumers


@test("wrong options stop the start with exit status 1 and a sentence")
def wrong_options(context):
    for words, text in (
        (["--publish", "http://x"], "--publish"),
        (["--publish", "rediss://x"], "TLS"),
        (["--publish-style", "slim"], "thin or fat"),
        (["--publish-on-gap", "hope"], "stop, refill or new-stream"),
        (["--publish", "redis://x", "--publish-stream", "a b"], "--publish-stream"),
        (["--publish", "redis://x", "--publish-types", "account.Nothing"], "account.Nothing"),
        (["--publish", "redis://x", "--publish-aggregates", "account,zebra"], "zebra"),
    ):
        status, _, err = memimage("serve", "--dir", os.path.join(context.scratch(), "d"), "--port", "0", *words)
        equal(status, 1, f"exit status of {words}")
        check(text in err, f"{words}: {err}")


@test("a name that cannot be resolved is told")
def unresolved(context):
    server = publishing(context, "redis://no.such.host.invalid:6379")
    wait_state(server, "backing_off", "cannot resolve")
    target = redis(context)
    named = publishing(context, f"redis://localhost:{target.port}")
    fill(named, 5)
    wait_published(named)


@test("without --publish there is nothing to do, and INFO says so")
def off(context):
    server = context.server()
    equal(info(server), {"publish_state": "off"}, "INFO publish")
    check(not os.path.exists(os.path.join(server.directory, "publish.state")), "no memory file")


@test("a consumer group reads what is published, by redis-cli, as the README shows it")
def consumer_group(context):
    if shutil.which("redis-cli") is None:
        raise Skip("redis-cli is not installed")
    target = redis(context)
    server = publishing(context, target, "--publish-state")

    def cli(*words):
        status, out, err = command("redis-cli", "-p", target.port, "--raw", *words)
        equal(status, 0, err)
        return out.splitlines()

    equal(cli("XGROUP", "CREATE", STREAM, "mailer", "0", "MKSTREAM"), ["OK"], "the group")
    with server.client() as client:
        open_account(client, "alice", owner="Alice")
        deposit(client, "alice", 5000)
    wait_states(server)
    read = cli("XREADGROUP", "GROUP", "mailer", "worker-1", "COUNT", "10", "STREAMS", STREAM, ">")
    equal(read[:4], [STREAM, "1-0", "id", "1"], "the first entry")
    check("account.Deposited" in read, "the second entry")
    equal(cli("XACK", STREAM, "mailer", "1-0", "2-0"), ["2"], "acknowledged")
    equal(cli("XREADGROUP", "GROUP", "mailer", "worker-1", "COUNT", "10", "STREAMS", STREAM, ">"), [""], "no more")
    equal(json.loads(cli("GET", "account:alice")[0])["balance"], 5000, "the read model")
    equal(cli("HGET", f"{STREAM}:versions", "account:alice"), ["2"], "its version")


if __name__ == "__main__":
    sys.exit(main())
