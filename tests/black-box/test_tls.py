# SPDX-License-Identifier: MIT
# TLS on its port: Python's ssl and redis-cli as clients, certificates made by the openssl command. What goes wrong
# is tried too: garbage, silence, old versions, strangers' certificates, halves of connections, slow and greedy readers.
"""TLS for clients."""

import os
import shutil
import socket
import ssl
import sys
import time
import warnings

from harness import Client, Closed, Skip, check, command, equal, free_port, main, memimage, test, wait_for
from resp import encode
from secure import Authority, TlsClient, trusting

OPEN = ("Open", "owner", "O", "currency", "CZK")


def tls_server(t, auth="no", args=(), plain=True):
    authority = Authority(t.scratch())
    certificate, key = authority.issue("server")
    server = t.new_server(unix=not plain, args=[])
    server.tls_port = free_port()
    server.args = ["--tls-port", server.tls_port, "--tls-cert-file", certificate, "--tls-key-file", key,
                   "--tls-ca-cert-file", authority.ca, "--tls-auth-clients", auth, *args]
    server.args = [str(word) for word in server.args]
    if plain:
        server.start()
    else:
        server.args += ["--port", "none"]
        server.launch()
        wait_for(lambda: "info ready" in server.stderr() or not server.process.running(), 60, "the server")
        check(server.process.running(), server.stderr())
    return server, authority


def connect(t, server, context):
    client = TlsClient(server.tls_port, context)
    t.stack.callback(client.close)
    return client


def info(client, name):
    for line in client.call("INFO", "everything").splitlines():
        if line.startswith(name + ":"):
            return int(line.split(":", 1)[1])
    raise AssertionError(name)


def closed(plain, seconds=20):
    """True when the server ends this socket."""
    plain.settimeout(seconds)
    try:
        while plain.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True


@test("commands, pipelines and large values over TLS 1.2 and 1.3; older versions are refused")
def versions(t):
    server, authority = tls_server(t, args=["--query-size-max", "8m"])
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = trusting(authority)
        context.minimum_version = context.maximum_version = version
        c = connect(t, server, context)
        name = version.name.replace("_", "")
        equal(c.call("DO", f"account/{name}", *OPEN)[0], 1)
        replies = c.pipeline([("DO", f"account/{name}", "Deposit", "amount", str(i)) for i in range(1, 3001)])
        equal([reply[0] for reply in replies], list(range(2, 3002)))
        for size in (1, 16383, 16384, 16385, 70000, 1 << 20, 5_000_001):
            equal(c.call("ECHO", "x" * size), "x" * size, f"{size} bytes")
        check(c.socket.version().replace(".", "").endswith(name[-2:].replace("v", "")), c.socket.version())
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    try:
        connect(t, server, old)
        check(False, "TLS 1.1 was taken")
    except (ssl.SSLError, OSError):
        pass
    plain = t.client(server)
    equal(info(plain, "tls_connections_received"), 3)
    equal(info(plain, "tls_failures"), 1)


@test("the plain port can be closed; the unix socket and TLS remain")
def no_plain_port(t):
    server, authority = tls_server(t, plain=False)
    equal(connect(t, server, trusting(authority)).call("PING"), "PONG")
    with Client(path=server.path) as local:
        equal(info(local, "tcp_port"), 0)
        equal(info(local, "tls_port"), server.tls_port)
    check(" port=0 " in server.stderr(), "no plain port")


@test("client certificates: yes refuses who has none or a stranger's, optional takes who has none")
def client_certificates(t):
    stranger = Authority(t.scratch())
    server, authority = tls_server(t, auth="yes")
    mine = authority.issue("client")
    equal(connect(t, server, trusting(authority, *mine)).call("PING"), "PONG")
    for wrong in ((), stranger.issue("stranger")):
        try:
            connect(t, server, trusting(authority, *wrong)).call("PING")
            check(False, "it was let in")
        except (ssl.SSLError, Closed, OSError):
            pass
    plain = t.client(server)
    wait_for(lambda: info(plain, "tls_failures") == 2, 20, "two failures counted")
    server, authority = tls_server(t, auth="optional")
    equal(connect(t, server, trusting(authority)).call("PING"), "PONG")
    equal(connect(t, server, trusting(authority, *authority.issue("client"))).call("PING"), "PONG")
    try:
        connect(t, server, trusting(authority, *stranger.issue("other"))).call("PING")
        check(False, "a stranger's certificate was taken")
    except (ssl.SSLError, Closed, OSError):
        pass


