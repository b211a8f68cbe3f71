# SPDX-License-Identifier: MIT
# A Redis in trouble: absent, paused, full, read-only, locked, no Redis at all, flushed, with a lost tail, somebody else's.
# Commands go on, INFO tells it, no position is lost or written twice, and the policies for gaps do what they say.
"""Black-box test of publication to a Redis in trouble."""

import contextlib
import os
import re
import shutil
import signal
import socket
import sys
import threading
import time

from harness import check, equal, free_port, main, test, wait_for
from ledger import open_account
from publish_support import (PATIENCE, STREAM, Redis, check_states, check_stream, entries, fill, info, publishing,
                             redis, wait_published, wait_state, wait_states)

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


@test("a name that cannot be resolved is told")
def unresolved(context):
    server = publishing(context, "redis://no.such.host.invalid:6379")
    wait_state(server, "backing_off", "cannot resolve")
    target = redis(context)
    named = publishing(context, f"redis://localhost:{target.port}")
    fill(named, 5)
    wait_published(named)


if __name__ == "__main__":
    sys.exit(main())
