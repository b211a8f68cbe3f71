# SPDX-License-Identifier: MIT
# Hot standbys: copying, following, confirming, promotion, the former primary's return, switch-over, hostile peers.
# Rounds of kill -9 and promotion from $ROUNDS (default 4).
"""Black-box tests of replication."""

import json
import os
import random
import signal
import socket
import sys
import threading
import time

import publish_support
from harness import Skip, check, equal, error, main, memimage, sanitized, test, wait_for
from keyed import SHARED, Record, Worker, check_record, resend_all
from ledger import balance, deposit, digest, dumped_events, offline_digest, open_account, version
from replicas import asked, caught_up, info, is_following, position, primary, same_journals, standby_of
from resp import Client, Closed, RespError

ROUNDS = int(os.environ.get("ROUNDS", "4"))
SEED = int(os.environ.get("SEED", str(random.SystemRandom().randrange(2**32))))


@test("a new standby copies, follows, answers queries, refuses commands and names its primary")
def follows(t):
    server = primary(t)
    c = t.client(server)
    open_account(c, "a")
    follower = standby_of(t, server)
    caught_up(server, follower)
    s = t.client(follower)
    equal(deposit(c, "a", 5), [2, 2], "a deposit on the primary")
    equal(c.call("WAIT", 1, 5000), 1, "WAIT 1")
    equal(balance(s, "a"), 5, "balance on the standby")
    text = error(s.ask("DO", "account/a", "Deposit", "amount", 1), "READONLY")
    check(f"127.0.0.1:{server.port}" in text, f"READONLY names the primary: {text}")
    equal(s.call("ROLE"), ["slave", "127.0.0.1", server.port, "connected", 2], "ROLE of the standby")
    equal(c.call("ROLE"), ["master", 2, [["127.0.0.1", str(follower.port), "2"]]], "ROLE of the primary")
    equal(len(s.call("EVENTS", "account/a")), 2, "EVENTS on the standby")
    equal(s.call("STATE", "account/a", "AT", "VERSION", 1)[0], 1, "STATE AT on the standby")
    equal(json.loads(s.call("QUERY", "account", "Totals")), json.loads(c.call("QUERY", "account", "Totals")), "Totals")
    facts = info(s)
    equal((facts["role"], facts["master_link_status"], facts["lag_events"]), ("slave", "up", "0"), "INFO replication")
    equal(info(c)["connected_slaves"], "1", "connected_slaves")
    same_journals(server, follower)


@test("FOLLOW on a standby gets what the primary decides")
def follow_on_standby(t):
    server = primary(t)
    follower = standby_of(t, server)
    caught_up(server, follower)
    f = t.client(follower)
    f.hello(3)
    f.call("FOLLOW", "FROM", 1)
    with server.client() as c:
        open_account(c, "a")
        c.pipeline([("DO", "account/a", "Deposit", "amount", 1)] * 500)
    ids = [json.loads(f.read_push()[1])["id"] for _ in range(501)]
    equal(ids, [str(n) for n in range(1, 502)], "positions followed")


@test("FOLLOW on a former primary tells nothing of what may be set aside, and goes on when it has met its primary")
def follow_on_former_primary(t):
    server = primary(t)
    follower = standby_of(t, server)
    with server.client() as c:
        open_account(c, "a")
        caught_up(server, follower)
        follower.kill()
        for _ in range(5):
            deposit(c, "a", 1)  # the standby never hears of these
    server.kill()
    follower.args = []
    follower.start()
    server.args = ["--replica-of", f"127.0.0.1:{follower.port}"]
    follower.process.signal(signal.SIGSTOP)  # connects to it, and gets no answer
    server.launch()
    wait_for(server._ready, 30, "the former primary")
    f = t.client(server)
    f.hello(3)
    f.call("FOLLOW", "FROM", 1)
    try:
        check(False, f"it was told {f.read_push(0.5)}")
    except TimeoutError:
        pass
    follower.process.signal(signal.SIGCONT)
    with follower.client() as c:
        deposit(c, "a", 100)
    wait_for(lambda: is_following(server), 30, "the link")
    f = t.client(server)
    f.hello(3)
    f.call("FOLLOW", "FROM", 1)
    amounts = [json.loads(f.read_push()[1])["data"].get("amount") for _ in range(2)]
    equal(amounts, [None, 100], "what a follower is told")


