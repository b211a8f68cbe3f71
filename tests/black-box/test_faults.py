# SPDX-License-Identifier: MIT
# Faults of the real kernel on the real binary: failing and short syscalls (strace), a full disk (a small tmpfs), too little
# memory, too few descriptors, signals. What cannot be caused on this machine is skipped, with the reason.
"""Black-box test of storage and resource faults."""

import os
import shutil
import signal
import subprocess
import sys
import time

from harness import BINARY, Skip, check, equal, main, memimage, sanitized, test, wait_for
from ledger import balance, digest, offline_digest, open_account
from resp import Closed, RespError


def traced(server, injection):
    """Makes the server start under strace with a fault injected into its syscalls."""
    if shutil.which("strace") is None:
        raise Skip("strace is not installed")
    if sanitized():
        raise Skip("leak checking does not work under ptrace")
    plain = server.words
    server.words = lambda: ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={injection}", *plain()]
    return plain


def until_closed(client, words, limit=3000):
    """Sends one command after the other until the connection ends; returns the replies."""
    replies = []
    try:
        for _ in range(limit):
            replies.append(client.call(*words))
    except (Closed, OSError):
        return replies
    raise AssertionError(f"the server still answers after {limit} commands")


@test("a failing fdatasync ends the server with status 4, without a reply, and nothing acknowledged is lost")
def failing_sync(t):
    for nth in (6, 9, 14):
        server = t.new_server()
        plain = traced(server, f"fdatasync:error=EIO:when={nth}+")
        server.launch()
        try:
            wait_for(lambda s=server: s._ready() or not s.process.running(), 20, "a start or an end")
            replies = []
            if server.process.running():
                with server.client() as client:
                    client.call("DO", "account/a", "Open", "owner", "o", "currency", "CZK")
                    replies = until_closed(client, ("DO", "account/a", "Deposit", "amount", 1))
        except (Closed, OSError):
            replies = []
        begun = time.monotonic()
        equal(server.process.wait(10), 4, f"exit status with sync {nth} failing: {server.stderr()}")
        check(time.monotonic() - begun < 5, "the end comes at once")
        check("fdatasync" in server.stderr() or "sync" in server.stderr(), f"the message names it: {server.stderr()}")
        server.words = plain
        server.start()
        with server.client() as client:
            done = [reply for reply in replies if not isinstance(reply, RespError)]
            if done:
                check(balance(client, "a") >= len(done), "every acknowledged deposit is there")


@test("writes that transfer less than asked, and interrupted ones, are completed")
def short_writes(t):
    server = t.new_server()
    traced(server, "pwrite64:error=EINTR:when=5+7")
    server.start()
    with server.client() as client:
        open_account(client, "a")
        for _ in range(40):
            client.call("DO", "account/a", "Deposit", "amount", 1)
        live = digest(client)
        client.send("SHUTDOWN")
        equal(server.process.wait(), 0, "exit status")
    equal(offline_digest(server.directory, "--from-scratch"), live[1], "the digest from scratch")


@test("a read error at start refuses the start and changes nothing")
def failing_read(t):
    server, c = t.pair()
    open_account(c, "a")
    for _ in range(200):
        c.call("DO", "account/a", "Deposit", "amount", 1)
    server.stop()
    plain = traced(server, "pread64:error=EIO:when=4+")
    server.launch()
    status = server.process.wait(20)
    check(status not in (0, -signal.SIGKILL), f"the start is refused, exit status {status}: {server.stderr()}")
    server.words = plain
    server.start()
    with server.client() as client:
        equal(balance(client, "a"), 200, "the state after the disk is well again")


def small_disk(t, size):
    """A tmpfs of its own."""
    path = t.scratch()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True, check=False)
    if done.returncode != 0:
        raise Skip("no right to mount a tmpfs")
    t.stack.callback(subprocess.run, ["umount", "-l", path], capture_output=True, check=False)
    return path


