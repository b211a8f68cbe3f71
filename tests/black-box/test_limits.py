# SPDX-License-Identifier: MIT
# Every bound of what a client can make grow: hit, answered or closed as documented, counted in INFO, and without harm to
# others. Those of requests are in test_hostile.py too; users, addresses and TLS in test_security.py and test_tls.py.
"""The limits and their counters."""

import contextlib
import os
import resource
import socket
import sys
import time

import publish_support
from harness import Closed, Skip, check, equal, error, main, sanitized, test, wait_for
from resp import encode

OPEN = ("Open", "owner", "O", "currency", "CZK")


def info(client, name):
    for line in client.call("INFO", "everything").splitlines():
        if line.startswith(name + ":"):
            return int(line.split(":", 1)[1])
    raise AssertionError(name)


def ends(client, seconds=20):
    """The server closes this client; what it still says first is returned."""
    said = []
    try:
        while True:
            said.append(client.read(timeout=seconds))
    except Closed:
        return said


@test("clients-max: one more is told so and closed")
def clients_max(t):
    server = t.server(args=["--clients-max", "3"])
    first = t.client(server)
    wait_for(lambda: info(first, "connected_clients") == 1, 20, "one client")
    others = [t.client(server) for _ in range(2)]
    equal([other.call("PING") for other in others], ["PONG"] * 2)
    more = t.client(server)
    equal([reply.text for reply in ends(more)], ["ERR max number of clients reached"])
    equal(info(first, "rejected_connections"), 1)


@test("before AUTH: few and small arguments, and ten seconds")
def before_auth(t):
    server = t.new_server(args=["--requirepass", "sesam"]).launch()
    wait_for(lambda: "info ready" in server.stderr(), 60, "the server")
    root = t.client(server)
    equal(root.call("AUTH", "sesam"), "OK")
    silent = t.client(server)
    errors = info(root, "protocol_errors")
    for request in (b"*17\r\n", b"*2\r\n$4\r\nAUTH\r\n$16385\r\n"):
        greedy = t.client(server)
        greedy.send_raw(request)
        check(error(ends(greedy)[-1], "ERR").startswith("ERR Protocol error"), request)
    equal(info(root, "protocol_errors"), errors + 2)
    large = "x" * 100_000
    equal(root.call("ECHO", large), large, "with a password there is more room")
    ends(silent)
    equal(info(root, "limit_noauth_closed"), 1)


@test("arguments, sizes of requests and lines: refused as protocol errors")
def requests(t):
    server, c = t.pair(args=["--query-size-max", "64k"])
    for request in (b"*1025\r\n", b"*1\r\n$65537\r\n", b"x" * 70_000, b"*1\r\n$99999999999999999999\r\n"):
        greedy = t.client(server)
        greedy.send_raw(request)
        check(error(ends(greedy)[0], "ERR").startswith("ERR Protocol error"), request[:20])
    equal(info(c, "protocol_errors"), 4)


@test("incomplete requests of all clients together: whoever wants more is refused, the others go on")
def input_total(t):
    if sanitized():
        raise Skip("it needs 256 MiB, and several times that with a sanitizer")
    server, c = t.pair(args=["--query-size-max", "64m"])
    piece = b"x" * (1 << 20)
    greedy = [t.client(server) for _ in range(8)]
    refused = 0
    for client in greedy:
        try:
            client.send_raw(b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % (64 << 20))
            for _ in range(60):
                client.send_raw(piece)
        except (Closed, OSError):
            refused += 1
    wait_for(lambda: info(c, "limit_input_total_refused") >= 1, 30, "the bound")
    check(info(c, "client_input_bytes") <= 256 << 20, "at most that much")
    equal(c.call("DO", "account/a", *OPEN), [1, 1])
    for client in greedy:
        client.close()
    wait_for(lambda: info(c, "client_input_bytes") == 0, 30, "the memory to be given back")


@test("output: a client for whom too much waits is closed; one with too many requests un-replied is read no further")
def output(t):
    server, c = t.pair(args=["--output-size-max", "64k", "--pipeline-max", "8"])
    greedy = t.client(server)
    try:
        for _ in range(20):
            greedy.send("ECHO", "x" * 900_000)
    except Closed:
        pass
    wait_for(lambda: info(c, "limit_output_closed") == 1, 20, "the counter")
    many = t.client(server)
    many.send_raw(b"".join(encode("DO", f"account/{i}", *OPEN) for i in range(100)))
    equal([many.read()[0] for _ in range(100)], [1] * 100)
    check(info(c, "stalls_output") >= 1, "it was paused in between")


