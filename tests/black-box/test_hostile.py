# SPDX-License-Identifier: MIT
# Bad input costs nothing: malformed, oversized and hostile bytes get an error or a closed connection, without a crash,
# without growth and without any effect on other clients or on the state.
"""Black-box tests of hostile input."""

import random
import socket
import sys

from harness import check, equal, main, sanitized, test, wait_for
from ledger import balance, digest, open_account, version
from resp import Client, Closed, ProtocolError, RespError, encode

HUGE = 3 << 20
DEPOSIT = encode("DO", "account/a", "Deposit", "amount", "1")


def send_and_drain(server, data, half_close=True):
    """Sends data, then reads until the server is silent or closes. Returns (replies, closed)."""
    replies = []
    with Client(server.port, timeout=5) as client:
        try:
            client.send_raw(data)
            if half_close:
                client.socket.shutdown(socket.SHUT_WR)
            while True:
                replies.append(client.read(5))
        except (Closed, BrokenPipeError, ConnectionResetError):
            return replies, True
        except OSError:
            return replies, False
        except ProtocolError as problem:
            raise AssertionError(f"the reply to {data[:60]!r} is no RESP: {problem}") from problem


def must_refuse(server, data):
    """An error reply or a closed connection within 5 seconds, while the client keeps its side open."""
    replies, closed = send_and_drain(server, data, half_close=False)
    check(closed or any(isinstance(reply, RespError) for reply in replies),
          f"{data[:80]!r} was neither refused nor closed: {replies[:3]!r}")
    check(not any(isinstance(reply, list) for reply in replies), f"{data[:80]!r} had an effect: {replies[:3]!r}")


@test("malformed protocol is refused and harms nobody")
def malformed(t):
    server, c = t.pair()
    open_account(c, "a")
    before = digest(c)
    for data in (
        b"*1\r\n$-5\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$abc\r\n", b"*1\r\n$\r\n", b"*1\r\n$99999999999\r\n",
        b"*1\r\n$18446744073709551617\r\n", b"*999999999\r\n", b"*2147483648\r\n", b"*18446744073709551615\r\n",
        b"*9999999999999999999999999\r\n", b"*abc\r\n", b"*1x\r\n", b"*1\r\nPING\r\n", b"*1\r\n:5\r\n",
        b"*2\r\n$4\r\nPING\r\n+x\r\n", b"*1\r\n*1\r\n$4\r\nPING\r\n", b"*1\r\n$4\r\nPINGxx",
        b"*3\r\n$2\r\nDO\r\n$9\r\naccount/a\r\n:7\r\n", b"*1\r\n$ 4\r\nPING\r\n", b"*1\r\n$+4\r\nPING\r\n",
        b"ECHO \"unbalanced\r\n", b"ECHO \"a\"b\r\n", b"x" * HUGE, b"*" + b"1" * HUGE, b"*1\r\n$" + b"1" * HUGE,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", b"\x00\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\nDO account/a Deposit amount 1\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ):
        must_refuse(server, data)
        equal(c.call("PING"), "PONG", f"another client after {data[:60]!r}")
    equal(digest(c), before, "the state after malformed input")


@test("an empty command and a negative multibulk do nothing, and the connection goes on or closes")
def empty_commands(t):
    server, c = t.pair()
    for data in (b"*0\r\n", b"*-1\r\n", b"*-5\r\n", b"\r\n"):
        replies, _ = send_and_drain(server, data + b"*1\r\n$4\r\nPING\r\n")
        check(all(isinstance(reply, RespError) or reply == "PONG" for reply in replies), f"{data!r}: {replies!r}")
        equal(c.call("PING"), "PONG", "another client")


@test("binary junk and mutated commands never bring the server down")
def junk(t):
    server, c = t.pair()
    open_account(c, "b")
    source = random.Random(20240117)
    valid = encode("DO", "account/b", "Deposit", "amount", "1", "@id", "k") + encode("GET", "account/b")
    for number in range(300):
        if number % 3 == 0:
            data = source.randbytes(source.randrange(1, 3000))
        else:
            mutated = bytearray(valid * 3)
            for _ in range(source.randrange(1, 6)):
                mutated[source.randrange(len(mutated))] = source.randrange(256)
            data = bytes(mutated[: source.randrange(1, len(mutated) + 1)])
        send_and_drain(server, data)
    equal(c.call("PING"), "PONG", "the server lives")
    check(balance(c, "b") >= 0, "the state is sane")


@test("declared sizes cost no memory before the bytes arrive")
def declared_sizes(t):
    server, c = t.pair()
    before = server.resident_bytes()
    held = []
    for number in range(200):
        client = t.client(server)
        client.send_raw(b"*1000\r\n$1000000\r\nx" if number % 2 else b"*3\r\n$2\r\nDO\r\n$1048000\r\nx")
        held.append(client)
    equal(c.call("PING"), "PONG", "another client")
    grown = server.resident_bytes() - before
    limit = (256 if sanitized() else 32) << 20
    check(grown < limit, f"memory grew by {grown} bytes")


@test("a command over the limit of size is refused, one below it is not")
def oversized(t):
    server, c = t.pair()
    equal(len(c.call("ECHO", "x" * 1000000)), 1000000, "a large argument")
    must_refuse(server, encode("ECHO", "x" * (80 << 20)))
    must_refuse(server, b"*5000000\r\n" + b"$1\r\na\r\n" * 300000)
    equal(c.call("PING"), "PONG", "another client")


@test("a connection cut at any byte of a command has no effect, and the whole command has one")
def cut_anywhere(t):
    server, c = t.pair()
    open_account(c, "a")
    for cut in range(len(DEPOSIT)):
        with Client(server.port) as client:
            client.send_raw(DEPOSIT[:cut])
    equal(c.call("PING"), "PONG", "the server lives")
    with Client(server.port) as client:
        client.send_raw(DEPOSIT)
    wait_for(lambda: version(c, "a") == 2, 10, "the whole command to be executed")
    equal(balance(c, "a"), 1, "balance")


@test("a command sent byte by byte is answered as if it came at once")
def byte_by_byte(t):
    server, c = t.pair()
    open_account(c, "a")
    client = t.client(server)
    for byte in DEPOSIT + b"PING\r\n":
        client.send_raw(bytes([byte]))
    equal(client.read_all(2), [[2, 2], "PONG"], "replies")


@test("a client that never reads is held back or cut, and others are served")
def never_reads(t):
    server, c = t.pair()
    open_account(c, "a")
    before = server.resident_bytes()
    client = t.client(server, timeout=2)
    request = encode("ECHO", "y" * 10000) * 100
    sent = 0
    try:
        while sent < 300 << 20:
            client.send_raw(request)
            sent += len(request)
    except (OSError, Closed):
        pass
    equal(c.call("DO", "account/a", "Deposit", "amount", 1), [2, 2], "another client")
    grown = server.resident_bytes() - before
    limit = (400 if sanitized() else 128) << 20
    check(grown < limit, f"memory grew by {grown} bytes for a client that sent {sent}")


@test("hundreds of half-open connections do not keep others out")
def many_connections(t):
    server, c = t.pair()
    open_account(c, "a")
    held = []
    for _ in range(400):
        client = t.client(server)
        client.send_raw(b"*1\r\n$4\r\nPI")
        held.append(client)
    equal(c.call("DO", "account/a", "Deposit", "amount", 1), [2, 2], "a command among half-open connections")
    for client in held:
        client.send_raw(b"NG\r\n")
    equal({client.read() for client in held}, {"PONG"}, "all are answered at last")


if __name__ == "__main__":
    sys.exit(main())
