# SPDX-License-Identifier: MIT
# Snapshots and point-in-time copies of a real server: made beside it, used at start, never trusted when damaged.
"""Black-box test of snapshots, restore and their failures."""

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

from harness import BINARY, Skip, check, equal, main, memimage, test, wait_for
from ledger import balance, digest, offline_digest, open_account
from resp import RespError

BLOCK = 65536
HEADER = 4096


def fill(client, accounts, deposits, first=0):
    requests = [("DO", f"account/a-{n}", "Open", "owner", "o", "currency", "CZK") for n in range(first, accounts)]
    requests += [("DO", f"account/a-{n % accounts}", "Deposit", "amount", n % 97 + 1) for n in range(deposits)]
    replies = client.pipeline(requests)
    check(not any(isinstance(reply, RespError) for reply in replies), "every command of the filling is accepted")


def snapshots(directory):
    folder = os.path.join(directory, "snapshots")
    return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".snapshot"))


def info(client, name, section="snapshot"):
    for line in client.call("INFO", section).splitlines():
        if line.startswith(name + ":"):
            return line.split(":", 1)[1]
    raise AssertionError(f"INFO has no {name}")


@test("SNAPSHOT answers its position, and the next start replays only what came after it")
def command_and_start(t):
    server, c = t.pair()
    fill(c, 500, 3000)
    position = c.call("SNAPSHOT", timeout=120)
    equal(position, 3500, "the position of the snapshot")
    check(c.call("LASTSAVE") >= time.time() - 60, "LASTSAVE is the time of the snapshot")
    equal(c.call("SNAPSHOT", timeout=120), position, "a second one of the same position")
    fill(c, 500, 7, first=500)
    live = digest(c)
    server.restart(crash=True)
    with server.client() as again:
        equal(digest(again), live, "the digest after a start from the snapshot")
        equal(info(again, "restored_position"), "3500", "restored from")
        check("events_replayed=7 " in server.stderr(), f"only the tail is replayed: {server.stderr()}")
        wait_for(lambda: info(again, "settling_bytes_left") == "0", 10, "the image has settled")
        fill(again, 500, 100, first=500)
        live = digest(again)
    equal(offline_digest(server.directory, "--from-scratch"), live[1], "the digest from scratch")
    equal(offline_digest(server.directory), live[1], "the digest from the snapshot")


@test("a snapshot process is told the server's rate, window of keys and number kept")
def told_to_the_child(t):
    server, c = t.pair(args=("--snapshot-rate", "7", "--idempotency-window", "300", "--snapshot-keep", "5"))
    fill(c, 10, 10)
    with open(os.path.join(server.directory, "snapshot.lock"), "a+b") as held:  # the process waits for it, and is looked at
        fcntl.flock(held, fcntl.LOCK_EX)
        c.send("SNAPSHOT")
        children = f"/proc/{server.process.pid}/task/{server.process.pid}/children"

        def child_words():
            with open(children, "rb") as file:
                child = file.read().split()
            if not child:
                return None
            with open(f"/proc/{child[0].decode()}/cmdline", "rb") as file:
                words = file.read().decode().split("\0")
            return words if words[1:2] == ["snapshot"] else None  # until then it is the server between vfork and exec

        words = wait_for(child_words, 20, "the snapshot process")
    for option, value in (("--rate", "7"), ("--keys", "300"), ("--keep", "5")):
        equal(words[words.index(option) + 1] if option in words else None, value, option)
    equal(c.read(timeout=60), 20, "the snapshot")