@test("idle clients are closed after their time, followers are not idle")
def idle(t):
    server, c = t.pair(args=["--idle-timeout", "2"])
    silent, follower = t.client(server), t.client(server)
    follower.hello(3)
    equal(follower.call("FOLLOW"), "OK")
    deadline = time.monotonic() + 20
    while info(c, "limit_idle_closed") < 1 and time.monotonic() < deadline:
        time.sleep(0.2)
    equal(info(c, "limit_idle_closed"), 1)
    ends(silent)
    c.call("DO", "account/a", *OPEN)
    equal(follower.read_push()[0], "event")


@test("an incomplete request that gets no byte for a minute is closed")
def partial(t):
    if os.environ.get("ROUNDS") is None:
        raise Skip("it takes a minute: set ROUNDS")
    server, c = t.pair()
    slow = t.client(server)
    slow.send_raw(b"*2\r\n$4\r\nEC")
    ends(slow, 90)
    equal(info(c, "limit_partial_closed"), 1)


@contextlib.contextmanager
def without_descriptors(server):
    """Connections have taken the last descriptors that the running server may have."""
    used = max(int(name) for name in os.listdir(f"/proc/{server.process.pid}/fd"))
    before = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (used + 3, before[1]))
    clients = []
    for _ in range(20):
        try:
            clients.append(socket.create_connection(("127.0.0.1", server.port), timeout=20))
        except OSError:
            pass
    try:
        yield
    finally:
        for client in clients:
            client.close()
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, before)


@test("without descriptors new clients are told so, and come in again when there are some")
def descriptors(t):
    server, c = t.pair()
    with without_descriptors(server):
        wait_for(lambda: info(c, "limit_descriptors") >= 10, 20, "the counter")
        equal(c.call("DO", "account/a", *OPEN), [1, 1])

    def comes_in():
        try:
            with server.client() as again:
                return again.ask("PING") == "PONG"
        except (Closed, OSError):
            return False

    wait_for(comes_in, 20, "a place")


@test("without descriptors no command fails, not even those that begin segments of the journal")
def descriptors_of_the_journal(t):
    server, c = t.pair(args=("--segment-size-max", "4m"))
    with without_descriptors(server):
        wide = [("DO", f"account/w-{n}", "Open", "owner", "o" * 8000, "currency", "CZK") for n in range(1800)]
        equal(c.pipeline(wide), [[1, n + 1] for n in range(1800)], "the answers")
    check(info(c, "segment_rolls") >= 3, "segments were begun")
    server.restart(crash=True)
    with server.client() as again:
        equal(again.call("DIGEST")[0], 1800, "events after a restart")


@test("without descriptors publication waits, and goes on by itself when there are some")
def descriptors_of_publication(t):
    target = publish_support.redis(t)
    server, c = t.pair(args=("--segment-size-max", "4m", "--publish", target.url))
    equal(c.call("DO", "account/a", *OPEN), [1, 1])
    publish_support.wait_published(server)
    with without_descriptors(server):
        wide = [("DO", f"account/w-{n}", "Open", "owner", "o" * 8000, "currency", "CZK") for n in range(1800)]
        equal(c.pipeline(wide), [[1, n + 2] for n in range(1800)], "the answers")
        time.sleep(0.5)
        check("publish_state:stopped" not in c.call("INFO", "publish"), "publication does not give up")
    publish_support.wait_published(server)
    equal(len(publish_support.entries(target)), 1801, "each event once")


@test("a browser's or another server's words close the connection, and do not fill the log")
def cross_protocol(t):
    server, c = t.pair()
    for words in (b"POST / HTTP/1.1\r\nHost: x\r\n\r\nPING\r\n", b"HOST: x\r\n"):
        stranger = t.client(server)
        stranger.send_raw(words)
        equal(ends(stranger), [])
    equal(info(c, "cross_protocol_closed"), 2)
    for _ in range(100):
        stranger = t.client(server)
        stranger.send_raw(b"POST / HTTP/1.1\r\n")
        ends(stranger)
    equal(info(c, "cross_protocol_closed"), 102)
    lines = server.stderr().count("cross_protocol")
    equal(lines + info(c, "log_lines_suppressed"), 102, "lines logged and not")
    check(info(c, "log_lines_suppressed") > 0 and lines >= 20, "the log has a bound too")


if __name__ == "__main__":
    sys.exit(main())