@test("a standby that was away goes on where it stopped, and copies nothing twice")
def returns(t):
    server = primary(t, "--segment-size-max", "4m")
    follower = standby_of(t, server)
    with server.client() as c:
        open_account(c, "a")
        caught_up(server, follower)
        for crash in (False, True):
            follower.kill() if crash else equal(follower.stop(), 0, "exit status")
            c.pipeline([("DO", "account/a", "Deposit", "amount", 1, "@corr", "x" * 200)] * 20000)
            follower.start()
            caught_up(server, follower)
    equal(info(t.client(follower))["copies"], "0", "copies after the restart")
    check(len([n for n in server.journal_files() if n.endswith(".journal")]) > 1, "the journal has rolled")
    same_journals(server, follower)
    follower.stop()
    equal(offline_digest(follower.directory, "--from-scratch"), asked(server, "DIGEST")[1], "the true test, standby")


@test("a standby copies the newest snapshot too, and may copy the tail alone")
def copies_snapshot(t):
    server = primary(t, "--segment-size-max", "4m")
    with server.client() as c:
        open_account(c, "a")
        c.pipeline([("DO", "account/a", "Deposit", "amount", 1, "@corr", "x" * 200)] * 30000)
        c.call("SNAPSHOT")
        c.pipeline([("DO", "account/a", "Deposit", "amount", 1)] * 100)
    follower = standby_of(t, server)
    caught_up(server, follower)
    equal(os.listdir(os.path.join(follower.directory, "snapshots")) != [], True, "a snapshot came along")
    tail = standby_of(t, server, "--replica-history", "tail")
    caught_up(server, tail)
    s = t.client(tail)
    equal(json.loads(s.call("GET", "account/a"))["balance"], 30100, "balance of the tail standby")
    check(len(tail.journal_files()) < len(follower.journal_files()), "the tail standby has fewer segments")
    deposit(t.client(server), "a", 1)
    caught_up(server, tail)
    for one in (follower, tail):
        equal(one.restart(crash=True) is one and position(one), position(server), "position after a restart")


@test("snapshots can be taken on a standby, and standbys of standbys work")
def cascade(t):
    server = primary(t)
    middle = standby_of(t, server)
    caught_up(server, middle)
    last = standby_of(t, middle)
    with server.client() as c:
        open_account(c, "a")
        c.pipeline([("DO", "account/a", "Deposit", "amount", 1)] * 1000)
    caught_up(server, last)
    equal(asked(middle, "SNAPSHOT"), 1001, "position of the standby's snapshot")
    caught_up(server, middle)
    same_journals(server, last)
    error(asked(last, "DO", "account/a", "Deposit", "amount", 1), "READONLY")


@test("promotion opens a new epoch; the former primary is recognised, its tail set aside, and it follows")
def promotion(t):
    server = primary(t)
    follower = standby_of(t, server)
    with server.client() as c:
        open_account(c, "a")
        deposit(c, "a", 100)
    caught_up(server, follower)
    follower.kill()
    with server.client() as c:
        equal(deposit(c, "a", 7, "@corr", "only-here"), [3, 3], "a deposit that the standby never sees")
    server.kill()
    follower.start()
    s = t.client(follower)
    before = int(info(s)["epoch"])
    equal(s.call("REPLICAOF", "NO", "ONE"), "OK", "promotion")
    check(int(info(s)["epoch"]) > before, "the epoch has grown")
    equal(deposit(s, "a", 1), [3, 3], "the promoted one decides")
    server.args = ["--replica-of", f"127.0.0.1:{follower.port}", "--no-rewind"]
    server.start()
    wait_for(lambda: "no-rewind" in server.stderr(), 10, "--no-rewind to refuse")
    equal(asked(server, "GET", "account/a") is not None, True, "it still answers what it had")
    server.stop()
    server.args = ["--replica-of", f"127.0.0.1:{follower.port}"]
    server.start()
    caught_up(follower, server)
    aside = [name for name in os.listdir(server.directory) if name.startswith("diverged-")]
    equal(len(aside), 1, "one directory with the tail")
    events = dumped_events(os.path.join(server.directory, aside[0]))
    equal([(e["position"], e.get("correlationid")) for e in events][-1], (3, "only-here"), "the tail that was saved")
    same_journals(follower, server)
    equal(json.loads(asked(server, "GET", "account/a"))["balance"], 101, "balance of the former primary")


