# SPDX-License-Identifier: MIT
# Who may do what: the ACL as a matrix of users and commands, what limited users see of history, wrong passwords, ACL
# files that are refused and those read again; and bounds of connections. TLS has a file of its own: test_tls.py.
"""Users, passwords and rights."""

import contextlib
import json
import os
import socket
import sys
import time

from harness import Client, Closed, Skip, check, equal, error, main, memimage, test, wait_for
from resp import RespError, encode
from secure import acl_file, fast, slow, write

NOCOMMAND = "NOPERM this user has no permissions to run the '{}' command"
NOKEY = "NOPERM this user has no permissions to access one of the keys used as arguments"


def server_with(t, *lines, args=()):
    """A server with these users beside `root`, who may do everything."""
    path = acl_file(t, f"user root on {fast('root')} allkeys +@all", *lines)
    server = t.new_server(args=["--aclfile", path, *args])
    server.acl_path = path
    server.launch()
    wait_for(lambda: "info ready" in server.stderr() or not server.process.running(), 60, "the server")
    check(server.process.running(), server.stderr())
    return server


def login(t, server, name, password=None):
    client = t.client(server)
    equal(client.call("AUTH", name, password or name), "OK")
    return client


def info(client, name):
    for line in client.call("INFO", "everything").splitlines():
        if line.startswith(name + ":"):
            return int(line.split(":", 1)[1])
    raise AssertionError(name)


OPEN = ("Open", "owner", "O", "currency", "CZK", "overdraft", "1000000")

# One call of each kind, and the categories that allow it.
CALLS = {
    "do": (("DO", "account/a-1", "Deposit", "amount", "1"), "write aggregates fast"),
    "get": (("GET", "account/a-1"), "read aggregates fast"),
    "state": (("STATE", "account/a-1"), "read aggregates fast"),
    "query": (("QUERY", "account", "Totals"), "read aggregates slow"),
    "events": (("EVENTS", "account/a-1"), "read history slow"),
    "journal": (("JOURNAL", "COUNT", "1"), "read history slow"),
    "unfollow": (("UNFOLLOW",), "history fast"),
    "schema": (("SCHEMA",), "read server slow"),
    "digest": (("DIGEST",), "read server slow"),
    "dbsize": (("DBSIZE",), "read server fast"),
    "lastsave": (("LASTSAVE",), "server fast"),
    "info": (("INFO", "server"), "server slow"),
    "time": (("TIME",), "server fast"),
    "snapshot": (("SNAPSHOT",), "admin dangerous server slow"),
    "config": (("CONFIG", "GET", "maxclients"), "admin dangerous server slow"),
    "client|id": (("CLIENT", "ID"), "connection slow"),
    "client|list": (("CLIENT", "LIST"), "admin dangerous"),
    "acl|whoami": (("ACL", "WHOAMI"), "connection slow"),
    "acl|users": (("ACL", "USERS"), "admin dangerous"),
    "ping": (("PING",), "connection fast"),
    "echo": (("ECHO", "x"), "connection fast"),
}
CATEGORIES = ["read", "write", "admin", "dangerous", "fast", "slow", "connection", "aggregates", "history", "server"]


@test("a category allows exactly its commands, and taken away it forbids exactly those")
def categories(t):
    lines = [f"user only-{c} on {fast('p')} allkeys +@{c}" for c in CATEGORIES]
    lines += [f"user but-{c} on {fast('p')} allkeys +@all -@{c}" for c in CATEGORIES]
    server = server_with(t, *lines)
    root = login(t, server, "root")
    root.call("DO", "account/a-1", *OPEN)
    for category in CATEGORIES:
        given = login(t, server, f"only-{category}", "p")
        taken = login(t, server, f"but-{category}", "p")
        for name, (words, allowing) in CALLS.items():
            refusal = RespError(NOCOMMAND.format(name.split("|")[0]))
            belongs = category in allowing.split()
            for client, allowed in ((given, belongs), (taken, not belongs)):
                reply = client.ask(*words)
                if allowed:
                    check(not isinstance(reply, RespError), f"{category}: {name} answers {reply!r}")
                else:
                    equal(reply, refusal, f"{name} where @{category} decides")
    check(info(root, "acl_denied_commands") > 100, "refusals are counted")


