# SPDX-License-Identifier: MIT
# Every call that reaches the disk fails once, falls short, or is the last one the process makes: the Nth of them for N = 1,
# 2, 3 ... over a short script of keyed commands, by an interposed library (shim.c). Whatever happens, what was
# acknowledged is there after a restart, with the same answer, and nothing has happened twice. SWEEP=all tries every N,
# else some of them (from SEED). Then limits of the kernel: descriptors, memory, stops.
"""Black-box test of faults at every call."""

import os
import random
import select
import shutil
import signal
import socket
import sys
import time

from harness import Failure, Skip, check, equal, main, memimage, sanitized, test, wait_for
from keyed import SHARED, WORKERS, Record, Worker, check_record, resend_all
from ledger import digest, offline_digest, open_account, state
from resp import Client, Closed, RespError

SEED = int(os.environ.get("SEED", str(random.SystemRandom().randrange(2**32))))
ALL = os.environ.get("SWEEP") == "all"
SHIM = os.environ.get("FAULT_SHIM", "")
SCRIPT = [("DO", "account/a", "Open", "owner", "o", "currency", "CZK", "@id", "open-a"),
          ("DO", "account/b", "Open", "owner", "o", "currency", "CZK", "@id", "open-b"),
          *[("DO", "account/a", "Deposit", "amount", 10 + n, "@id", f"deposit-{n}") for n in range(4)],
          ("DO", "account/a", "Transfer", "to", "b", "amount", 5, "@id", "transfer")]
BALANCES = {"a": 10 + 11 + 12 + 13 - 5, "b": 5}
EVENTS = len(SCRIPT) + 1


def shim():
    if not os.path.exists(SHIM):
        raise Skip("the interposed library (FAULT_SHIM) is not built")
    if sanitized():
        raise Skip("a sanitizer wants to be loaded first")
    return SHIM


def play(server):
    """The script until the connection ends: the answers that came."""
    answers = {}
    try:
        with Client(server.port, timeout=20) as client:
            for words in SCRIPT:
                reply = client.call(*words)
                if not isinstance(reply, RespError):
                    answers[words[-1]] = reply
    except (Closed, OSError):
        pass
    except RespError as refusal:
        check(refusal.code in ("READONLY", "OVERLOADED"), f"an answer to a sound command: {refusal.text}")
    return answers


def play_again(server, answers):
    """Everything sent again after the fault: known answers come again, each key has had one effect."""
    server.start()
    with server.client() as client:
        replies = client.pipeline(SCRIPT)
        for words, reply in zip(SCRIPT, replies):
            check(not isinstance(reply, RespError), f"{words[-1]} again: {reply!r}")
            equal(reply, answers.get(words[-1], reply), f"the answer to {words[-1]} again")
        for name, wanted in BALANCES.items():
            equal(state(client, name)["balance"], wanted, f"balance of {name}")
        live = digest(client)
        equal(live[0], EVENTS, "the position: one for each event")
    equal(server.stop(), 0, "exit status")
    equal(offline_digest(server.directory, "--from-scratch"), live[1], "the digest from scratch")


def strike(t, plan, statuses, seeded=None):
    """One life under a fault, one after it. Returns whether the fault was met."""
    server = t.new_server(env={"LD_PRELOAD": shim(), "FAULT": plan})
    server.env["FAULT_REPORT"] = os.path.join(server.scratch, "struck")
    if seeded:
        shutil.copytree(seeded, server.directory)
    server.launch()
    wait_for(lambda: server._ready() or not server.process.running(), 30, "a start or an end")
    answers = play(server) if server.process.running() else {}
    server.process.signal(signal.SIGTERM)
    status = server.process.wait(20)
    struck = os.path.exists(server.env["FAULT_REPORT"])
    wanted = statuses if struck else (0,)
    check(status in wanted, f"{plan}: exit status {status}, one of {wanted} expected: {server.stderr()[-1500:]}")
    if status == 4:
        check(server.stderr().strip(), f"{plan}: the end is explained")
    if not struck:
        equal(len(answers), len(SCRIPT), f"{plan}: every command is answered")
    server.env = None
    play_again(server, answers)
    shutil.rmtree(server.directory, ignore_errors=True)
    t.servers.remove(server)
    return struck