@test("a former primary that meets its successor stops taking commands")
def fenced(t):
    server = primary(t)
    follower = standby_of(t, server)
    with server.client() as c:
        open_account(c, "a")
    caught_up(server, follower)
    equal(asked(follower, "REPLICAOF", "NO", "ONE"), "OK", "promotion")
    equal(asked(server, "DO", "account/a", "Deposit", "amount", 1), [2, 2], "nobody has told the old one yet")
    server.restart()
    equal(asked(follower, "REPLICAOF", "127.0.0.1", server.port), "OK", "the two are made to meet")
    wait_for(lambda: isinstance(asked(server, "DO", "account/a", "Deposit", "amount", 1), RespError), 10, "the fence")
    error(asked(server, "DO", "account/a", "Deposit", "amount", 1), "READONLY")
    equal(info(t.client(server))["fenced"], "1", "INFO says so")
    equal(asked(follower, "REPLICAOF", "NO", "ONE"), "OK", "the newer one goes on")
    equal(asked(server, "REPLICAOF", "127.0.0.1", follower.port), "OK", "the older one follows")
    caught_up(follower, server)


@test("another history is set aside whole before it follows")
def foreign(t):
    server = primary(t)
    other = primary(t)
    with server.client() as c, other.client() as o:
        open_account(c, "a")
        open_account(o, "mine")
        deposit(o, "mine", 3)
    equal(asked(other, "REPLICAOF", "127.0.0.1", server.port), "OK", "REPLICAOF")
    caught_up(server, other)
    equal(asked(other, "GET", "account/mine"), None, "the old history is not here")
    aside = [name for name in os.listdir(other.directory) if name.startswith("diverged-")]
    equal([e["subject"] for e in dumped_events(os.path.join(other.directory, aside[0]))], ["account/mine"] * 2, "aside")
    fresh = primary(t)
    equal(asked(fresh, "REPLICAOF", "127.0.0.1", server.port), "OK", "REPLICAOF of an empty server")
    caught_up(server, fresh)
    equal([name for name in os.listdir(fresh.directory) if name.startswith("diverged-")], [], "nothing to set aside")


@test("FAILOVER hands over without loss, and clients are told where to go")
def failover(t):
    server = primary(t)
    follower = standby_of(t, server)
    c = t.client(server)
    open_account(c, "a")
    caught_up(server, follower)
    acknowledged, stop = [], threading.Event()

    def load():
        with server.client() as client:
            while not stop.is_set():
                reply = client.ask("DO", "account/a", "Deposit", "amount", 1)
                if isinstance(reply, RespError):
                    equal(reply.code, "READONLY", "an error during the hand-over")
                    return
                acknowledged.append(reply)

    worker = threading.Thread(target=load)
    worker.start()
    time.sleep(0.2)
    equal(c.call("FAILOVER", "TO", "127.0.0.1", follower.port, "TIMEOUT", 10000), "OK", "FAILOVER")
    worker.join(20)
    stop.set()
    check(acknowledged, "commands were acknowledged before")
    with follower.client() as s:
        check(version(s, "a") >= acknowledged[-1][0], "what was acknowledged is there")
        deposit(s, "a", 1)
    text = error(asked(server, "DO", "account/a", "Deposit", "amount", 1), "READONLY")
    check(str(follower.port) in text, f"names the new primary: {text}")
    caught_up(follower, server)
    same_journals(follower, server)
    status, _, err = memimage("switchover", "--port", follower.port)
    equal(status, 0, f"memimage switchover ({err})")
    wait_for(lambda: asked(server, "ROLE")[0] == "master", 10, "the way back")
    caught_up(server, follower)
    for one in (server, follower):
        equal([name for name in os.listdir(one.directory) if name.startswith("diverged-")], [],
              "nothing was lost, so nothing is set aside")
        equal(one.stderr().count(" ready "), 1, "nor is anything replayed")
    follower.kill()
    server.kill()
    follower.start()
    status, _, err = memimage("promote", "--port", follower.port)
    equal(status, 0, f"memimage promote ({err})")
    equal(asked(follower, "ROLE")[0], "master", "role after memimage promote")