@test("a single command can be given and taken; later rules win")
def single_commands(t):
    server = server_with(t, f"user few on {fast('few')} allkeys +get +PING -get +acl|whoami",
                         f"user most on {fast('most')} allkeys +@all -client|kill -shutdown")
    few = login(t, server, "few")
    equal(few.call("PING"), "PONG")
    equal(few.call("ACL", "WHOAMI"), "few")
    equal(few.ask("GET", "account/x"), RespError(NOCOMMAND.format("get")))
    equal(few.ask("ACL", "USERS"), RespError(NOCOMMAND.format("acl")))
    equal(few.ask("SHUTDOWN"), RespError(NOCOMMAND.format("shutdown")))
    most = login(t, server, "most")
    check(most.call("CLIENT", "ID") > 0, "the rest of CLIENT")
    equal(most.ask("CLIENT", "KILL", "ID", "1"), RespError(NOCOMMAND.format("client")))
    equal(most.ask("SHUTDOWN", "NOW"), RespError(NOCOMMAND.format("shutdown")))
    equal(few.ask("NOSUCH").code, "ERR")


@test("patterns decide which aggregates a user reads and writes, a transaction's other ones too")
def patterns(t):
    server = server_with(t, f"user a on {fast('a')} ~account/a-* +@all",
                         f"user r on {fast('r')} %R~account/* %W~account/r-? +@all",
                         f"user w on {fast('w')} %W~account/w-* +@all",
                         f"user n on {fast('n')} +@all")
    root = login(t, server, "root")
    for name in ("a-1", "a-2", "b-1", "r-1", "w-1"):
        root.call("DO", f"account/{name}", *OPEN)
    a, r, w, n = (login(t, server, name) for name in "arwn")
    equal(a.call("DO", "account/a-1", "Deposit", "amount", "10")[0], 2)
    for words in (("DO", "account/b-1", "Deposit", "amount", "10"), ("GET", "account/b-1"), ("STATE", "account/b-1"),
                  ("STATE", "account/b-1", "AT", "VERSION", "1"), ("EVENTS", "account/b-1"),
                  ("FOLLOW", "STREAM", "account/b-1"), ("FOLLOW", "FROM", "1", "stream", "account/b-1"),
                  ("QUERY", "account", "Totals"), ("GET", "account/"), ("GET", "nosuch/a-1")):
        equal(a.ask(*words), RespError(NOKEY), " ".join(words))
    # what does not exist is refused in the same words as what does
    equal(a.ask("GET", "account/never"), RespError(NOKEY))
    # a transfer writes a second stream
    equal(a.call("DO", "account/a-1", "Transfer", "to", "a-2", "amount", "5")[0], 3)
    before = root.call("DIGEST")
    refused = a.ask("DO", "account/a-1", "Transfer", "to", "b-1", "amount", "5")
    equal(error(refused, "NOPERM"), "NOPERM the command would write to an aggregate that this user may not")
    equal(root.call("DIGEST"), before, "nothing happened")
    # reading and writing apart
    check(r.call("QUERY", "account", "Totals"), "the whole type may be read")
    equal(r.call("DO", "account/r-1", "Deposit", "amount", "1")[0], 2)
    equal(r.ask("DO", "account/b-1", "Deposit", "amount", "1"), RespError(NOKEY))
    equal(w.call("DO", "account/w-1", "Deposit", "amount", "1")[0], 2)
    equal(w.ask("GET", "account/w-1"), RespError(NOKEY))
    equal(n.ask("GET", "account/a-1"), RespError(NOKEY))
    check(info(root, "acl_denied_keys") >= 14, "refusals are counted")


