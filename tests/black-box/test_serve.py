# SPDX-License-Identifier: MIT
# The process: exit codes, the lock, configuration, unix socket, signals, and damage of the journal told apart from a torn
# tail, with nothing changed on disk where the start is refused.
"""Black-box tests of `memimage serve` as a process."""

import hashlib
import os
import random
import re
import shutil
import signal
import struct
import sys
import time

from harness import BINARY, Process, Skip, check, command, equal, free_port, main, memimage, test, wait_for
from ledger import deposit, digest, offline_digest, open_account, state, version
from resp import Client, Closed, RespError, encode

SEGMENT_HEADER_SIZE = 4096
SUBCOMMANDS = (("serve",), ("load",), ("journal",), ("journal", "dump"), ("journal", "verify"), ("journal", "stat"),
               ("digest",))


def fill(server, commands=400):
    """Some frames in the journal; returns the digest."""
    with server.client() as client:
        open_account(client, "a", overdraft=1000)
        open_account(client, "b")
        for number in range(commands):
            deposit(client, "a", number + 1, "@id", f"k{number}")
            if number % 10 == 0:
                client.call("DO", "account/a", "Transfer", "to", "b", "amount", 1)
        return digest(client)


def frames(path):
    """(offset, size) of each frame of a segment, by the frame headers alone (src/journal/format.h)."""
    with open(path, "rb") as handle:
        data = handle.read()
    found, offset = [], SEGMENT_HEADER_SIZE
    while data[offset : offset + 4] == b"MIMF":
        size = struct.unpack_from("<I", data, offset + 8)[0]
        found.append((offset, size))
        offset += size
    return found


def end_of_frames(path):
    offset, size = frames(path)[-1]
    return offset + size


def segments(server):
    """The segments with frames in them, in order."""
    return [path for path in server.journal_files() if path.endswith(".journal") and frames(path)]


def snapshot_of_files(directory):
    """Name -> (size, hash) of every file of the data directory; no server may run there, which would rename some."""
    found = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as handle:
                data = handle.read()
            found[os.path.relpath(path, directory)] = (len(data), hashlib.sha256(data).hexdigest())
    return found


def serve_refuses(server, status):
    """Starts the server and expects it to end with `status`; returns its stderr."""
    server.launch()
    equal(server.process.wait(), status, f"exit status of serve\n{server.stderr()}")
    return server.stderr()


def patch(path, offset, data):
    with open(path, "r+b") as handle:
        handle.seek(offset)
        handle.write(data)


@test("SIGTERM and SIGINT stop with status 0 and lose nothing")
def graceful(t):
    server = t.server()
    wanted = fill(server, 50)
    for number in (signal.SIGTERM, signal.SIGINT):
        equal(server.stop(number), 0, f"exit status after signal {number}")
        server.start()
        with server.client() as client:
            equal(digest(client), wanted, "digest")


@test("SIGTERM under load answers what it accepted and stops within seconds")
def graceful_under_load(t):
    server, c = t.pair()
    open_account(c, "a")
    load = encode("DO", "account/a", "Deposit", "amount", 1) * 20000
    c.send_raw(load)
    time.sleep(0.05)
    started = time.monotonic()
    equal(server.stop(), 0, "exit status")
    check(time.monotonic() - started < 30, "the stop took more than 30 s")
    acknowledged = 1
    for reply in c.read_until_closed():
        check(isinstance(reply, list), f"reply {reply!r}")
        acknowledged = reply[0]
    server.start()
    with server.client() as client:
        check(version(client, "a") >= acknowledged, "an acknowledged command is missing")


@test("the loop spins while requests come in quick succession, never with --spin 0, and an idle server sleeps")
def spinning(t):
    if (os.cpu_count() or 1) < 2:
        raise Skip("one core: it never spins by itself")
    server = t.server()
    with server.client() as c:
        def spins():
            return int(c.call("INFO", "journal").split("loop_spins:")[1].split()[0])

        def burst():
            c.send_raw(encode("PING") * 20000)
            received = 0
            while received < 20000 * len("+PONG\r\n"):
                received += len(c.socket.recv(1 << 20))

        def loaded():
            before = spins()
            burst()
            return spins() > before

        wait_for(loaded, 60, "a spin under load")
        c.call("CONFIG", "SET", "spin-us", "0")
        spins()
        before = spins()
        for _ in range(5):
            burst()
        equal(spins(), before, "spins without leave to spin")
        c.call("CONFIG", "SET", "spin-us", "200")
        wait_for(loaded, 60, "a spin under load")

        def sleeps():
            before = spins()
            time.sleep(0.3)
            return spins() == before

        wait_for(sleeps, 30, "an idle server to sleep at once")