@test("FAILOVER to a standby whose first own frame begins a segment")
def failover_over_segment_end(t):
    server = primary(t)
    follower = standby_of(t, server)
    with server.client() as c:
        open_account(c, "a")
        caught_up(server, follower)
        follower.kill()
        deposit(c, "a", 1)  # set aside later, and the segment is cut there
    server.kill()
    follower.args = []
    follower.start()
    with follower.client() as c:
        deposit(c, "a", 100)
        server.args = ["--replica-of", f"127.0.0.1:{follower.port}"]
        server.start()
        caught_up(follower, server)
        check(any(name.startswith("diverged-") for name in os.listdir(server.directory)), "something was set aside")
        c.pipeline([("DO", f"account/w-{n}", "Open", "owner", "o" * 8000, "currency", "CZK") for n in range(50)])
        caught_up(follower, server)
    equal(asked(follower, "FAILOVER", "TO", "127.0.0.1", server.port, "TIMEOUT", 10000), "OK", "FAILOVER")
    equal(asked(server, "ROLE")[0], "master", "the heir's role")
    segments = [name for name in os.listdir(os.path.join(server.directory, "journal")) if name.endswith(".journal")]
    equal(len(segments), 2, "segments of the heir")
    with server.client() as c:
        deposit(c, "a", 1)
    caught_up(server, follower)
    same_journals(server, follower)


@test("primaries and standbys of every durability confirm and agree")
def durabilities(t):
    for mode in ("interval:50", "none"):
        server = primary(t, "--durability", mode, "--sync-replicas", "1")
        follower = standby_of(t, server, "--durability", mode)
        wait_for(lambda: is_following(follower), 20, "the standby")
        with server.client() as c:
            open_account(c, "a")
            equal(deposit(c, "a", 1), [2, 2], f"a confirmed command with {mode}")
            equal(c.call("WAIT", 1, 5000), 1, f"WAIT with {mode}")
        caught_up(server, follower)


@test("STATE MIN POSITION reads one's writes on a standby, within bounds")
def min_position(t):
    server = primary(t)
    follower = standby_of(t, server)
    caught_up(server, follower)
    c, s = t.client(server), t.client(follower)
    open_account(c, "a")
    for _ in range(200):
        at = deposit(c, "a", 1)
        equal(s.call("STATE", "account/a", "MIN", "POSITION", at[1])[0], at[0], "version on the standby")
    error(s.ask("STATE", "account/a", "MIN", "POSITION", 10**9, "TIMEOUT", 100), "UNKNOWN")
    error(s.ask("STATE", "account/a", "MIN", "POSITION", "x"), "ERR")


@test("digests are compared with standbys")
def digests(t):
    server = primary(t, "--replica-digest", "1")
    follower = standby_of(t, server)
    with server.client() as c, follower.client() as s:
        open_account(c, "a")
        wait_for(lambda: deposit(c, "a", 1) and int(info(s)["digests_compared"]) >= 2, 20, "two comparisons")


@test("a standby that stands still costs the primary no memory")
def slow_standby(t):
    server = primary(t, "--replica-timeout", "600")
    follower = standby_of(t, server)
    caught_up(server, follower)
    with server.client() as c:
        open_account(c, "a")
        c.pipeline([("DO", "account/a", "Deposit", "amount", 1)] * 20000)
        caught_up(server, follower)
        follower.process.signal(signal.SIGSTOP)
        before = server.resident_bytes()
        c.pipeline([("DO", "account/a", "Deposit", "amount", 1, "@corr", "c" * 200)] * 60000)
        grown = server.resident_bytes() - before
        follower.process.signal(signal.SIGCONT)
    if sanitized():
        return
    check(grown < 48 << 20, f"the primary grew by {grown} bytes")  # its ring, first used, is 32 MiB of that
    caught_up(server, follower)