@test("JOURNAL and FOLLOW show a limited user the events of his streams alone")
def history(t):
    server = server_with(t, f"user a on {fast('a')} ~account/a-* +@all", f"user n on {fast('n')} +@all")
    root = login(t, server, "root")
    a, n = login(t, server, "a"), login(t, server, "n")
    follower, other = login(t, server, "a"), login(t, server, "n")
    follower.hello(3)
    other.hello(3)
    equal(follower.call("FOLLOW", "FROM", "1"), "OK")
    equal(other.call("FOLLOW", "TYPE", "account"), "OK")
    for name in ("a-1", "b-1", "a-2", "c-1"):
        root.call("DO", f"account/{name}", *OPEN, "@corr", "c")
    root.call("DO", "account/a-1", "Transfer", "to", "b-1", "amount", "7")
    root.call("DO", "account/b-1", "Transfer", "to", "a-2", "amount", "7")

    def subjects(events):
        return [json.loads(event)["subject"] for event in events]

    mine = ["account/a-1", "account/a-2", "account/a-1", "account/a-2"]
    equal(subjects(a.call("JOURNAL")), mine)
    equal(subjects(a.call("JOURNAL", "CORR", "c")), mine[:2])
    equal(subjects(a.call("JOURNAL", "COUNT", "2")), mine[:2])
    equal(n.call("JOURNAL"), [])
    equal(len(root.call("JOURNAL")), 8)
    pushed = [follower.read_push() for _ in mine]
    equal(subjects(event for _, event in pushed), mine)
    equal(other.call("PING"), "PONG")
    equal(list(other.pushes), [], "a user without patterns follows nothing")


@test("a read-only user changes nothing, whatever else he may")
def readonly(t):
    server = server_with(t, f"user r on {fast('r')} allkeys +@all readonly")
    root, r = login(t, server, "root"), login(t, server, "r")
    root.call("DO", "account/a-1", *OPEN)
    check(r.call("GET", "account/a-1"), "reading")
    for words in (("DO", "account/a-1", "Deposit", "amount", "1"), ("SNAPSHOT",), ("CONFIG", "SET", "timeout", "1"),
                  ("CLIENT", "KILL", "ID", "1"), ("SHUTDOWN",), ("ACL", "LOAD")):
        equal(r.ask(*words), RespError(NOCOMMAND.format(words[0].lower())), " ".join(words))


@test("nobody is let in without a password, and errors are Redis's")
def authentication(t):
    server = server_with(t, f"user off off {fast('off')} allkeys +@all", f"user p on {slow('slow word')} allkeys +@all",
                         "user open on nopass allkeys +@all")
    c = t.client(server)
    wrong = RespError("WRONGPASS invalid username-password pair or user is disabled.")
    for words in (("PING",), ("GET", "account/a"), ("INFO",), ("ACL", "WHOAMI"), ("NOSUCH",)):
        equal(c.ask(*words), RespError("NOAUTH Authentication required."))
    for words in (("AUTH", "x"), ("AUTH", "off", "off"), ("AUTH", "nobody", "x"), ("AUTH", "p", "slow word\0")):
        equal(c.ask(*words), wrong, " ".join(words))
    equal(c.ask("PING"), RespError("NOAUTH Authentication required."))
    equal(c.call("AUTH", "p", "slow word"), "OK")
    equal(c.call("ACL", "WHOAMI"), "p")
    # a failure leaves the user who was there
    equal(c.ask("AUTH", "root", "nonsense"), wrong)
    equal(c.call("ACL", "WHOAMI"), "p")
    equal(c.call("AUTH", "open", "anything"), "OK")
    equal(c.call("ACL", "WHOAMI"), "open")
    equal(c.call("RESET"), "RESET")
    equal(c.ask("PING").code, "NOAUTH")
    c.send("HELLO", "3", "AUTH", "root", "root", "SETNAME", "me")
    equal(c.read()["proto"], 3)
    equal(c.call("ACL", "WHOAMI"), "root")
    d = t.client(server)
    equal(d.ask("HELLO", "3", "AUTH", "root", "bad"), wrong)
    equal(error(d.ask("HELLO", "3"), "NOAUTH")[:6], "NOAUTH")
    check(" user=root " in c.call("CLIENT", "INFO"), "CLIENT INFO tells the user")


