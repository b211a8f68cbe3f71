# SPDX-License-Identifier: MIT
# --sync-replicas: what standbys have not confirmed is neither shown nor acknowledged, whatever happens meanwhile.
"""Black-box tests of what standbys confirm."""

import json
import os
import signal
import socket
import sys
import threading
import time

from harness import check, equal, error, main, test, wait_for
from ledger import balance, deposit, digest, open_account
from replicas import asked, caught_up, info, position, primary, standby_of
from resp import RespError


@test("--sync-replicas refuses without standbys, waits for them, and answers UNKNOWN when they are silent")
def synchronous(t):
    server = primary(t, "--sync-replicas", "1", "--sync-timeout", "300", "--replica-timeout", "60")
    c = t.client(server)
    error(c.ask("DO", "account/a", "Open", "owner", "o", "currency", "CZK"), "NOREPLICAS")
    equal(digest(c)[0], 0, "position after the refusal")
    follower = standby_of(t, server, "--replica-timeout", "60")
    caught_up(server, follower)
    open_account(c, "a")
    equal(position(follower), 1, "what is acknowledged is on the standby")
    follower.process.signal(signal.SIGSTOP)
    try:
        replies = c.pipeline([("DO", "account/a", "Deposit", "amount", 1, "@id", "k1"), ("GET", "account/a"), ("PING",),
                              ("DO", "account/a", "Deposit", "amount", 0)])
        text = error(replies[0], "UNKNOWN")
        check("position 2" in text, f"UNKNOWN names the position: {text}")
        error(replies[1], "UNKNOWN")
        equal(replies[2], "PONG", "PING behind it")
        error(replies[3], "BADARG")
    finally:
        follower.process.signal(signal.SIGCONT)
    equal(deposit(c, "a", 1, "@id", "k1"), [2, 2], "the same key again")
    equal(balance(c, "a"), 1, "one effect")
    follower.kill()
    wait_for(lambda: info(c)["connected_slaves"] == "0", 10, "the standby to be missed")
    error(c.ask("DO", "account/a", "Deposit", "amount", 1), "NOREPLICAS")
    equal(c.call("CONFIG", "SET", "sync-replicas", "0"), "OK", "going on alone, by an operator's command")
    equal(deposit(c, "a", 1), [3, 3], "a deposit without standbys")
    check("sync_replicas" in server.stderr(), "going on alone is loud")


@test("what waits for standbys when the role changes is answered UNKNOWN, not as done")
def role_changes(t):
    server = primary(t, "--sync-replicas", "1", "--sync-timeout", "60000", "--replica-timeout", "60")
    follower = standby_of(t, server, "--replica-timeout", "60")
    caught_up(server, follower)
    c = t.client(server)
    open_account(c, "a")
    follower.process.signal(signal.SIGSTOP)
    try:
        c.send("DO", "account/a", "Deposit", "amount", 1)
        with server.client() as other:
            wait_for(lambda: info(other)["master_repl_offset"] == "2", 10, "the event in the journal")
        equal(asked(server, "REPLICAOF", "127.0.0.1", follower.port), "OK", "the primary becomes a standby")
        error(c.read(), "UNKNOWN")
    finally:
        follower.process.signal(signal.SIGCONT)


@test("a primary that starts again with --sync-replicas shows nothing before a standby has it")
def nothing_after_a_restart(t):
    server = primary(t, "--sync-replicas", "1", "--sync-timeout", "300")
    follower = standby_of(t, server)
    caught_up(server, follower)
    with server.client() as c:
        open_account(c, "a")
        deposit(c, "a", 1, "@id", "k")
    follower.kill()
    server.kill()
    server.start()
    with server.client() as c:
        error(c.ask("GET", "account/a"), "UNKNOWN")
        error(c.ask("DIGEST"), "UNKNOWN")
        equal(c.call("PING"), "PONG", "PING waits for nobody")
        follower.start()
        wait_for(lambda: info(c)["connected_slaves"] == "1", 20, "the standby")
        wait_for(lambda: not isinstance(c.ask("GET", "account/a"), RespError), 20, "the state, now")
        equal(balance(c, "a"), 1, "balance")
        equal(deposit(c, "a", 1, "@id", "k"), [2, 2], "the same key again")


class HalfOpen:
    """A relay whose clients can be cut off while the server behind it goes on believing in them, as after a power cut."""

    def __init__(self, target):
        self.target = target
        self.kept, self.clients = [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        try:
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target), timeout=60)
                self.clients.append(client)
                self.kept.append(server)
                for source, to in ((client, server), (server, client)):
                    threading.Thread(target=self.pump, args=(source, to), daemon=True).start()
        except OSError:
            pass

    @staticmethod
    def pump(source, to):
        try:
            while data := source.recv(1 << 16):
                to.sendall(data)
        except OSError:
            pass

    def drop(self):
        for client in self.clients:
            client.shutdown(socket.SHUT_RDWR)
        self.clients.clear()

    def close(self):
        self.listener.close()
        for one in self.clients + self.kept:
            one.close()


@test("a standby whose former connection is still believed in counts once")
def counted_once(t):
    server = primary(t, "--sync-replicas", "2", "--replica-timeout", "60")
    relay = HalfOpen(server.port)
    follower = standby_of(t, relay, "--replica-timeout", "60")
    with server.client() as c:
        wait_for(lambda: info(c)["connected_slaves"] == "1", 20, "the standby")
        relay.drop()
        wait_for(lambda: info(c)["connected_slaves"] == "2", 20, "two connections of one standby")
        text = error(c.ask("DO", "account/a", "Open", "owner", "o", "currency", "CZK"), "NOREPLICAS")
        check("1 of 2" in text, text)
        equal(c.call("WAIT", 0, 100), 1, "WAIT counts it once")
        other = standby_of(t, server)
        wait_for(lambda: info(c)["connected_slaves"] == "3", 20, "another standby")
        open_account(c, "a")
        for one in (follower, other):
            equal(position(one), 1, "what is acknowledged is on both")
        with open(os.path.join(follower.directory, "standby-id"), encoding="ascii") as file:
            equal(len(file.read().strip()), 32, "the name of the standby's directory")
    relay.close()


@test("nothing that --sync-replicas has not confirmed is shown to anybody")
def nothing_early(t):
    server = primary(t, "--sync-replicas", "1", "--sync-timeout", "60000", "--replica-timeout", "60")
    follower = standby_of(t, server, "--replica-timeout", "60")
    caught_up(server, follower)
    c = t.client(server)
    open_account(c, "a")
    f = t.client(server)
    f.hello(3)
    f.call("FOLLOW", "FROM", 1)
    equal(json.loads(f.read_push()[1])["id"], "1", "the event before")
    follower.process.signal(signal.SIGSTOP)
    c.send("DO", "account/a", "Deposit", "amount", 1)
    reader = t.client(server)
    reader.send("GET", "account/a")
    time.sleep(0.5)
    for waiting in (c, f, reader):
        waiting.socket.settimeout(0.05)
        try:
            early = waiting.socket.recv(1000)
        except TimeoutError:
            early = b""
        equal(early, b"", "bytes before the standby has it")
    follower.process.signal(signal.SIGCONT)
    equal(c.read(), [2, 2], "the reply, now")
    equal(json.loads(f.read_push()[1])["id"], "2", "the event, now")
    equal(json.loads(reader.read())["balance"], 1, "the state, now")


if __name__ == "__main__":
    sys.exit(main())