def reply_to(port, data):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
        s.sendall(data)
        s.settimeout(5)
        got = b""
        try:
            while True:
                piece = s.recv(65536)
                if not piece:
                    break
                got += piece
                if got.endswith(b"\r\n"):
                    break
        except (TimeoutError, ConnectionResetError):
            pass
        return got


@test("a hostile standby gets errors or is closed, and the primary goes on")
def hostile_standby(t):
    server = primary(t)
    with server.client() as c:
        open_account(c, "a")
        history = info(c)["master_replid"]
        for line in (b"REPLICATE 1 x 0 0 0 0 1", b"REPLICATE 9 ? 0 0 0 0 1", b"REPLFILES all", b"REPLREAD a 0 1",
                     b"REPLPROBE 1 2", b"REPLICATE 1 ? 0 0 zz 0 1", b"REPLICATE 1 ? 99999999999 0 0 0 1",
                     b"REPLICATE 1 ? 0 99999999999999999999999 0 0 1"):
            check(reply_to(server.port, line + b"\r\n").startswith(b"-ERR"), f"{line} is refused")
        for line in (b"REPLACK 1 1", b"REPLPROMOTED"):
            equal(reply_to(server.port, line + b"\r\n"), b"", f"{line} closes the connection")
        with Client(server.port) as s:
            check(s.call("REPLICATE", 1, "?", 0, 0, 0, 0, 1).startswith("FILES"), "a new one is told to copy")
            for path in ("/etc/passwd", "journal/../lock", "journal/mark", "lock", "journal/" + "0" * 20 + ".journaL"):
                error(s.ask("REPLREAD", path, 0, 100), "ERR")
            error(s.ask("REPLREAD", "journal/" + "0" * 19 + "1.journal", 0, 1 << 30), "ERR")
            error(s.ask("REPLREAD", "journal/" + "0" * 19 + "1.journal", 1 << 62, 100), "ERR")
            error(s.ask("REPLPROBE", *range(1001)), "ERR")
        with Client(server.port) as s:
            check(s.call("REPLICATE", 1, history, 1, 1 << 40, "ff", 1 << 30, 1).startswith("PROBE"), "a point beyond")
        with Client(server.port) as s:
            check(s.call("REPLICATE", 1, history, 1, 4096, "ff", 0, 1).startswith("PROBE"), "another chain")
        equal(deposit(c, "a", 1), [2, 2], "the primary goes on")
    equal(info(t.client(server))["connected_slaves"], "0", "no standby is left over")


@test("a broken primary cannot crash a standby")
def hostile_primary(t):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    history = b"ab" * 16
    answers = [b"", b"\0" * 5000, b"+OK\r\n", b"+CONTINUE " + history + b" 1\r\n", b"*-5\r\n", b"$99999999999\r\n",
               b"+FILES " + history + b" 1\r\n+run 1\r\n$20\r\n/etc/passwd 10 10 xx\r\n",
               b"+FILES " + history + b" 1\r\n+run 99999999\r\n", b"+FILES x 1\r\n", b"+PROBE " + history + b" 1\r\n:5\r\n",
               b"+FILES " + history + b" 1\r\n+run 1\r\n$41\r\njournal/00000000000000000001.journal 8 8 \r\n",
               b"-NOAUTH Authentication required.\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100000,
               b"+" + b"x" * 100000, b"*8\r\n" + b"$1\r\nx\r\n" * 7]
    stop = threading.Event()
    served = []

    def serve():
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.settimeout(2)
                    connection.recv(1000)
                    connection.sendall(answers[len(served) % len(answers)])
                    time.sleep(0.01)
                except OSError:
                    pass
                served.append(1)

    threading.Thread(target=serve, daemon=True).start()
    follower = t.new_server(args=("--replica-of", f"127.0.0.1:{port}"), keep_port=True).start()
    wait_for(lambda: len(served) > len(answers) + 3, 60, "each answer to be given")
    equal(asked(follower, "PING"), "PONG", "the standby lives")
    stop.set()
    listener.close()