def sweep(t, call, kind, statuses, some=4, seeded=None):
    """N = 1, 2, 3 ... until the fault is not met any more; some of them unless SWEEP=all."""
    source = random.Random(f"{SEED} {call} {kind}")
    done = 0
    nth = 1
    while strike(t, f"{call}:{kind}:{nth}", statuses, seeded):
        done += 1
        nth += 1 if ALL else source.randint(1, max(1, 2 * nth // some))
    check(done > 0, f"{call}:{kind} was never met")
    print(f"# {call}:{kind}: {done} places, up to call {nth - 1}")


@test("a failing sync, whichever it is, ends the server with status 4 and loses nothing acknowledged")
def syncs(t):
    print(f"# SEED={SEED}")
    sweep(t, "sync", "eio", (4,))


@test("a failing write ends the server with status 4 or is survived, and loses nothing acknowledged")
def writes(t):
    sweep(t, "write", "eio", (4,))
    sweep(t, "write", "enospc", (0, 4))


@test("a failing rename, open or allocation is reported or survived, and loses nothing acknowledged")
def others(t):
    sweep(t, "rename", "eio", (0, 4))
    sweep(t, "open", "eio", (0, 1, 4))
    sweep(t, "room", "enospc", (0, 4))


@test("kill -9 before and after any call that reaches the disk loses nothing acknowledged")
def kills(t):
    sweep(t, "any", "kill", (-signal.SIGKILL,))
    sweep(t, "any", "after", (-signal.SIGKILL,))


@test("kill -9 at any such call of a start after a kill, too")
def kills_of_recovery(t):
    server = t.new_server()
    server.start()
    play(server)
    server.kill()
    sweep(t, "any", "kill", (-signal.SIGKILL,), seeded=server.directory)
    sweep(t, "sync", "eio", (4,), seeded=server.directory)
    sweep(t, "write", "eio", (4,), seeded=server.directory)


@test("a read that fails at a start refuses it or costs nothing, and the next start has everything")
def reads(t):
    server = t.new_server()
    server.start()
    play(server)
    server.kill()
    # 0: the mark that says what need not be made durable again; without it all is.
    sweep(t, "read", "eio", (0, 1, 4), seeded=server.directory)


@test("transfers of a byte at a time and interrupted calls are completed")
def short(t):
    server = t.new_server()
    server.start()
    play(server)
    server.kill()
    for plan in ("write:short:1+", "read:short:1+", "write:eintr:1", "write:eintr:2", "read:eintr:2", "read:eintr:5"):
        check(strike(t, plan, (0,), server.directory), f"{plan} was never met")
    for nth in range(1, 12):
        check(strike(t, f"write:eintr:{nth}", (0,)), f"write:eintr:{nth} was never met")
    check(strike(t, "write:short:1+", (0,)), "write:short was never met")


@test("memory that runs out at any allocation never costs anything acknowledged")
def allocations(t):
    source = random.Random(f"{SEED} memory")
    for _ in range(60 if ALL else 8):
        nth = source.randint(1, 1200)
        strike(t, f"memory:null:{nth}+", (0, 1, 4, -signal.SIGABRT))
        strike(t, f"memory:null:{nth}", (0, 1, 4, -signal.SIGABRT))


@test("a snapshot that fails or dies at any call leaves the directory as good as it was")
def snapshots(t):
    server = t.new_server()
    server.start()
    play(server)
    equal(server.stop(), 0, "exit status")
    wanted = offline_digest(server.directory, "--from-scratch")
    report = os.path.join(server.scratch, "struck")
    source = random.Random(f"{SEED} snapshots")
    for call, kind in (("any", "kill"), ("any", "after"), ("sync", "eio"), ("write", "enospc"), ("rename", "eio")):
        nth = 1
        while True:
            if os.path.exists(report):
                os.remove(report)
            environment = {"LD_PRELOAD": shim(), "FAULT": f"{call}:{kind}:{nth}", "FAULT_REPORT": report}
            status, _, err = memimage("snapshot", "--dir", server.directory, env=environment)
            struck = os.path.exists(report)
            check(struck or status == 0, f"{call}:{kind}:{nth}: status {status}: {err}")
            check(status == 0 or kind in ("kill", "after") or err, f"{call}:{kind}:{nth}: the failure is explained")
            equal(offline_digest(server.directory), wanted, f"{call}:{kind}:{nth}: the digest with what snapshots there are")
            equal(offline_digest(server.directory, "--from-scratch"), wanted, "the digest from scratch")
            shutil.rmtree(os.path.join(server.directory, "snapshots"), ignore_errors=True)
            if not struck:
                break
            nth += 1 if ALL else source.randint(1, 4)


@test("while a sync hangs, nothing that is not durable is shown to anybody; the rest is answered at once")
def nothing_early(t):
    server = t.new_server(env={"LD_PRELOAD": shim(), "FAULT": "sync:hang:1+"})
    release = os.path.join(server.scratch, "release")
    server.env["FAULT_RELEASE"] = release
    with open(release, "wb"):
        server.start()
    clients = [t.client(server) for _ in range(11)]
    writer, old = clients[0], clients[1]
    open_account(writer, "a")
    open_account(writer, "other")
    first = writer.call("DO", "account/a", "Deposit", "amount", 7, "@id", "first")
    wait_for(lambda: "spare_segment:ready" in old.call("INFO", "journal"), 20, "the spare segment is prepared")
    time.sleep(0.1)  # the idle server's seal frame goes through
    os.remove(release)
    writer.send("DO", "account/a", "Deposit", "amount", 1, "@id", "second")
    wait_for(lambda: "commands_done:4" in old.call("INFO"), 20, "the command is decided")
    asked = [("GET", "account/a"), ("QUERY", "account", "Totals"), ("DIGEST",), ("STATE", "account/a"),
             ("DO", "account/a", "Deposit", "amount", 1, "@id", "second"), ("DO", "account/a", "Close"),
             ("DO", "account/a", "Deposit", "amount", 1, "@if", 1), ("QUERY", "account", "Top", "CZK", "0")]
    for client, words in zip(clients[3:], asked):
        client.send(*words)
    follower = clients[2]
    follower.send("FOLLOW", "FROM", 1)
    time.sleep(0.3)
    equal(state(old, "other")["balance"], 0, "an account that nothing happened to is answered at once")
    for client, words in [(writer, ("the command itself",)), *zip(clients[3:], asked)]:
        readable, _, _ = select.select([client.socket], [], [], 0)
        check(not readable, f"{words} was answered before the disk had it")
    pushed = follower.socket.recv(1 << 16, socket.MSG_PEEK)
    check(b"position\":3" in pushed or b"position" not in pushed, "a follower gets what is durable")
    check(pushed.count(b"account.Deposited") <= 1, "a follower gets nothing that is not durable")
    with open(release, "wb"):
        second = writer.read()
    equal(second, [first[0] + 1, first[1] + 1], "the answer when the disk has it")
    replies = [client.read() for client in clients[3:3 + len(asked)]]
    check(b'"balance":8' in replies[0].encode(), f"GET shows it now: {replies[0]}")
    equal(replies[2][0], second[1], "DIGEST's position")
    equal(replies[4], second, "the repeated command's answer")
    equal([reply.code for reply in replies[5:]], ["REJECTED", "CONFLICT", "BADARG"], "refusals that may rest on it")


@test("few descriptors from the start: the server starts and commits, or refuses with a sentence")
def descriptors(t):
    outcomes = []
    for limit in (8, 12, 16, 24, 32, 48):
        server = t.new_server()
        plain = server.words
        server.words = lambda p=plain, n=limit: ["bash", "-c", f"ulimit -n {n}; exec \"$0\" \"$@\"", *p()]
        server.launch()
        wait_for(lambda s=server: s._ready() or not s.process.running(), 30, "a start or an end")
        answers = {}
        if server.process.running():
            extra = []
            for _ in range(limit):
                try:
                    extra.append(server.client(timeout=2))
                except (OSError, Closed):
                    break
            for client in extra:
                client.close()
            wait_for(lambda s=server: s._ready() or not s.process.running(), 30, "room for a client again")
            answers = play(server)
            equal(len(answers), len(SCRIPT), f"every command is answered with {limit} descriptors")
            equal(server.stop(), 0, f"exit status with {limit} descriptors")
        else:
            check(server.process.wait() in (1, 4), f"exit status with {limit}: {server.process.popen.returncode}")
            check(server.stderr().strip(), f"a sentence with {limit}")
        outcomes.append(bool(answers))
        server.words = plain
        play_again(server, answers)
    check(outcomes[-1], "48 descriptors are enough")


def load(server, records, source, seconds):
    """Keyed load for a while, or until the server ends."""
    workers = [Worker(server.port, record, source.randrange(2**32)) for record in records]
    for worker in workers:
        worker.start()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.process.running():
        time.sleep(0.01)
    return workers


def world(t, **options):
    server = t.server(args=("--idempotency-window", "10000000"), **options)
    records = [Record(number) for number in range(WORKERS)]
    with server.client() as client:
        for name in SHARED + [record.account for record in records]:
            open_account(client, name, overdraft=10**12)
    return server, records


@test("a stopped and continued process goes on as if nothing had been")
def stops(t):
    source = random.Random(SEED)
    server, records = world(t)
    workers = load(server, records, source, 0.1)
    for _ in range(5):
        server.process.signal(signal.SIGSTOP)
        time.sleep(source.uniform(0.01, 0.1))
        server.process.signal(signal.SIGCONT)
        time.sleep(source.uniform(0.01, 0.05))
    server.process.signal(signal.SIGSTOP)
    server.process.signal(signal.SIGKILL)
    server.process.wait()
    for worker in workers:
        worker.join(30)
        check(worker.problem is None, f"a worker failed: {worker.problem!r}")
    server.start()
    with server.client() as client:
        resend_all(client, records, only_unknown=False)
        check_record(client, records)


def memory_group(t, size):
    """The tasks file of a cgroup with this much memory."""
    for root, limit, tasks in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "cgroup.procs"),
                               ("/sys/fs/cgroup", "memory.max", "cgroup.procs")):
        group = os.path.join(root, f"memimage-test-{os.getpid()}")
        try:
            os.mkdir(group)
            t.stack.callback(os.rmdir, group)
            with open(os.path.join(group, limit), "w", encoding="ascii") as handle:
                handle.write(str(size))
            return os.path.join(group, tasks)
        except OSError:
            continue
    raise Skip("no memory cgroup can be made here")


@test("a process killed for its memory has lost nothing acknowledged")
def killed_for_memory(t):
    if sanitized():
        raise Skip("sanitizers need their memory")
    tasks = memory_group(t, 48 << 20)
    source = random.Random(SEED)
    server, records = world(t)
    workers = load(server, records, source, 0.2)
    with open(tasks, "w", encoding="ascii") as handle:
        handle.write(str(server.process.pid))
    try:
        with server.client(timeout=5) as client:
            for number in range(400):
                client.pipeline([("DO", f"account/fill-{number}-{n}", "Open", "owner", "o" * 4000, "currency", "CZK")
                                 for n in range(250)])
    except (Closed, OSError, Failure):
        pass
    killed = not server.process.running()
    server.kill()
    for worker in workers:
        worker.join(30)
        check(worker.problem is None, f"a worker failed: {worker.problem!r}")
    print(f"# {'killed by the kernel' if killed else 'not killed'}")
    server.start()
    with server.client() as client:
        resend_all(client, records, only_unknown=False)
        live = digest(client)
    equal(server.stop(), 0, "exit status")
    equal(offline_digest(server.directory, "--from-scratch"), live[1], "the digest from scratch")


if __name__ == "__main__":
    sys.exit(main())