@test("a slow password is hashed on a thread, once: others are served meanwhile, and the order of replies stays")
def slow_passwords(t):
    server = server_with(t, f"user p on {slow('people choose')} {slow('two')} allkeys +@all")
    root = login(t, server, "root")
    hashes = info(root, "auth_hashes")
    c = t.client(server)
    c.send_raw(encode("AUTH", "p", "two") + encode("ECHO", "1") + encode("ACL", "WHOAMI"))
    equal([c.read(), c.read(), c.read()], ["OK", "1", "p"])
    equal(info(root, "auth_hashes"), hashes + 1)
    for _ in range(20):
        with server.client() as again:
            equal(again.call("AUTH", "p", "two"), "OK")
    equal(info(root, "auth_hashes"), hashes + 1, "the same password needs no second hash")
    # clients that leave while theirs is hashed
    for _ in range(30):
        with server.client() as gone:
            gone.send("AUTH", "p", "guess")
    equal(root.call("PING"), "PONG")
    wait_for(lambda: info(root, "connected_clients") <= 2, 30, "the clients that left")


@test("after eight wrong passwords the connection is closed, and each answer comes later than the one before")
def guessing(t):
    server = server_with(t)
    c = t.client(server)
    begun = time.monotonic()
    c.send_raw(b"".join(encode("AUTH", "root", f"guess{i}") for i in range(10)))
    for _ in range(8):
        equal(c.read().code, "WRONGPASS")
    check(time.monotonic() - begun > 8 * 0.05, "wrong passwords take their time")
    try:
        c.read()
        check(False, "the connection should be closed")
    except Closed:
        pass
    equal(info(login(t, server, "root"), "auth_failures"), 8)


@test("ACL LOAD: new rights at once, users that are gone are closed, a bad file changes nothing")
def reloading(t):
    server = server_with(t, f"user a on {fast('a')} ~account/a-* +@all", f"user b on {fast('b')} allkeys +@all")
    root, a, b = (login(t, server, name) for name in ("root", "a", "b"))
    a.hello(3)
    equal(a.call("FOLLOW"), "OK")
    root.call("DO", "account/a-1", *OPEN)
    check(a.read_push(), "seen")
    keep = f"user root on {fast('root')} allkeys +@all"
    write(server.acl_path, keep, "user a on nonsense")
    refused = root.ask("ACL", "LOAD")
    check("line 2: rule 'nonsense': unknown" in refused.text, refused.text)
    equal(b.call("PING"), "PONG")
    write(server.acl_path, keep, f"user a on {fast('a')} ~account/z-* +@all")
    equal(root.call("ACL", "LOAD"), "OK")
    try:
        b.call("PING")
        check(False, "user b is gone, so should be his connection")
    except Closed:
        pass
    equal(a.ask("GET", "account/a-1"), RespError(NOKEY))
    root.call("DO", "account/a-1", "Deposit", "amount", "1")
    equal(a.call("PING"), "PONG")
    equal(list(a.pushes), [], "what he followed he may no longer see")
    os.chmod(server.acl_path, 0o666)
    check("others may write it" in root.ask("ACL", "LOAD").text, "a file that others may write")
    os.unlink(server.acl_path)
    check("No such file" in root.ask("ACL", "LOAD").text, "no file")
    equal(root.call("ACL", "USERS"), ["a", "default", "root"])


@test("what a user began before his rights were taken comes to its end, and is no answer to what he asks next")
def reloading_midway(t):
    limited = f"user a on {fast('a')} allkeys +@all -journal"
    server = server_with(t, f"user a on {fast('a')} allkeys +@all")
    root, a = login(t, server, "root"), login(t, server, "a")
    root.call("DO", "account/a-1", *OPEN)
    root.pipeline([("DO", "account/a-1", "Deposit", "amount", "1", "note", "n" * 400) for _ in range(60000)])
    write(server.acl_path, f"user root on {fast('root')} allkeys +@all", limited)
    a.send("JOURNAL", "CORR", "nothing has this")
    equal(root.call("ACL", "LOAD"), "OK")
    equal(a.read(), [])
    equal(a.call("STATE", "account/a-1", "AT", "VERSION", "2")[0], 2)
    equal(a.ask("JOURNAL"), RespError(NOCOMMAND.format("journal")))