@test("a standby whose state differs from the primary's stops, loudly")
def differs(t):
    models = os.environ.get("MEMIMAGE_MODELS")
    if not models:
        raise Skip("MEMIMAGE_MODELS is not set")
    # evolve counts how often it met a 13 in this process; a standby that begins with a snapshot has met fewer
    options = ("--model", os.path.join(models, "dice-counter.so"), "--replica-digest", "1")
    server = primary(t, *options)
    with server.client() as c:
        for value in (1, 13):
            c.call("DO", "dice/d", "Roll", "value", value)
        c.call("SNAPSHOT")
    follower = standby_of(t, server, *options, "--replica-history", "tail")
    wait_for(lambda: is_following(follower), 20, "the standby")
    with server.client() as c:
        c.call("DO", "dice/d", "Roll", "value", 13)

        def gone():
            c.call("DO", "dice/d", "Roll", "value", 3)
            return not follower.process.running()

        wait_for(gone, 30, "the standby to stop")
    equal(follower.process.wait(), 3, "its exit status")
    check("digest_differs" in follower.stderr(), "it says why")


@test("a standby authenticates like any client")
def authenticates(t):
    server = t.new_server(args=("--requirepass", "secret"), keep_port=True).launch()
    wait_for(lambda: "ready" in server.stderr(), 20, "the primary")
    stranger = t.new_server(args=("--replica-of", f"127.0.0.1:{server.port}"), keep_port=True).start()
    wait_for(lambda: "NOAUTH" in stranger.stderr(), 20, "the stranger to be refused")
    follower = t.new_server(args=("--replica-of", f"127.0.0.1:{server.port}", "--primary-password", "secret"),
                            keep_port=True).start()
    with server.client() as c:
        c.call("AUTH", "secret")
        open_account(c, "a")
        wait_for(lambda: position(follower) == 1, 20, "the standby")


