# SPDX-License-Identifier: MIT
# Retention: segments that no kept snapshot needs are moved, never deleted; what is read there afterwards is an error
# that says how to bring them back; and the process may be killed at any moment of it.
"""Black-box test of archived journals."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

from harness import BINARY, Skip, check, equal, error, main, memimage, test, wait_for
from ledger import digest, offline_digest
from resp import RespError

SMALL = ("--segment-size-max", "4m", "--snapshot-keep", "1")
WIDE = "o" * 8000  # an event of this size: 500 of them fill a segment


def widen(client, first, count):
    requests = [("DO", f"account/w-{n}", "Open", "owner", WIDE, "currency", "CZK") for n in range(first, first + count)]
    check(not any(isinstance(reply, RespError) for reply in client.pipeline(requests)), "every account is opened")


def segments(directory):
    return sorted(name for name in os.listdir(directory) if name.endswith(".journal"))


def info(client, name):
    for line in client.call("INFO", "snapshot").splitlines():
        if line.startswith(name + ":"):
            return line.split(":", 1)[1]
    raise AssertionError(f"INFO has no {name}")


def bring_back(archive, server):
    for name in segments(archive):
        shutil.copy(os.path.join(archive, name), os.path.join(server.directory, "journal", name))


def sums(*directories):
    """Name and hash of every segment, wherever it stands, without the zeros behind the newest one's frames."""
    found = {}
    for directory in directories:
        for name in segments(directory):
            with open(os.path.join(directory, name), "rb") as handle:
                found[name] = hashlib.sha256(handle.read().rstrip(b"\0")).hexdigest()
    return found


@test("--archive moves what no snapshot needs; a start, a kill and a copy go on without it")
def server_archives(t):
    archive = os.path.join(t.scratch(), "archive")
    server, c = t.pair(args=(*SMALL, "--archive", archive))
    widen(c, 0, 1800)
    before = segments(os.path.join(server.directory, "journal"))
    check(len(before) >= 3, f"several segments: {before}")
    c.call("SNAPSHOT", timeout=120)
    wait_for(lambda: int(info(c, "archived_segments")) == len(before) - 1, 20, "the archive to be filled")
    equal(segments(archive), before[:-1], "archived")
    equal(segments(os.path.join(server.directory, "journal")), before[-1:], "what stays")
    widen(c, 1800, 10)
    live = digest(c)
    server.restart(crash=True)
    with server.client() as again:
        equal(digest(again), live, "the digest after a kill")
        widen(again, 1810, 10)
        live = digest(again)
    server.stop()
    server.args = ["--segment-size-max", "4m"]
    copy = os.path.join(server.scratch, "copy")
    equal(memimage("restore", "--dir", server.directory, "--to", copy)[0], 0, "a copy of what stays and its snapshot")
    equal(offline_digest(copy), live[1], "the digest of the copy")


@test("history before the first segment is an error that says what to do, and copying the files back brings it back")
def history(t):
    archive = os.path.join(t.scratch(), "archive")
    server, c = t.pair(args=(*SMALL, "--archive", archive))
    widen(c, 0, 1200)
    check(not isinstance(c.call("JOURNAL", "FROM", 1, "COUNT", 1), RespError), "the beginning, while it is there")
    c.call("SNAPSHOT", timeout=120)
    wait_for(lambda: int(info(c, "archived_segments")) > 0, 20, "the archive to be filled")
    server.restart()
    with server.client() as again:
        for request in (("JOURNAL", "FROM", 1, "COUNT", 1), ("EVENTS", "account/w-1"),
                        ("STATE", "account/w-1", "AT", "VERSION", 1)):
            reply = again.pipeline([request])[0]
            text = error(reply, "ERR")
            check("archived" in text, f"{request[0]} says that it was archived: {text}")
        check(not isinstance(again.call("GET", "account/w-1"), RespError), "the state itself is there")
        live = digest(again)
        equal(again.call("FOLLOW", "FROM", 1), "OK", "a follower is taken")
        check("archived" in error(again.read(), "ERR"), "and told at once")
    server.stop()
    status, _, err = memimage("digest", "--dir", server.directory, "--from-scratch")
    equal(status, 3, f"exit status from scratch: {err}")
    check("archived" in err and "copy" in err, f"from scratch says what is missing: {err}")
    bring_back(archive, server)
    equal(offline_digest(server.directory, "--from-scratch"), live[1], "the digest from scratch")
    server.start()
    with server.client() as again:
        check(not isinstance(again.call("EVENTS", "account/w-1"), RespError), "history is back")


@test("a server without a usable snapshot refuses with status 3, says why, and starts when the files are back")
def uncovered(t):
    archive = os.path.join(t.scratch(), "archive")
    server, c = t.pair(args=SMALL)
    widen(c, 0, 1200)
    live = digest(c)
    server.stop()
    status, out, err = memimage("snapshot", "--dir", server.directory, "--keep", "1", "--archive", archive)
    equal(status, 0, f"archived by hand: {err}")
    check("archived" in out and segments(archive), f"it says so: {out}")
    folder = os.path.join(server.directory, "snapshots")
    snapshot = os.path.join(folder, os.listdir(folder)[0])
    with open(snapshot, "r+b") as handle:
        handle.seek(5000)
        handle.write(b"\x77\x66")
    server.launch()
    equal(server.process.wait(), 3, "exit status")
    check("archived" in server.stderr() and "block" in server.stderr(), f"what and why: {server.stderr()}")
    target = os.path.join(server.scratch, "target")
    status, _, err = memimage("restore", "--dir", server.directory, "--to", target)
    check(status != 0 and err, f"a copy that could not start is not made: {err}")
    bring_back(archive, server)
    server.start()
    with server.client() as again:
        equal(digest(again), live, "the digest with the files back")
    server.stop()
    equal(memimage("restore", "--dir", server.directory, "--to", target)[0], 0, "the copy")
    equal(offline_digest(target, "--from-scratch"), live[1], "its digest")