@test("users and passwords work over TLS, and redis-cli --tls")
def users(t):
    server, authority = tls_server(t, args=["--requirepass", "sesam"], plain=False)
    c = connect(t, server, trusting(authority))
    equal(c.ask("PING").code, "NOAUTH")
    equal(c.call("AUTH", "sesam"), "OK")
    equal(c.call("DO", "account/a", *OPEN), [1, 1])
    if shutil.which("redis-cli") is None:
        raise Skip("redis-cli is not installed")
    status, out, err = command("redis-cli", "--help")
    if "--tls" not in out + err:
        raise Skip("this redis-cli has no TLS")
    status, out, err = command("redis-cli", "-p", server.tls_port, "--tls", "--cacert", authority.ca, "--no-auth-warning",
                               "-a", "sesam", "GET", "account/a")
    equal(status, 0, err)
    check('"owner":"O"' in out, out)


@test("garbage, plain commands and half handshakes end the connection and nothing else")
def garbage(t):
    server, authority = tls_server(t)
    plain = t.client(server)
    good = connect(t, server, trusting(authority))
    hello = ssl.MemoryBIO()
    client = trusting(authority).wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    whole = hello.read()
    pieces = [b"\0" * 100, os.urandom(4000), encode("PING"), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\1" * 70000,
              whole[:40] + os.urandom(len(whole) - 40), whole + os.urandom(500)]
    for piece in pieces:
        with socket.create_connection(("127.0.0.1", server.tls_port)) as raw:
            try:
                raw.sendall(piece)
                raw.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            check(closed(raw), "closed")
    for piece in (b"", whole[:1], whole[: len(whole) // 2], whole):
        with socket.create_connection(("127.0.0.1", server.tls_port)) as raw:
            raw.sendall(piece)
    equal(good.call("PING"), "PONG")
    wait_for(lambda: info(plain, "connected_clients") == 2, 20, "the others to be gone")
    check(info(plain, "tls_failures") >= len(pieces), "counted")
    # plain text behind the handshake is no record
    descriptor = socket.socket(fileno=os.dup(good.socket.fileno()))
    descriptor.sendall(encode("PING"))
    try:
        good.read()
        check(False, "plain text was taken")
    except (Closed, ssl.SSLError, OSError):
        pass
    descriptor.close()
    equal(plain.call("PING"), "PONG")


@test("a handshake that does not come to its end is closed after five seconds, and counts among the clients meanwhile")
def slow_handshake(t):
    server, authority = tls_server(t, args=["--clients-max", "3"])
    plain = t.client(server)
    equal(plain.call("PING"), "PONG")
    silent = [socket.create_connection(("127.0.0.1", server.tls_port)) for _ in range(2)]
    wait_for(lambda: info(plain, "connected_clients") == 3, 20, "three clients")
    with socket.create_connection(("127.0.0.1", server.tls_port)) as fourth:
        check(closed(fourth), "more than clients-max")
    begun = time.monotonic()
    for i, raw in enumerate(silent):
        while True:  # a byte now and then does not help
            raw.settimeout(0.3)
            try:
                raw.sendall(b"\x16" if i == 0 else b"")
                if raw.recv(100) == b"":
                    break
            except TimeoutError:
                check(time.monotonic() - begun < 30, "it stays open")
            except OSError:
                break
        raw.close()
    wait_for(lambda: info(plain, "connected_clients") == 1, 20, "the silent ones to be gone")
    check(info(plain, "limit_handshake_closed") + info(plain, "tls_failures") >= 2, "counted")
    check(info(plain, "limit_handshake_closed") >= 1, "by its deadline")
    equal(connect(t, server, trusting(authority)).call("PING"), "PONG")


@test("a client that ends its side gets its answers, and the server's end in the words of TLS")
def half_closed(t):
    server, authority = tls_server(t)
    c = connect(t, server, trusting(authority))
    c.send_raw(encode("DO", "account/a", *OPEN) + b"".join(encode("ECHO", "x" * 1000) for _ in range(200)))
    raw = socket.socket(fileno=os.dup(c.socket.fileno()))
    raw.shutdown(socket.SHUT_WR)
    raw.close()
    equal(c.read(), [1, 1])
    for _ in range(200):
        equal(c.read(), "x" * 1000)
    try:
        c.read()
        check(False, "it should have ended")
    except Closed:
        pass
    # QUIT: close_notify, so that the end is no truncation to a strict client
    strict = trusting(authority)
    quits = connect(t, server, strict)
    quits.socket.suppress_ragged_eofs = False
    quits.send("QUIT")
    equal(quits.read(), "OK")
    equal(quits.socket.recv(10), b"", "an end, said so")


@test("who does not read is paused, and goes on where he stopped")
def slow_reader(t):
    server, authority = tls_server(t)
    plain = t.client(server)
    c = connect(t, server, trusting(authority))
    c.socket.setblocking(False)
    text = "y" * 100_000
    request, sent = encode("ECHO", text), 0
    total = request * 200
    deadline = time.monotonic() + 30
    while sent < len(total) and time.monotonic() < deadline:
        try:
            sent += c.socket.send(total[sent : sent + 16384])
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            if info(plain, "stalls_output") > 0:
                break
            time.sleep(0.01)
    check(info(plain, "stalls_output") > 0, "it was paused")
    whole = sent // len(request)
    check(whole > 5, f"{whole} requests were taken")
    c.socket.setblocking(True)
    for i in range(whole):
        equal(c.read() == text, True, f"reply {i}")
    equal(info(plain, "limit_output_closed"), 0)


@test("FOLLOW over TLS: every event, in order, while others write")
def follow(t):
    server, authority = tls_server(t)
    plain = t.client(server)
    c = connect(t, server, trusting(authority))
    c.hello(3)
    equal(c.call("FOLLOW", "FROM", "1"), "OK")
    plain.call("DO", "account/a", *OPEN)
    plain.pipeline([("DO", "account/a", "Deposit", "amount", "1", "note", "n" * 500) for _ in range(5000)])
    for position in range(1, 5002):
        kind, event = c.read_push()
        equal(kind, "event")
        check(f'"position":{position},' in event, event)


@test("renegotiation is refused")
def renegotiation(t):
    server, authority = tls_server(t)
    status, out, err = command("sh", "-c", f"(sleep 1; echo R; sleep 2) | timeout 10 openssl s_client -tls1_2 -connect "
                               f"127.0.0.1:{server.tls_port} -CAfile {authority.ca} 2>&1")
    check("RENEGOTIATING" in out, out[-400:] + err)
    check("no renegotiation" in out, out[-800:])
    equal(t.client(server).call("PING"), "PONG")


@test("a start with the wrong files says which and why")
def wrong_files(t):
    authority = Authority(t.scratch())
    certificate, key = authority.issue("server")
    _, other = authority.issue("other")
    loose = authority.path("loose.key")
    shutil.copy(key, loose)
    os.chmod(loose, 0o644)
    for words, reason in (((), "tls-cert-file"), (("--tls-cert-file", "/nonexistent"), "nonexistent"),
                          (("--tls-cert-file", certificate), "key"),
                          (("--tls-cert-file", certificate, "--tls-key-file", other), "key values mismatch"),
                          (("--tls-cert-file", certificate, "--tls-key-file", loose), "chmod 600"),
                          (("--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "yes"),
                           "tls-ca-cert-file"),
                          (("--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "maybe"),
                           "yes, no or optional")):
        if "--tls-auth-clients" not in words:
            words = (*words, "--tls-auth-clients", "no")
        status, _, err = memimage("serve", "--dir", t.scratch(), "--port", "0", "--tls-port", free_port(), *words)
        equal(status, 1, f"exit status for {words}")
        check(reason in err, f"{words}: {err}")
    status, _, err = memimage("serve", "--dir", t.scratch(), "--port", "none")
    equal(status, 1)
    check("nobody could connect" in err, err)


def standby(t, server, authority, *args, ready=True):
    """A standby of the primary's TLS port."""
    follower = t.new_server(args=["--replica-of", f"localhost:{server.tls_port}", "--tls-replication", "--tls-ca-cert-file",
                                  authority.ca, *args], keep_port=True)
    return follower.start() if ready else follower.launch()


def same(server_client, follower):
    def reached():
        with follower.client() as client:
            return client.ask("ROLE")[3:4] == ["connected"] and client.call("DIGEST") == server_client.call("DIGEST")

    wait_for(reached, 60, "the standby shows what the primary shows")


@test("a standby copies, follows, comes back and is promoted over TLS, also where the primary has no plain port")
def standby_over_tls(t):
    for plain in (True, False):
        server, authority = tls_server(t, plain=plain)
        c = connect(t, server, trusting(authority))
        c.call("DO", "account/a", *OPEN)
        c.pipeline([("DO", "account/a", "Deposit", "amount", 1, "@corr", "x" * 200)] * 20000)
        follower = standby(t, server, authority)
        same(c, follower)
        equal(c.call("WAIT", 1, 10000), 1, "WAIT 1")
        follower.kill()
        c.pipeline([("DO", "account/a", "Deposit", "amount", 1, "@corr", "x" * 200)] * 20000)
        follower.start()
        same(c, follower)
        with follower.client() as f:
            equal(f.call("REPLICAOF", "NO", "ONE"), "OK", "promotion")
            equal(f.call("DO", "account/a", "Deposit", "amount", 1)[0], 40002, "the first command of the new primary")


@test("a link over TLS that is cut at any byte goes on, and the journal is the primary's")
def cut_link(t):
    server, authority = tls_server(t)
    c = connect(t, server, trusting(authority))
    c.call("DO", "account/a", *OPEN)
    follower = standby(t, server, authority)
    for _ in range(8):
        c.pipeline([("DO", "account/a", "Deposit", "amount", 1, "@corr", "x" * 200)] * 3000)
        follower_cut(follower)
    same(c, follower)


def follower_cut(follower):
    """The standby turns away and back in the middle of what is on its way."""
    with follower.client() as client:
        host, port = client.call("ROLE")[1:3]
        other = "127.0.0.1" if host == "localhost" else "localhost"
        equal(client.call("REPLICAOF", other, port), "OK", "the same primary by another name")


@test("a standby that is not trusted, or does not trust, says so, keeps trying, and loses nothing")
def standby_without_trust(t):
    server, authority = tls_server(t, auth="yes")
    certificate, key = authority.issue("standby")
    stranger = Authority(t.scratch())
    def says(follower, text):
        wait_for(lambda: text in follower.stderr() or not follower.process.running(), 30, f"{text!r} in the log")
        check(follower.process.running(), follower.stderr())

    says(standby(t, server, stranger, ready=False), "no TLS with the primary")
    says(standby(t, server, authority, ready=False), "primary_lost")  # no certificate: the primary wants one
    plain = t.new_server(args=["--replica-of", f"127.0.0.1:{server.tls_port}"], keep_port=True).launch()
    says(plain, "--tls-replication")
    wrong = t.new_server(args=["--replica-of", f"127.0.0.1:{server.port}", "--tls-replication", "--tls-ca-cert-file",
                               authority.ca], keep_port=True).launch()
    says(wrong, "no TLS with the primary")
    with server.client() as c:
        c.call("DO", "account/a", *OPEN)
        trusted = standby(t, server, authority, "--tls-cert-file", certificate, "--tls-key-file", key)
        same(c, trusted)


if __name__ == "__main__":
    sys.exit(main())