@test("on promotion publication goes on where the old primary stopped, without gap or repeat")
def publication(t):
    target = publish_support.redis(t, "--appendonly", "yes", "--appendfsync", "always")
    options = ("--publish", target.url, "--publish-state", "--sync-replicas", "1", "--sync-timeout", "20000")
    server = primary(t, *options)
    follower = standby_of(t, server, *options)
    caught_up(server, follower)
    equal(publish_support.info(follower)["publish_state"], "off", "a standby does not publish")
    with server.client() as c:
        for name in range(5):
            open_account(c, f"a-{name}")
    for _ in range(max(2, ROUNDS // 2)):
        acknowledged = []

        def load(port=server.port, acknowledged=acknowledged):
            try:
                with Client(port) as client:
                    while True:
                        acknowledged += client.pipeline(
                            [("DO", f"account/a-{n % 5}", "Deposit", "amount", 1) for n in range(50)])
            except (Closed, OSError):
                pass

        worker = threading.Thread(target=load)
        worker.start()
        wait_for(lambda acknowledged=acknowledged: len(acknowledged) >= 500, 60, "acknowledged commands")
        server.kill()
        worker.join(20)
        equal(asked(follower, "REPLICAOF", "NO", "ONE"), "OK", "promotion")
        server.args = ["--replica-of", f"127.0.0.1:{follower.port}", *options]
        server.start()
        caught_up(follower, server)
        server, follower = follower, server
        publish_support.wait_states(server)
    found = publish_support.check_stream(target, server)
    publish_support.check_states(target, server, [f"a-{name}" for name in range(5)])
    check(len(found) > 100, f"{len(found)} entries")


class Proxy:
    """A TCP proxy that delays, and cuts connections at random bytes."""

    def __init__(self, target, seed):
        self.target = target
        self.random = random.Random(seed)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.calm = False
        self.cuts = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                if self.listener.fileno() < 0:
                    return
                client.close()
                continue
            budget = [self.random.randrange(1, 1 << self.random.randrange(4, 23))]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=(source, sink, budget), daemon=True).start()

    def pump(self, source, sink, budget):
        try:
            while True:
                data = source.recv(self.random.choice((100, 5000, 65536)))
                if not data:
                    break
                if not self.calm:
                    if self.random.random() < 0.05:
                        time.sleep(self.random.uniform(0, 0.05))
                    budget[0] -= len(data)
                    if budget[0] < 0:
                        self.cuts += 1
                        sink.sendall(data[: len(data) // 2])
                        break
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


@test(f"a connection that is cut at random bytes and delayed always converges ({2 * ROUNDS} rounds)")
def cut_connections(t):
    print(f"# SEED={SEED}")
    source = random.Random(SEED)
    server = primary(t, "--segment-size-max", "4m")
    proxy = Proxy(server.port, SEED)
    follower = t.new_server(args=("--replica-of", f"127.0.0.1:{proxy.port}"), keep_port=True).start()
    with server.client() as c:
        for name in range(20):
            open_account(c, f"a{name}")
        for _ in range(2 * ROUNDS):
            proxy.calm = False
            for _ in range(5):
                c.pipeline([("DO", f"account/a{source.randrange(20)}", "Deposit", "amount", 1, "@corr", "x" * 150)] * 300)
                time.sleep(source.uniform(0, 0.1))
            if source.random() < 0.3:
                follower.kill()
                follower.start()
            proxy.calm = True
            caught_up(server, follower, 60)
            same_journals(server, follower)
    print(f"# {proxy.cuts} cuts")
    proxy.close()


@test(f"{ROUNDS} rounds: the primary is killed under load, the standby promoted, the old primary rejoins")
def kill_rounds(t):
    print(f"# SEED={SEED}")
    source = random.Random(SEED)
    options = ("--sync-replicas", "1", "--idempotency-window", "100000000", "--sync-timeout", "20000")
    server = primary(t, *options)
    follower = standby_of(t, server, *options)
    caught_up(server, follower)
    records = [Record(number) for number in range(8)]
    with server.client() as c:
        for name in SHARED + [record.account for record in records]:
            open_account(c, name, overdraft=10**12)
    times = []
    for number in range(ROUNDS):
        workers = [Worker(server.port, record, source.randrange(2**32)) for record in records]
        for worker in workers:
            worker.start()
        time.sleep(source.uniform(0.02, 0.5))
        server.kill()
        begun = time.monotonic()
        with follower.client() as s:
            equal(s.call("REPLICAOF", "NO", "ONE"), "OK", "promotion")
            s.call("CONFIG", "SET", "sync-replicas", "0")
            s.call("DO", f"account/{SHARED[0]}", "Deposit", "amount", 1, "@id", f"first-{number}")
            times.append(time.monotonic() - begun)
        records[0].entries[f"first-{number}"] = [("DO", f"account/{SHARED[0]}", "Deposit", "amount", 1, "@id",
                                                  f"first-{number}"), None]
        for worker in workers:
            worker.join(30)
            check(not worker.is_alive() and worker.problem is None, f"a worker failed: {worker.problem!r}")
        server.args = ["--replica-of", f"127.0.0.1:{follower.port}", *options]
        server.start()
        caught_up(follower, server)
        with follower.client() as s:
            s.call("CONFIG", "SET", "sync-replicas", "1")
            resend_all(s, records, only_unknown=number % max(4, ROUNDS // 8) != 3)
            check_record(s, records)
        caught_up(follower, server)
        same_journals(follower, server)
        server, follower = follower, server
    with server.client() as c:
        resend_all(c, records, only_unknown=False)
        check_record(c, records)
        live = digest(c)
    times.sort()
    print(f"# {sum(len(r.entries) for r in records)} commands, {live[0]} events; promotion to first command: "
          f"p50 {times[len(times) // 2] * 1e3:.1f} ms, max {times[-1] * 1e3:.1f} ms")
    caught_up(server, follower)
    for one in (server, follower):
        one.kill()
        equal(offline_digest(one.directory, "--from-scratch"), live[1], "the digest from scratch")


if __name__ == "__main__":
    sys.exit(main())