@test("a copy of an earlier point that no snapshot leads to is refused before anything is written")
def early_copy(t):
    archive = os.path.join(t.scratch(), "archive")
    server, c = t.pair(args=(*SMALL, "--archive", archive))
    widen(c, 0, 1200)
    position = c.call("SNAPSHOT", timeout=120)
    wait_for(lambda: int(info(c, "archived_segments")) > 0, 20, "the archive to be filled")
    target = os.path.join(server.scratch, "target")
    status, _, err = memimage("restore", "--dir", server.directory, "--to", target, "--at", "700")
    check(status != 0 and "archived" in err, f"refused: {err}")
    status, _, err = memimage("restore", "--dir", server.directory, "--to", target, "--at", str(position))
    equal(status, 0, f"the same target, a point that a snapshot leads to: {err}")


@test("a file of another history in the archive is never overwritten, and nothing is moved over it")
def collision(t):
    archive = os.path.join(t.scratch(), "archive")
    server, c = t.pair(args=SMALL)
    widen(c, 0, 1200)
    server.stop()
    os.mkdir(archive)
    first = segments(os.path.join(server.directory, "journal"))[0]
    with open(os.path.join(archive, first), "wb") as handle:
        handle.write(b"mine")
    status, _, err = memimage("snapshot", "--dir", server.directory, "--archive", archive)
    check(status != 0 and first in err, f"refused, with the name: {err}")
    check(first in segments(os.path.join(server.directory, "journal")), "the segment is where it was")
    with open(os.path.join(archive, first), "rb") as handle:
        equal(handle.read(), b"mine", "the other file")


def kill_rounds(t, archive):
    """Kills the archiving process at random moments; every segment stands somewhere, whole, all the time."""
    server, c = t.pair(args=SMALL)
    source = random.Random(11)
    journal = os.path.join(server.directory, "journal")
    os.makedirs(archive, exist_ok=True)
    rounds = int(os.environ.get("ROUNDS", "6"))
    written = 0
    for number in range(rounds):
        widen(c, written, 1100)
        written += 1100
        live = digest(c)
        c.call("SNAPSHOT", timeout=120)
        known = sums(archive, journal)
        words = [BINARY, "snapshot", "--dir", server.directory, "--archive", archive, "--archive-only"]
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(source.random() * 0.05)
        child.kill()
        child.wait()
        found = sums(journal, archive)
        missing = [name for name in known if name not in found]
        equal(missing, [], f"segments that are gone after kill {number}")
        equal({name: found[name] for name in known}, known, f"bytes after kill {number}")
        server.restart(crash=True)
        c = server.client()
        equal(digest(c), live, f"the digest after kill {number}")
    status, _, err = memimage("snapshot", "--dir", server.directory, "--archive", archive, "--archive-only")
    equal(status, 0, f"the last run: {err}")
    equal(len(segments(journal)), 1, "segments that stay")
    server.stop()
    for name in segments(archive):
        shutil.copy(os.path.join(archive, name), os.path.join(journal, name))
    equal(offline_digest(server.directory, "--from-scratch"), live[1], "the digest from scratch, all brought back")


@test("kill -9 of a server that snapshots and archives by itself, at random moments")
def killed_server(t):
    archive = os.path.join(t.scratch(), "archive")
    server, c = t.pair(args=(*SMALL, "--archive", archive, "--snapshot-every", "400"))
    source = random.Random(12)
    journal = os.path.join(server.directory, "journal")
    for number in range(int(os.environ.get("ROUNDS", "6"))):
        widen(c, number * 1000, 1000)
        live = digest(c)
        time.sleep(source.random() * 0.15)
        server.kill()
        server.start()
        c = server.client()
        equal(digest(c), live, f"the digest after kill {number}")
    widen(c, 10**6, 1)
    live = digest(c)
    c.call("SNAPSHOT", timeout=120)
    wait_for(lambda: len(segments(journal)) == 1 and info(c, "snapshot_state") == "idle", 120, "all to be archived")
    server.stop()
    bring_back(archive, server)
    equal(offline_digest(server.directory, "--from-scratch"), live[1], "the digest from scratch, all brought back")


@test("kill -9 of the archiving process at random moments: by links")
def killed_links(t):
    kill_rounds(t, os.path.join(t.scratch(), "archive"))


@test("kill -9 of the archiving process at random moments: by copies onto another file system")
def killed_copies(t):
    scratch = t.scratch()
    shm = "/dev/shm"
    if not os.path.isdir(shm) or os.stat(shm).st_dev == os.stat(scratch).st_dev:
        raise Skip("no second file system at /dev/shm")
    with tempfile.TemporaryDirectory(dir=shm) as other:
        kill_rounds(t, other)


if __name__ == "__main__":
    sys.exit(main())