@test("ACL LIST, GETUSER and CAT tell the rules and never the hashes")
def telling(t):
    secret = slow("people choose")
    server = server_with(t, f"user a on {secret} {fast('a')} ~account/a-* %R~account/b-* -@all +@read +Do readonly")
    root = login(t, server, "root")
    lines = root.call("ACL", "LIST")
    equal(lines, ["user a on #(hidden) #(hidden) readonly ~account/a-* %R~account/b-* -@all +@read +do",
                  "user default off resetkeys -@all", "user root on #(hidden) allkeys +@all".replace("allkeys", "~*")])
    details = root.call("ACL", "GETUSER", "a")
    check(secret not in str(details) and fast("a")[1:] not in str(details), "hashes stay in the file")
    equal(root.call("ACL", "GETUSER", "nobody"), None)
    check("write" in root.call("ACL", "CAT"), "categories")
    equal(root.call("ACL", "CAT", "write"), ["do"])
    check({"client|kill", "shutdown", "config"} <= set(root.call("ACL", "CAT", "admin")), "admin")
    for words in (("ACL", "CAT", "nosuch"), ("ACL", "SETUSER", "x"), ("ACL", "NOSUCH"), ("ACL", "GETUSER")):
        equal(root.ask(*words).code, "ERR")
    equal(root.call("CONFIG", "GET", "*pass*"), [])


@test("ACL files that do not say what they mean stop the start, with line and reason")
def bad_files(t):
    for line, reason in ((f"user x on {fast('x')[:-1]}", "64 hex digits"), ("user x on >secret", "hashes only"),
                         ("user x on $1$ab$cdefghijklmnopqrstuvw/", "strong enough"),
                         ("user x on $y$j9T$abc", "strong enough"), ("user x +nosuch", "no such command"),
                         ("user x +@nosuch", "no such category"), ("user x +get|x", "subcommands"),
                         ("user x ~", "no pattern"), ("user x ~account", "no slash"), ("user x ~a/[b", "no pattern"),
                         ("user x %Q~a/*", "R, W or RW"), ("user x &news", "cannot be restricted"),
                         ("group x on", "begins with the word user"), ("user root off", "defined twice"),
                         ("user", "printable"), ("user x on (+get ~a/*)", "unknown")):
        path = acl_file(t, f"user root on {fast('root')} +@all", "# a comment", "", line)
        status, _, err = memimage("serve", "--dir", t.scratch(), "--port", "0", "--aclfile", path)
        equal(status, 1, f"exit status for {line!r}")
        check(reason in err and "line 4" in err, f"{line!r}: {err}")
        check("secret" not in err, "a password in the wrong place is not told")
        status, _, err = memimage("acl", "check", path)
        equal(status, 1)
    path = acl_file(t, f"user default on {fast('x')} +@all")
    status, _, err = memimage("serve", "--dir", t.scratch(), "--port", "0", "--aclfile", path, "--requirepass", "y")
    equal(status, 1)
    check("contradict" in err, err)


@test("requirepass is the password of user default, with and without an ACL file")
def requirepass(t):
    server = t.new_server(args=["--requirepass", "sesam"])
    server.launch()
    wait_for(lambda: "info ready" in server.stderr(), 60, "the server")
    c = t.client(server)
    equal(c.ask("PING").code, "NOAUTH")
    equal(c.ask("AUTH", "sesame").code, "WRONGPASS")
    equal(c.ask("AUTH", "sesa").code, "WRONGPASS")
    equal(c.call("AUTH", "sesam"), "OK")
    equal(c.call("AUTH", "default", "sesam"), "OK")
    equal(c.call("ACL", "WHOAMI"), "default")
    equal(c.ask("ACL", "LOAD").code, "ERR")
    both = server_with(t, args=["--requirepass", "sesam"])
    equal(t.client(both).call("AUTH", "sesam"), "OK")
    plain = t.server()
    p = t.client(plain)
    equal(p.call("ACL", "WHOAMI"), "default")
    equal(p.call("ACL", "LIST"), ["user default on nopass ~* +@all"])