@test("the window of idempotency keys is the server's option after every start, also from a snapshot of another window")
def window_kept(t):
    server, c = t.pair(args=("--idempotency-window", "100"))
    open_account(c, "a")

    def keyed(client, number):
        return client.call("DO", "account/a", "Deposit", "amount", 1, "@id", f"k-{number}")

    def restarted(window):
        server.args = ["--idempotency-window", str(window)]
        server.restart(crash=True)
        client = t.client(server)
        check(info(client, "restored_position") != "0", f"a start from the snapshot: {server.stderr()}")
        equal(info(client, "idempotency_window", "everything"), str(window), "the window in INFO")
        return client

    answers = [keyed(c, number) for number in range(250)]
    c.call("SNAPSHOT", timeout=60)
    c = restarted(100)
    equal(int(info(c, "idempotency_keys", "everything")), 100, "keys after a start from the snapshot")
    equal([keyed(c, number) for number in range(150, 250)], answers[150:], "the answers within the window")
    answers.append(keyed(c, 250))
    check(keyed(c, 150) > answers[250], "the oldest has gone when one came")
    c.call("SNAPSHOT", timeout=60)
    c = restarted(40)  # smaller: the newest stay
    equal(int(info(c, "idempotency_keys", "everything")), 40, "keys in a smaller window")
    equal([keyed(c, number) for number in range(212, 251)], answers[212:], "the newest answers")
    check(keyed(c, 211) > answers[250], "what was before them is new")
    c.call("SNAPSHOT", timeout=60)
    c = restarted(60)  # larger: those of the snapshot stay, the oldest goes when it is full again
    equal([keyed(c, number) for number in range(213, 251)], answers[213:], "all that the snapshot had")
    answers += [keyed(c, number) for number in range(251, 272)]
    equal(int(info(c, "idempotency_keys", "everything")), 60, "keys when it is full")
    equal([keyed(c, number) for number in range(214, 272)], answers[214:], "the answers in the larger window")
    check(keyed(c, 213) > answers[271], "the oldest of the larger window has gone")
    live = digest(c)
    server.stop()
    equal(offline_digest(server.directory, "--from-scratch"), live[1], "the digest from scratch")


@test("--snapshot-every makes them by itself, keeps the newest two, and every digest agrees")
def automatic(t):
    server, c = t.pair(args=("--snapshot-every", "2000"))
    for _ in range(12):
        fill(c, 300, 1500, first=300 if _ else 0)
        time.sleep(0.15)
    wait_for(lambda: int(info(c, "snapshots_taken")) >= 2 and info(c, "snapshot_state") == "idle", 20, "snapshots")
    equal(len(snapshots(server.directory)), 2, "snapshots kept")
    equal(info(c, "snapshots_discarded"), "0", "snapshots discarded")
    equal(info(c, "snapshots_failed"), "0", "snapshots failed")