@test("a full disk: commands get READONLY, queries go on, commands resume by themselves, nothing is lost")
def full_disk(t):
    disk = small_disk(t, "24m")
    server = t.new_server(directory=os.path.join(disk, "data"))
    server.start()
    with server.client() as client:
        open_account(client, "a")
        wait_for(lambda: "spare_segment:ready" in client.call("INFO", "journal"), 20, "the spare segment is prepared")
        with open(os.path.join(disk, "filler"), "wb") as filler:
            room = os.statvfs(disk)
            filler.write(b"x" * max(0, room.f_bavail * room.f_frsize - (64 << 10)))
        refused = None
        done = 0
        for _ in range(400):
            replies = client.pipeline([("DO", "account/a", "Deposit", "amount", 1)] * 1000)
            refused = next((reply for reply in replies if isinstance(reply, RespError)), None)
            done += sum(1 for reply in replies if not isinstance(reply, RespError))
            if refused is not None:
                break
        check(refused is not None and str(refused).startswith("READONLY"), f"the refusal: {refused}")
        equal(balance(client, "a"), done, "queries go on, and show what was acknowledged")
        os.remove(os.path.join(disk, "filler"))

        def accepted():
            try:
                client.call("DO", "account/a", "Deposit", "amount", 1)
                return True
            except RespError:
                return False

        wait_for(accepted, 20, "commands resume by themselves")
        equal(balance(client, "a"), done + 1, "the balance")
        live = digest(client)
    equal(server.stop(), 0, "exit status")
    equal(offline_digest(server.directory, "--from-scratch"), live[1], "the digest from scratch")


@test("too little address space at a restart refuses the start or serves the whole state, never a part of it")
def little_memory(t):
    if sanitized():
        raise Skip("sanitizers need their address space")
    server, c = t.pair()
    c.pipeline([("DO", f"account/{'x' * 200}{n}", "Open", "owner", "o" * 2000, "currency", "CZK") for n in range(20000)])
    live = digest(c)
    server.stop()
    outcomes = set()
    for kilobytes in (60000, 90000, 120000, 160000, 400000):
        done = subprocess.run(["bash", "-c", f"ulimit -v {kilobytes}; exec {BINARY} digest --dir {server.directory}"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        outcomes.add(done.returncode)
        if done.returncode == 0:
            equal(done.stdout.split()[-1], live[1], f"the digest with {kilobytes} KiB")
        else:
            check(done.stderr, f"a message with {kilobytes} KiB: {done}")
    check(len(outcomes) > 0, "something was tried")


@test("the memory limit answers OVERLOADED, keeps the state, and queries go on")
def memory_limit(t):
    server, c = t.pair(args=("--memory-limit", "24m"))
    refused = None
    for batch in range(200):
        replies = c.pipeline([("DO", f"account/a-{batch}-{n}", "Open", "owner", "o" * 500, "currency", "CZK")
                              for n in range(500)])
        refused = next((reply for reply in replies if isinstance(reply, RespError)), None)
        if refused is not None:
            break
    check(refused is not None and str(refused).startswith("OVERLOADED"), f"the refusal: {refused}")
    live = digest(c)
    equal(c.call("GET", "account/a-0-0") is not None, True, "queries go on")
    server.args = []
    server.restart(crash=True)
    with server.client() as client:
        equal(digest(client), live, "the digest after a restart")


@test("few descriptors: clients beyond are turned away, those that are in go on, and commits do not fail")
def few_descriptors(t):
    server = t.new_server()
    plain = server.words
    server.words = lambda: ["bash", "-c", "ulimit -n 80; exec \"$0\" \"$@\"", *plain()]
    server.start()
    with server.client() as first:
        open_account(first, "a")
        others = []
        for _ in range(120):
            try:
                others.append(server.client(timeout=2))
            except (OSError, Closed):
                break
        for _ in range(50):
            first.call("DO", "account/a", "Deposit", "amount", 1)
        equal(balance(first, "a"), 50, "the balance")
        for other in others:
            other.close()
    wait_for(lambda: server._ready(), 10, "new clients are let in again")
    equal(server.stop(), 0, "exit status")


@test("a second SIGTERM, and one right after a start, end cleanly or at once and lose nothing")
def signals(t):
    server, c = t.pair()
    open_account(c, "a")
    c.call("DO", "account/a", "Deposit", "amount", 7)
    server.process.signal(signal.SIGTERM)
    server.process.signal(signal.SIGTERM)
    equal(server.process.wait(), 0, "exit status after two signals")
    server.launch()
    server.process.signal(signal.SIGTERM)
    check(server.process.wait() in (0, -signal.SIGTERM), "exit status right after the start")
    server.start()
    with server.client() as client:
        equal(balance(client, "a"), 7, "the balance")


@test("a clock that jumps back never takes event times back")
def clock(t):
    if shutil.which("faketime") is None:
        raise Skip("faketime is not installed")
    server, c = t.pair()
    open_account(c, "a")
    server.stop()
    plain = server.words
    server.words = lambda: ["faketime", "-f", "-2d", *plain()]
    server.start()
    with server.client() as client:
        client.call("DO", "account/a", "Deposit", "amount", 1)
    server.words = plain
    server.stop()
    _, out, _ = memimage("journal", "dump", "--dir", server.directory)
    times = [line.split('"time":"')[1].split('"')[0] for line in out.splitlines()]
    equal(times, sorted(times), "event times")


if __name__ == "__main__":
    sys.exit(main())