@test("an address has at most its number of connections, and they come back when they close")
def per_address(t):
    server = t.server(args=["--clients-per-address", "3"])
    first = t.client(server)
    wait_for(lambda: info(first, "connected_clients") == 1, 20, "the one that asked whether it runs to be gone")
    clients = [first, t.client(server), t.client(server)]
    for client in clients:
        equal(client.call("PING"), "PONG")
    with server.client() as fourth:
        equal(fourth.read().text, "ERR max number of clients of this address reached")
    with socket.create_connection(("127.0.0.1", server.port), source_address=("127.0.0.2", 0)) as other:
        other.sendall(encode("PING"))
        equal(other.recv(100), b"+PONG\r\n", "another address")
    clients[0].close()

    def comes_in():
        with server.client() as again:
            return again.ask("PING") == "PONG"

    wait_for(comes_in, 20, "a place")
    check(info(clients[1], "limit_address_refused") >= 1, "counted")


@test("protected mode: without a password peers that are not on this machine are refused, with one they are not")
def protected(t):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address = probe.getsockname()[0]
        except OSError:
            address = "127.0.0.1"
    if address.startswith("127."):
        raise Skip("this machine has the loopback address alone")
    server = t.server(args=["--bind", "0.0.0.0"])
    with Client(server.port, host=address) as stranger:
        equal(error(stranger.read(), "NOPERM")[:21], "NOPERM protected mode")
    equal(info(t.client(server), "protected_mode_refused"), 1)
    guarded = server_with(t, args=["--bind", "0.0.0.0"])
    with Client(guarded.port, host=address) as stranger:
        equal(stranger.ask("PING").code, "NOAUTH")
        equal(stranger.call("AUTH", "root", "root"), "OK")


@test("what the server makes belongs to its user alone")
def modes(t):
    server = t.server(unix=True)
    t.client(server).call("DO", "account/a", *OPEN)
    for folder, _, names in os.walk(server.directory):
        equal(os.stat(folder).st_mode & 0o077, 0, folder)
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # the spare segment has become the active one meanwhile
                equal(os.stat(os.path.join(folder, name)).st_mode & 0o077, 0, name)
    equal(os.stat(server.path).st_mode & 0o077, 0, "the unix socket")


@test("many clients with slow passwords at once: the queue is bounded, the server answers others at once")
def overload(t):
    server = server_with(t, f"user p on {slow('people choose')} allkeys +@all")
    root = login(t, server, "root")
    clients = [t.client(server) for _ in range(300)]
    for client in clients:
        client.send("AUTH", "p", "guess")
    # one address cannot fill the queue
    wait_for(lambda: info(root, "auth_overloaded") > 200, 20, "most to be refused")
    with socket.create_connection(("127.0.0.1", server.port), source_address=("127.0.0.2", 0), timeout=20) as other:
        other.sendall(encode("AUTH", "p", "people choose"))
        equal(other.recv(100), b"+OK\r\n", "another address")
    worst = 0.0
    for _ in range(50):
        begun = time.monotonic()
        equal(root.call("PING"), "PONG")
        worst = max(worst, time.monotonic() - begun)
    check(worst < 5, f"a PING took {worst:.2f} s")
    equal(info(root, "auth_overloaded") > 0, True, "the queue was full for some")
    told = [client.read().code for client in clients[-20:]]
    equal(set(told), {"OVERLOADED"}, "those who came last")
    for client in clients:
        client.close()

    def comes_in():
        with server.client() as late:
            return late.ask("AUTH", "p", "people choose") == "OK"

    wait_for(comes_in, 60, "a place in the queue")


if __name__ == "__main__":
    sys.exit(main())