@test("each block of a snapshot damaged in turn is never accepted, and the state comes out the same")
def damaged_blocks(t):
    server, c = t.pair()
    fill(c, 400, 2000)
    c.call("SNAPSHOT", timeout=120)
    live = digest(c)
    server.stop()
    path = snapshots(server.directory)[0]
    with open(path, "rb") as handle:
        good = handle.read()
    source = random.Random(1)
    places = [source.randrange(HEADER)] + list(range(HEADER, len(good), BLOCK)) + [len(good) - 1]
    for place in places:
        offset = min(place + (source.randrange(BLOCK) if place >= HEADER else 0), len(good) - 1)
        with open(path, "r+b") as handle:
            handle.seek(offset)
            handle.write(bytes([good[offset] ^ 0x10]))
        status, out, err = memimage("digest", "--dir", server.directory)
        equal(status, 0, f"exit status with a byte damaged at {offset}: {err}")
        equal(out.split(), [str(live[0]), live[1]], f"position and digest with a byte damaged at {offset}")
        check("skipped" in err, f"the skipped snapshot is told at {offset}: {err}")
        with open(path, "r+b") as handle:
            handle.seek(offset)
            handle.write(good[offset:offset + 1])
    for size in (0, 100, HEADER, len(good) // 2, len(good) - 1):
        with open(path, "wb") as handle:
            handle.write(good[:size])
        status, out, err = memimage("digest", "--dir", server.directory)
        equal((status, out.split()), (0, [str(live[0]), live[1]]), f"a snapshot cut to {size} bytes")


@test("an older snapshot serves when the newest is damaged")
def older_one(t):
    server, c = t.pair()
    fill(c, 200, 500)
    c.call("SNAPSHOT", timeout=120)
    fill(c, 200, 500, first=200)
    c.call("SNAPSHOT", timeout=120)
    live = digest(c)
    server.stop()
    newest = snapshots(server.directory)[-1]
    with open(newest, "r+b") as handle:
        handle.seek(HEADER + 100)
        handle.write(b"\xff\xfe")
    server.start()
    with server.client() as again:
        equal(digest(again), live, "the digest")
        equal(info(again, "restored_position"), "700", "restored from the older one")
    check("skipped" in server.stderr(), "the skipped one is told")


@test("a snapshot that is ahead of the journal, or of another history, is skipped with a warning")
def foreign(t):
    server, c = t.pair()
    fill(c, 100, 300)
    server.stop()
    old = os.path.join(server.scratch, "old")
    shutil.copytree(server.directory, old)
    server.start()
    with server.client() as again:
        fill(again, 100, 300, first=100)
        again.call("SNAPSHOT", timeout=120)
    server.stop()
    shutil.copytree(os.path.join(server.directory, "snapshots"), os.path.join(old, "snapshots"))
    status, out, err = memimage("digest", "--dir", old)
    equal((status, out.split()[0]), (0, "400"), f"the older copy keeps its own state: {err}")
    check("skipped" in err, f"a warning says so: {err}")
    other, oc = t.pair()
    fill(oc, 10, 900)
    live = digest(oc)
    other.stop()
    shutil.copytree(os.path.join(server.directory, "snapshots"), os.path.join(other.directory, "snapshots"))
    status, out, err = memimage("digest", "--dir", other.directory)
    equal((status, out.split()), (0, [str(live[0]), live[1]]), f"another history's snapshot is not used: {err}")
    check("another history" in err, f"the warning names the reason: {err}")


@test("background verification of a damaged snapshot stops the server with status 3 and says what to do")
def background(t):
    server, c = t.pair(args=("--verify", "background"))
    fill(c, 400, 1000)
    c.call("SNAPSHOT", timeout=120)
    live = digest(c)
    server.stop()
    path = snapshots(server.directory)[0]
    with open(path, "r+b") as handle: # the table of checksums: the image itself stays good, the check must fail
        handle.seek(os.path.getsize(path) - 4)
        handle.write(b"\x55\x55")
    server.launch()
    equal(server.process.wait(20), 3, "exit status")
    check("--verify eager" in server.stderr(), f"the way on is told: {server.stderr()}")
    server.args = ["--verify", "eager"]
    server.start()
    with server.client() as again:
        equal(digest(again), live, "the digest from the journal")


@test("kill -9 of snapshot processes and of the server at random moments leaves directories that start right")
def killed(t):
    rounds = int(os.environ.get("ROUNDS", "6"))
    accounts = 2000 if rounds < 50 else 100000 # a proof's snapshots last long enough to be hit anywhere
    server, c = t.pair()
    fill(c, accounts, 4000)
    c.close()
    source = random.Random(7)
    begun = time.monotonic()
    equal(memimage("snapshot", "--dir", server.directory)[0], 0, "a whole one")
    window = (time.monotonic() - begun) * 1.1
    cut_short = 0
    for number in range(rounds):
        with server.client() as client:
            fill(client, accounts, 200, first=accounts)
            live = digest(client)
        if number % 2 == 0:
            child = subprocess.Popen([BINARY, "snapshot", "--dir", server.directory], stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
            time.sleep(source.random() * window)
            child.kill()
            cut_short += child.wait() != 0
            server.restart(crash=True)
        else:
            with server.client() as client:
                client.send("SNAPSHOT")
                time.sleep(source.random() * window)
                server.kill()
            temporary = os.path.join(server.directory, "snapshots", "new.tmp")
            cut_short += os.path.exists(temporary)
            server.start()
        with server.client() as client:
            equal(digest(client), live, f"the digest after kill {number}")
        equal(offline_digest(server.directory, "--from-scratch"), live[1], f"from scratch after kill {number}")
    print(f"# {rounds} kills, {cut_short} of them seen to cut a snapshot short")
    server.stop()
    equal(memimage("snapshot", "--dir", server.directory)[0], 0, "a snapshot after all that")
    check(not os.path.exists(os.path.join(server.directory, "snapshots", "new.tmp")), "no temporary file is left")
    equal(offline_digest(server.directory), live[1], "the digest from it")


@test("a snapshot process ends with its server, and the next server's snapshot is not in its way")
def ends_with_server(t):
    server, c = t.pair()
    fill(c, 20000, 20000)
    for number in range(3):
        c.send("SNAPSHOT")
        wait_for(lambda: os.path.exists(os.path.join(server.directory, "snapshot.lock")), 20, "the snapshot process")
        server.restart(crash=True)
        c = t.client(server)
        equal(c.call("SNAPSHOT", timeout=120), 40000 + 100 * number, "a snapshot right after a kill in one")
        fill(c, 20000, 100, first=20000)


@test("a lock that a killed server's child still holds for a moment delays the next start, and does not refuse it")
def lock_left_behind(t):
    server, c = t.pair()
    fill(c, 10, 10)
    live = digest(c)
    server.kill()
    with open(os.path.join(server.directory, "lock"), "r+b") as held: # as a child does between fork and exec
        fcntl.flock(held, fcntl.LOCK_EX)
        server.launch()
        time.sleep(0.3)
        check(server.process.running(), f"the start waits: {server.stderr()}")
    wait_for(lambda: " ready " in server.stderr(), 30, "the server to start")
    with server.client() as again:
        equal(digest(again), live, "the digest")


@test("memimage snapshot works offline and beside a live server, one at a time")
def by_hand(t):
    server, c = t.pair()
    fill(c, 100, 400)
    status, out, err = memimage("snapshot", "--dir", server.directory, "--json")
    equal(status, 0, f"beside a live server: {err}")
    check('"position":500' in out, f"the position, once a frame on disk says that it is durable: {out}")
    server.stop()
    status, out, err = memimage("snapshot", "--dir", server.directory)
    equal(status, 0, f"offline: {err}")
    status, _, err = memimage("snapshot", "--dir", os.path.join(server.scratch, "nowhere"))
    check(status != 0 and err, "a directory that is not there fails")


@test("memimage snapshot beside a live server takes nothing that is written and not synced; offline it takes all")
def only_the_durable(t):
    server, c = t.pair(args=("--durability", "none"))
    fill(c, 100, 400)
    live = digest(c)
    status, out, err = memimage("snapshot", "--dir", server.directory, "--json")
    equal(status, 0, f"beside a server that syncs nothing: {err}")
    check('"position":0,' in out, f"no event of it is durable: {out}")
    server.kill()
    status, out, err = memimage("snapshot", "--dir", server.directory, "--json")
    equal(status, 0, f"offline: {err}")
    check('"position":500,' in out and live[1] in out, f"the whole journal: {out}")


@test("restore copies the history up to a position, and the copy is a server of its own")
def point_in_time(t):
    server, c = t.pair()
    fill(c, 50, 500)
    middle = digest(c)
    wanted = balance(c, "a-7")
    fill(c, 50, 500, first=50)
    end = digest(c)
    copy = os.path.join(server.scratch, "copy")
    status, _, err = memimage("restore", "--dir", server.directory, "--to", copy, "--at", str(middle[0]))
    equal(status, 0, f"restore beside the live server: {err}")
    equal(offline_digest(copy, "--from-scratch"), middle[1], "the digest of the copy")
    status, _, err = memimage("restore", "--dir", server.directory, "--to", copy)
    check(status != 0 and "already holds a journal" in err, f"a copy never mixes with what is there: {err}")
    branch = t.server(directory=copy)
    with branch.client() as other:
        equal(digest(other), middle, "position and digest of the branch")
        equal(balance(other, "a-7"), wanted, "a balance of then")
        equal(open_account(other, "what-if")[1], middle[0] + 1, "the branch goes on from there")
    equal(digest(c), end, "the source is as it was")
    whole = os.path.join(server.scratch, "whole")
    equal(memimage("restore", "--dir", server.directory, "--to", whole)[0], 0, "a whole copy")
    equal(offline_digest(whole), end[1], "the digest of the whole copy")


@test("a full disk during a snapshot leaves the older one and the commands alone")
def no_room(t):
    server, c = t.pair()
    fill(c, 100, 200)
    c.call("SNAPSHOT", timeout=120)
    before = snapshots(server.directory)
    fill(c, 100, 200, first=100)
    limited = subprocess.run(["bash", "-c", f"ulimit -f 64; exec {BINARY} snapshot --dir {server.directory}"],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    check(limited.returncode != 0 and limited.stderr, f"the snapshot fails with a message: {limited}")
    equal(snapshots(server.directory), before, "the snapshots")
    check(not os.path.exists(os.path.join(server.directory, "snapshots", "new.tmp")), "no temporary file is left")
    fill(c, 100, 200, first=100)
    live = digest(c)
    equal(server.stop(signal.SIGTERM), 0, "exit status")
    equal(offline_digest(server.directory), live[1], "the digest")


def copy_files(server, target):
    """The README's recipe for plain files: the mark, snapshots, segments by name."""
    os.makedirs(os.path.join(target, "journal"))
    shutil.copy(os.path.join(server.directory, "journal", "mark"), os.path.join(target, "journal"))
    if os.path.isdir(os.path.join(server.directory, "snapshots")):
        shutil.copytree(os.path.join(server.directory, "snapshots"), os.path.join(target, "snapshots"),
                        ignore=shutil.ignore_patterns("*.tmp"))
    for path in sorted(name for name in server.journal_files() if name.endswith(".journal")):
        shutil.copy(path, os.path.join(target, "journal"))


@test("a copy of a live server's files is a whole one of some moment, or refused; of an idle one always whole")
def plain_copies(t):
    server, c = t.pair()
    fill(c, 1000, 1000)
    c.call("SNAPSHOT", timeout=120)
    stop = threading.Event()

    def write():
        with server.client() as other:
            while not stop.is_set():
                fill(other, 1000, 2000, first=1000)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(6):
            copy = os.path.join(server.scratch, f"copy-{number}")
            copy_files(server, copy)
            status, out, err = memimage("digest", "--dir", copy)
            check(status == 0 or (status == 3 and err), f"good or refused: {status} {err}")
            if status == 0:
                equal(offline_digest(copy, "--from-scratch"), out.split()[1], "the copy from scratch")
    finally:
        stop.set()
        writer.join()
    live = digest(c)
    time.sleep(0.05)
    copy = os.path.join(server.scratch, "idle")
    copy_files(server, copy)
    equal(offline_digest(copy), live[1], "the digest of an idle server's copy")
    with t.server(directory=copy).client() as other:
        equal(digest(other), live, "the copy serves")


def mounted(t, *words):
    """A file system of its own, or a skipped test where that is not allowed."""
    place = t.scratch()
    done = subprocess.run(["mount", *words, place], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Skip(f"mounting is not possible here: {done.stderr.strip()}")
    t.stack.callback(subprocess.run, ["umount", "-l", place], check=False)
    return place


@test("a file system that fills up during the server's snapshot: the snapshot fails, commands and restarts do not")
def full_file_system(t):
    place = mounted(t, "-t", "tmpfs", "-o", "size=48m", "tmpfs")
    server = t.server(directory=os.path.join(place, "data"))
    c = t.client(server)
    fill(c, 20000, 0)
    position = c.call("SNAPSHOT", timeout=120)
    fill(c, 20000, 100, first=20000)
    ballast = os.path.join(place, "ballast")
    for number in range(3):
        wait_for(lambda c=c: info(c, "spare_segment", "journal") != "needed", 60, "the spare segment, which takes room too")
        with open(ballast, "ab") as handle:
            room = os.statvfs(place)
            handle.write(bytes(max(0, room.f_bavail * room.f_frsize - 700000)))
        reply = c.ask("SNAPSHOT")
        check(isinstance(reply, RespError) and "snapshot" in reply.text, f"it fails with a message: {reply}")
        fill(c, 20000, 50, first=20000)
        live = digest(c)
        check(not os.path.exists(os.path.join(server.directory, "snapshots", "new.tmp")), "no temporary file is left")
        server.restart(crash=True)
        c = t.client(server)
        equal(digest(c), live, f"the digest after kill {number}")
        equal(info(c, "restored_position"), str(position), "restored from the older one")
    os.remove(ballast)
    equal(c.call("SNAPSHOT", timeout=120), live[0], "with room again")
    equal(offline_digest(server.directory, "--from-scratch"), live[1], "the digest from scratch")


@test("where files can share blocks, the next snapshot writes only what has changed")
def shared_blocks(t):
    if shutil.which("mkfs.xfs") is None:
        raise Skip("mkfs.xfs is not installed")
    image = os.path.join(t.scratch(), "image")
    with open(image, "wb") as handle:
        handle.truncate(400 << 20)
    subprocess.run(["mkfs.xfs", "-q", image], check=True)
    place = mounted(t, "-o", "loop", image)
    server = t.server(directory=os.path.join(place, "data"))
    c = t.client(server)
    fill(c, 20000, 0)
    first = json.loads(memimage("snapshot", "--dir", server.directory, "--json")[1])
    fill(c, 20000, 10, first=20000)
    live = digest(c)
    server.stop()
    second = json.loads(memimage("snapshot", "--dir", server.directory, "--json")[1])
    check(second["written"] < first["written"] / 2, f"bytes written: {first['written']}, then {second['written']}")
    equal(second["digest"], live[1], "the digest")
    equal(offline_digest(server.directory), live[1], "the digest of a start from it")


if __name__ == "__main__":
    sys.exit(main())