@test("a client that is alone is in quick succession with fewer requests than several together")
def spinning_alone(t):
    if (os.cpu_count() or 1) < 2:
        raise Skip("one core: it never spins by itself")
    server = t.server()
    with server.client() as c, server.client() as other:
        def spins():
            return int(c.call("INFO", "journal").split("loop_spins:")[1].split()[0])

        def paced(clients):  # 15,000 a second at most, and at most 18,000 in any window
            before = spins()
            for _ in range(20):
                for client in clients:
                    client.pipeline([("PING",)] * (300 // len(clients)))
                time.sleep(0.02)
            return spins() > before

        wait_for(lambda: paced([c]), 60, "a spin for a client that is alone")
        paced([c, other])  # windows of before end
        check(not paced([c, other]), "spins for two clients that are not in quick succession")


@test("SHUTDOWN stops with status 0")
def shutdown(t):
    server, c = t.pair()
    open_account(c, "a")
    c.send("SHUTDOWN")
    equal(server.process.wait(), 0, "exit status")
    server.start()
    with server.client() as client:
        equal(version(client, "a"), 1, "version")


@test("every subcommand has --help on standard output with status 0")
def helps(_):
    for words in ((),) + SUBCOMMANDS:
        status, out, err = memimage(*words, "--help")
        equal((status, err), (0, ""), f"status and stderr of {words} --help")
        check(len(out) > 80, f"{words} --help says something")
    for option in ("--dir", "--port", "--bind", "--unixsocket", "--model", "--durability", "--config"):
        check(option in memimage("serve", "--help")[1], f"serve --help names {option}")
    equal(memimage("--version")[0], 0, "exit status of --version")


@test("bad usage ends with status 1 and a message on standard error")
def bad_usage(t):
    directory = os.path.join(t.scratch(), "data")
    for words in (
        ("serve", "--nope"), ("serve", "--port", "x", "--dir", directory), ("serve", "--port", "65536", "--dir", directory),
        ("serve", "--port", "-1", "--dir", directory), ("serve", "--port"), ("serve", "--dir"),
        ("serve", "--durability", "maybe", "--dir", directory), ("serve", "--durability", "interval:x", "--dir", directory),
        ("serve", "--model", "nosuchmodel", "--dir", directory), ("serve", "--model", "/nonexistent.so", "--dir", directory),
        ("serve", "--config", "/nonexistent.conf"), ("serve", "stray", "--dir", directory), ("nosuchcommand",),
        ("load",), ("load", "/nonexistent.ndjson"), ("journal",), ("journal", "nope"), ("digest",),
        ("digest", "--dir", directory + "-none"), ("journal", "verify", "--dir", directory + "-none"),
    ):
        status, out, err = memimage(*words, timeout=30)
        check(status != 0, f"exit status of {words} is 0")
        if words[0] == "serve":
            equal(status, 1, f"exit status of {words}")
        equal(out, "", f"standard output of {words}")
        check(len(err) > 5, f"{words} says nothing on standard error")


@test("a port that is taken ends with status 1 and names the port")
def port_taken(t):
    server = t.server()
    status, _, err = memimage("serve", "--dir", os.path.join(t.scratch(), "d"), "--port", server.port, timeout=30)
    equal(status, 1, "exit status")
    check(str(server.port) in err, f"the message names the port: {err}")


@test("a second server on the same directory ends with status 5 and changes nothing")
def second_server(t):
    server = t.server()
    wanted = fill(server, 20)
    status, _, err = memimage("serve", "--dir", server.directory, "--port", free_port(), timeout=30)
    equal(status, 5, "exit status")
    check("in use" in err, f"the message says that the directory is in use: {err}")
    check(server.directory in err or os.path.basename(server.directory) in err, f"the message names it: {err}")
    with server.client() as client:
        equal(digest(client), wanted, "digest of the first server")
        deposit(client, "a", 1)


@test("the lock goes with the process, so kill -9 leaves no stale lock")
def no_stale_lock(t):
    server = t.server()
    for _ in range(3):
        server.restart(crash=True)


@test("the server listens on loopback only by default")
def loopback(t):
    server = t.server()
    wanted = f":{server.port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as handle:
        listening = [line.split()[1] for line in handle if line.split()[3] == "0A" and line.split()[1].endswith(wanted)]
    equal(listening, [f"0100007F{wanted}"], "listening sockets")


@test("a configuration file sets options, and the command line comes before it")
def configuration(t):
    scratch = t.scratch()
    port, other = free_port(), free_port()
    path = os.path.join(scratch, "memimage.conf")
    with open(path, "w", encoding="ascii") as handle:
        handle.write(f"# a comment\n\ndir = {scratch}/data\nport = {port}\ndurability = none\n")
    for words, wanted in (((), port), (("--port", str(other)), other)):
        process = Process([BINARY, "serve", "--config", path, *words], os.path.join(scratch, "stderr"))
        t.stack.callback(process.kill)
        for _ in range(500):
            try:
                with Client(wanted, timeout=5) as client:
                    equal(client.call("PING"), "PONG", "PING")
                break
            except (OSError, Closed, RespError):
                check(process.running(), f"the server ended: {process.stderr()}")
                time.sleep(0.02)
        process.signal(signal.SIGTERM)
        equal(process.wait(), 0, f"exit status ({process.stderr()})")
    check(os.path.isdir(os.path.join(scratch, "data")), "the directory of the configuration file")
    for bad in ("nosuchoption = 1\n", "port = abc\n", "port\n"):
        with open(path, "w", encoding="ascii") as handle:
            handle.write(f"dir = {scratch}/data\n{bad}")
        status, _, err = memimage("serve", "--config", path, timeout=30)
        equal(status, 1, f"exit status with {bad!r}")
        check(re.search(r"\b2\b", err), f"the message names line 2: {err}")


@test("a unix socket serves beside TCP")
def unix_socket(t):
    server, c = t.pair(unix=True)
    open_account(c, "a")
    with Client(path=server.path) as local:
        equal(local.call("DO", "account/a", "Deposit", "amount", 3), [2, 2], "a command over the socket")
    equal(state(c, "a")["balance"], 3, "balance over TCP")


@test("a torn tail is cut off, saved beside the journal and reported, and nothing else is lost")
def torn_tail(t):
    source = random.Random(7)
    for round_number in range(6):
        server = t.server()
        wanted = fill(server, 60)
        time.sleep(0.1)
        server.kill()
        path = segments(server)[-1]
        end = end_of_frames(path)
        with open(path, "rb") as handle:
            handle.seek(frames(path)[source.randrange(3)][0])
            half_frame = handle.read(8 * source.randrange(2, 20))
        patch(path, end, source.randbytes(100 + 900 * round_number) if round_number % 2 else half_frame)
        server.start()
        with server.client() as client:
            equal(digest(client), wanted, "digest after a torn tail")
            deposit(client, "a", 1)
        check("torn" in server.stderr().lower(), f"the torn tail is reported: {server.stderr()[-500:]}")
        check(any(".torn." in name for name in server.journal_files()), "the torn tail is saved beside the journal")
        server.restart(crash=True)
        with server.client() as client:
            equal(digest(client)[0], wanted[0] + 1, "position after the next start")


@test("a flipped byte refuses the start with status 3, names segment, offset and position, and changes nothing")
def flipped_bytes(t):
    server = t.server()
    wanted = fill(server)
    equal(server.stop(), 0, "exit status")
    path = segments(server)[0]
    last = frames(path)[-1][0]
    source = random.Random(11)
    offsets = [0, 8, 24, 100, 4095] + [source.randrange(SEGMENT_HEADER_SIZE, last) for _ in range(30)]
    for offset in offsets:
        with open(path, "rb") as handle:
            handle.seek(offset)
            byte = handle.read(1)[0]
        patch(path, offset, bytes([byte ^ (1 << source.randrange(8))]))
        before = snapshot_of_files(server.directory)
        err = serve_refuses(server, 3)
        check(os.path.basename(path) in err, f"the message names the segment: {err}")
        check(re.search(r"offset[ =:]+\d+", err), f"the message names the offset: {err}")
        if offset >= SEGMENT_HEADER_SIZE:
            check(re.search(r"position[ =:]+\d+", err), f"the message names the position: {err}")
        equal(snapshot_of_files(server.directory), before, f"the files after a flip at {offset}")
        status, _, _ = memimage("journal", "verify", "--dir", server.directory)
        check(status != 0, f"journal verify accepts a flip at {offset}")
        patch(path, offset, bytes([byte]))
    server.start()
    with server.client() as client:
        equal(digest(client), wanted, "digest of the mended journal")


@test("a flip in the seal or behind it never changes the state")
def flips_behind(t):
    server = t.server()
    wanted = fill(server, 50)
    equal(server.stop(), 0, "exit status")
    path = segments(server)[-1]
    seal, used, size = frames(path)[-1][0], end_of_frames(path), os.path.getsize(path)
    keep = server.directory + ".keep"
    shutil.copytree(server.directory, keep)
    t.stack.callback(shutil.rmtree, keep, ignore_errors=True)
    for offset in [o for o in (seal, seal + 30, used - 1, used, used + 64, used + 5000, size - 1) if o < size]:
        patch(path, offset, b"\x5a")
        server.launch()
        if server._ready():
            with server.client() as client:
                equal(digest(client), wanted, f"digest after a flip at {offset}")
            server.stop()
        else:
            equal(server.process.wait(), 3, f"exit status after a flip at {offset}")
        shutil.rmtree(server.directory)
        shutil.copytree(keep, server.directory)


def lose_half(path):
    os.truncate(path, frames(path)[len(frames(path)) // 2][0])


def lose_frames(path):
    """The last frames become zeros, as if they had never been written."""
    end, start = end_of_frames(path), frames(path)[-10][0]
    patch(path, start, bytes(end - start))


@test("a missing, shortened or partly zeroed last segment is noticed after a clean stop")
def lost_segment(t):
    for damage in (os.remove, lose_half, lose_frames):
        server = t.server()
        fill(server, 50)
        equal(server.stop(), 0, "exit status")
        damage(segments(server)[-1])
        before = snapshot_of_files(server.directory)
        check(len(serve_refuses(server, 3)) > 20, "a message")
        equal(snapshot_of_files(server.directory), before, "the files")


@test("journal verify, stat and dump and digest work on a stopped directory")
def offline_tools(t):
    server = t.server()
    wanted = fill(server, 30)
    equal(server.stop(), 0, "exit status")
    for words in (("journal", "verify"), ("journal", "stat"), ("journal", "dump"), ("journal", "stat", "--json")):
        status, out, err = memimage(*words, "--dir", server.directory)
        equal((status, err), (0, ""), f"status and stderr of {words}")
        check(len(out) > 10, f"{words} says something")
    equal(offline_digest(server.directory), wanted[1], "digest")
    equal(offline_digest(server.directory, "--from-scratch"), wanted[1], "digest from scratch")


@test("journal verify, stat and digest may look at a live server's directory")
def offline_tools_live(t):
    server = t.server()
    fill(server, 30)
    for words in (("journal", "verify"), ("journal", "stat"), ("digest",)):
        status, _, err = memimage(*words, "--dir", server.directory)
        equal(status, 0, f"exit status of {words} ({err})")


@test("load reports bad lines and rejected commands with a non-zero status and goes on to the end")
def load_errors(t):
    server, c = t.pair()
    path = os.path.join(t.scratch(), "bad.ndjson")
    with open(path, "w", encoding="ascii") as handle:
        handle.write('{"do":"account/a","command":"Open","data":{"owner":"x","currency":"CZK"}}\n'
                     '{"do":"account/a","command":"Withdraw","data":{"amount":5}}\n'
                     '{"do":"account/a","command":"Deposit","data":{"amount":5},"if":1,"id":"k","corr":"c"}\n')
    status, out, err = memimage("load", "--port", server.port, path)
    check(status != 0, "exit status 0 in spite of a rejected command")
    check("INSUFFICIENT_FUNDS" in out + err, f"the rejection is shown: {out}{err}")
    equal(state(c, "a")["balance"], 5, "the commands after the rejected one")
    with open(path, "w", encoding="ascii") as handle:
        handle.write("this is no JSON\n")
    status, out, err = memimage("load", "--port", server.port, path)
    check(status != 0 and "1" in err, f"a bad line is named: {status} {err}")
    check(memimage("load", "--port", free_port(), path, timeout=60)[0] != 0, "no server, no success")


@test("output on a pipe holds no progress bar and no escape sequences")
def no_progress(t):
    server = t.server()
    path = os.path.join(t.scratch(), "one.ndjson")
    with open(path, "w", encoding="ascii") as handle:
        handle.write('{"do":"account/a","command":"Open","data":{"owner":"x","currency":"CZK"}}\n')
    status, out, err = command(BINARY, "load", "--port", server.port, path)
    equal(status, 0, "exit status")
    check("\r" not in out + err and "\x1b" not in out + err, f"control characters: {out!r} {err!r}")


if __name__ == "__main__":
    sys.exit(main())
