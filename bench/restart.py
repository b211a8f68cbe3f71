#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# Restart and snapshots, measured: time from exec to the first correct reply at growing sizes and in every way of
# starting, beside Redis and Tarantool with the same data in the same run; steady speed before a kill and after a
# restore; command latency without and during a snapshot. Standard library only; prints a table, and JSON with --json.
"""bench/restart.py [--scale ACCOUNTS] [--rounds N] [--json FILE]: see --help."""

import argparse
import gc
import json
import os
import random
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
POLL_SECONDS = 0.0003  # between questions to a process that starts
START_SECONDS = 900
REST_SECONDS = 2  # before a kill: what the start before has begun in the background (the next segment) is done
TAIL = 1000  # deposits behind the snapshot: a restart replays them
BATCH = 64


def words(*items):
    """A request in RESP."""
    out = [b"*%d\r\n" % len(items)]
    for item in items:
        item = item if isinstance(item, bytes) else str(item).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(item), item))
    return b"".join(out)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Line:
    """A connection; replies are taken apart only as far as this needs."""

    def __init__(self, port, timeout=300):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""

    def close(self):
        self.socket.close()

    def _line(self):
        while b"\r\n" not in self.data:
            self._more()
        line, self.data = self.data.split(b"\r\n", 1)
        return line

    def _more(self):
        more = self.socket.recv(1 << 20)
        if not more:
            raise ConnectionError("closed")
        self.data += more

    def read(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            while len(self.data) < size + 2:
                self._more()
            value, self.data = self.data[:size], self.data[size + 2:]
            return value
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        if kind == b":":
            return int(rest)
        if kind == b"-":
            raise RuntimeError(rest.decode())
        return rest

    def call(self, *items):
        self.socket.sendall(words(*items))
        return self.read()

    def info(self, section):
        text = self.call("INFO", section).decode()
        return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def stream(port, requests, lines_per_reply):
    """Sends all requests (an iterable of (bytes, count)) and reads all replies, which have so many lines each."""
    line = Line(port)
    line.socket.setblocking(False)
    poller = select.poll()
    poller.register(line.socket, select.POLLIN | select.POLLOUT)
    out, waiting, sending, first = memoryview(b""), 0, True, b""
    iterator = iter(requests)
    while sending or waiting > 0:
        poller.modify(line.socket, select.POLLIN | (select.POLLOUT if sending and waiting < 3_000_000 else 0))
        for _, event in poller.poll(10000):
            if event & select.POLLIN:
                data = line.socket.recv(1 << 20)
                if not data or (b"-" in data[:1] and not first):
                    raise RuntimeError(f"the load failed: {data[:200]!r}")
                first = data
                waiting -= data.count(b"\n")
            if event & select.POLLOUT and sending:
                if not out:
                    chunk, count = next(iterator, (None, 0))
                    sending = chunk is not None
                    out = memoryview(chunk or b"")
                    waiting += count * lines_per_reply
                if out:
                    out = out[line.socket.send(out):]
    line.close()


def chunks(first, last, encode):
    for start in range(first, last, 5000):
        end = min(start + 5000, last)
        yield b"".join([encode(n) for n in range(start, end)]), end - start


def open_account(n):
    name = b"account/bench-%d" % n
    return (b"*7\r\n$2\r\nDO\r\n$%d\r\n%s\r\n$4\r\nOpen\r\n$5\r\nowner\r\n$5\r\nbench\r\n"
            b"$8\r\ncurrency\r\n$3\r\nCZK\r\n" % (len(name), name))


def redis_account(n):
    name = b"account/bench-%d" % n
    return (b"*10\r\n$4\r\nHSET\r\n$%d\r\n%s\r\n$5\r\nowner\r\n$5\r\nbench\r\n$8\r\ncurrency\r\n$3\r\nCZK\r\n"
            b"$7\r\nbalance\r\n$1\r\n0\r\n$6\r\nstatus\r\n$4\r\nopen\r\n" % (len(name), name))


def deposit(n, amount=1):
    return words("DO", f"account/bench-{n}", "Deposit", "amount", amount)


class Process:
    """A server process; stderr goes to a file."""

    def __init__(self, command, log):
        self.begun = time.monotonic()
        with open(log, "ab") as handle:
            self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=handle, stderr=handle)
        self.log = log

    def kill(self):
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()

    def first_reply(self, port, request, wanted):
        """Seconds from exec to the first reply that is the wanted one."""
        while True:
            try:
                line = Line(port, 60)
                while True:
                    try:
                        reply = line.call(*request)
                    except RuntimeError as refused: # LOADING
                        if "LOADING" not in str(refused):
                            raise
                        time.sleep(POLL_SECONDS)
                        continue
                    took = time.monotonic() - self.begun
                    line.close()
                    if reply != wanted:
                        raise SystemExit(f"a wrong first reply: {reply!r}, not {wanted!r}")
                    return took
            except OSError:
                if self.popen.poll() is not None or time.monotonic() - self.begun > START_SECONDS:
                    with open(self.log, encoding="utf-8", errors="replace") as handle:
                        raise SystemExit(f"the server did not start:\n{handle.read()[-2000:]}") from None
                time.sleep(POLL_SECONDS)


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as handle:
        for line in handle:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0


def spread(values):
    values = sorted(values)
    return {"count": len(values), "p50_us": round(percentile(values, .5) * 1e6, 1),
            "p99_us": round(percentile(values, .99) * 1e6, 1), "p99.9_us": round(percentile(values, .999) * 1e6, 1),
            "max_us": round(values[-1] * 1e6, 1) if values else 0}


def cpu_seconds(pid):
    """Of all threads of a process: what it works out to whoever else is on the machine."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as handle:
        fields = handle.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def steady(server, accounts, seconds, connections=8):
    """Closed loop over random accounts: commands per second, by the clock and by the server's own processor time, and
    the latency of batches of 64."""
    port, pid = server.port, server.process.popen.pid
    cpu = cpu_seconds(pid)
    source = random.Random(5)
    pool = [b"".join(deposit(source.randrange(accounts)) for _ in range(BATCH)) for _ in range(1500)]
    lines = {}
    poller = select.poll()
    for _ in range(connections):
        line = Line(port)
        lines[line.socket.fileno()] = [line, 0, 0.0]
        poller.register(line.socket, select.POLLIN)
    gc.disable()
    for entry in lines.values():
        entry[0].socket.sendall(pool[source.randrange(len(pool))])
        entry[1], entry[2] = 3 * BATCH, time.monotonic()
    done, latencies, begun = 0, [], time.monotonic()
    while (now := time.monotonic()) - begun < seconds:
        for descriptor, _ in poller.poll(1000):
            entry = lines[descriptor]
            entry[1] -= entry[0].socket.recv(1 << 18).count(b"\n")
            if entry[1] == 0:
                now = time.monotonic()
                latencies.append(now - entry[2])
                done += BATCH
                entry[0].socket.sendall(pool[source.randrange(len(pool))])
                entry[1], entry[2] = 3 * BATCH, now
    took = time.monotonic() - begun
    gc.enable()
    for line, _, _ in lines.values():
        line.close()
    return {"commands_per_second": round(done / took), "batch": spread(latencies),
            "commands_per_cpu_second": round(done / max(0.01, cpu_seconds(pid) - cpu))}


def open_loop(server, options, requests):
    """Commands of 50 clients at a steady rate, whatever the server does; latency counts from when each was due."""
    done = subprocess.run([server.binary, "bench", "latency", "--port", str(server.port), "--requests", requests, "--rate",
                           str(options.rate), "--clients", "50", "--seconds", str(options.seconds), "--json"], check=True,
                          capture_output=True, text=True)
    return json.loads(done.stdout)


class Memimage:
    """The server under test and its directory."""

    def __init__(self, options):
        self.binary = options.binary
        self.scratch = options.scratch
        self.directory = os.path.join(options.scratch, "memimage")
        self.process = None
        self.port = 0

    def start(self, request=("PING",), wanted=b"PONG", verify="background"):
        self.port = free_port()
        self.process = Process([self.binary, "serve", "--dir", self.directory, "--port", str(self.port), "--verify",
                                verify], os.path.join(self.scratch, "memimage.log"))
        return self.process.first_reply(self.port, request, wanted)

    def line(self):
        return Line(self.port)

    def restarts(self, account, rounds, verify="background"):
        """Kills and starts; the median time to the account's right state, and all of them."""
        line = self.line()
        request = ("GET", account)
        wanted = line.call(*request)
        line.close()
        times = []
        for _ in range(rounds):
            time.sleep(REST_SECONDS)
            self.process.kill()
            times.append(self.start(request, wanted, verify))
        return {"median_ms": round(statistics.median(times) * 1e3, 2), "all_ms": [round(t * 1e3, 2) for t in times]}

    def snapshot(self):
        line = self.line()
        begun = time.monotonic()
        line.call("SNAPSHOT")
        took = time.monotonic() - begun
        line.close()
        return took


def tail(server, accounts):
    """Commands behind the snapshot, so that a restart has something to replay."""
    source = random.Random(accounts)
    numbers = [source.randrange(accounts) for _ in range(TAIL)]
    stream(server.port, [(b"".join(deposit(n, 7) for n in numbers), TAIL)], 3)
    return f"account/bench-{numbers[-1]}"


def image_bytes(directory):
    folder = os.path.join(directory, "snapshots")
    newest = sorted(name for name in os.listdir(folder) if name.endswith(".snapshot"))[-1]
    return os.stat(os.path.join(folder, newest)).st_blocks * 512


def measure_growth(server, options, result):
    """Builds the state step by step; at each step the first reply in the background mode."""
    sizes = [n for n in (10_000, 100_000, 1_000_000, 10_000_000) if n < options.scale] + [options.scale]
    loaded, growth = 0, []
    for size in sizes:
        begun = time.monotonic()
        stream(server.port, chunks(loaded, size, open_account), 3)
        took = time.monotonic() - begun
        seconds = server.snapshot()
        account = tail(server, size)
        step = server.restarts(account, options.rounds)
        step.update(accounts=size, image_mb=round(image_bytes(server.directory) / 1e6, 1),
                    load_per_second=round((size - loaded) / took), snapshot_s=round(seconds, 2))
        growth.append(step)
        loaded = size
        say(f"{size:>10} accounts, {step['image_mb']:>8} MB: first reply {step['median_ms']} ms {step['all_ms']}")
    result["growth"] = growth
    return account


def measure_restarts(server, account, options, result):
    starts = {"background": server.restarts(account, options.rounds, "background"),
              "eager": server.restarts(account, options.rounds, "eager")}
    folder = os.path.join(server.directory, "snapshots")
    os.rename(folder, folder + ".away")
    starts["no snapshot"] = server.restarts(account, 1)
    server.process.kill()
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(folder + ".away", folder)
    server.start()
    result["memimage"] = starts
    for name, value in starts.items():
        say(f"memimage {name:>12}: first reply {value['median_ms']} ms {value['all_ms']}")


def settled(server):
    """Waits until the image has settled; the longest step of it, in us."""
    line = server.line()
    while int(line.info("snapshot")["settling_bytes_left"]) > 0 or int(line.info("snapshot")["restored_verifying"]) > 0:
        time.sleep(0.05)
    longest = int(line.info("snapshot")["settling_longest_us"])
    line.close()
    return longest


def ratio(rounds, of):
    """The median after by the median before."""
    return round(statistics.median(of(entry["after"]) for entry in rounds) /
                 statistics.median(of(entry["before"]) for entry in rounds), 3)


def measure_steady(server, account, options, result):
    """The same load on a process that has never restarted since it was settled, and ten seconds after a restore."""
    rounds = []
    for _ in range(options.rounds):
        settled(server)
        before = steady(server, options.scale, options.seconds)
        server.restarts(account, 1, "background")
        time.sleep(10)
        after = steady(server, options.scale, options.seconds)
        longest = settled(server)
        rounds.append({"before": before, "after": after, "settling_longest_us": longest})
        say(f"steady: {before['commands_per_second']} then {after['commands_per_second']} commands/s "
            f"({before['commands_per_cpu_second']} then {after['commands_per_cpu_second']} per cpu second), batch "
            f"p99.9 {before['batch']['p99.9_us']} then {after['batch']['p99.9_us']} us; "
            f"longest settling step {longest} us")
    result["steady"] = {
        "rounds": rounds, "settling_longest_us": max(entry["settling_longest_us"] for entry in rounds),
        "rate_ratio": ratio(rounds, lambda found: found["commands_per_second"]),
        "cpu_rate_ratio": ratio(rounds, lambda found: found["commands_per_cpu_second"]),
        "p99.9_ratio": ratio(rounds, lambda found: found["batch"]["p99.9_us"])}


class Snapshots(threading.Thread):
    """One snapshot after the other for as long as it lasts: their times, and the server's memory meanwhile."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server = server
        self.over = threading.Event()
        self.seconds, self.memory = [], []

    def run(self):
        line = self.server.line()
        while not self.over.is_set():
            begun = time.monotonic()
            line.socket.sendall(words("SNAPSHOT"))
            while not select.select([line.socket], [], [], 0.2)[0]:
                self.memory.append(resident(self.server.process.popen.pid))
            line.read()
            self.seconds.append(round(time.monotonic() - begun, 2))
        line.close()


def measure_during(server, options, result):
    """An open loop without, once more without (what the ratio itself is worth), and during snapshots, taking turns."""
    settled(server)
    source = random.Random(6)
    requests = os.path.join(options.scratch, "deposits")
    with open(requests, "wb") as file:
        file.write(b"".join(deposit(source.randrange(options.scale)) for _ in range(20000)))
    found = {"without": [], "again": [], "during": []}
    spans, memory = [], [resident(server.process.popen.pid)]
    open_loop(server, options, requests)
    for _ in range(options.rounds):
        found["without"].append(open_loop(server, options, requests))
        found["again"].append(open_loop(server, options, requests))
        snapshots = Snapshots(server)
        snapshots.start()
        found["during"].append(open_loop(server, options, requests))
        snapshots.over.set()
        snapshots.join()
        spans += snapshots.seconds
        memory.append(max(snapshots.memory, default=memory[0]))
    during = {name: {key: round(statistics.median(one[key] for one in rounds), 1)
                     for key in ("p50_us", "p99_us", "p999_us", "max_us")} for name, rounds in found.items()}
    during |= {"rate": options.rate, "snapshot_s": spans, "rss_mb": [round(m / 1e6, 1) for m in memory],
               "p99.9_ratio": round(during["during"]["p999_us"] / during["without"]["p999_us"], 3),
               "p99.9_ratio_of_control": round(during["again"]["p999_us"] / during["without"]["p999_us"], 3)}
    result["during"] = during
    for name in found:
        say(f"open loop at {options.rate}/s, {name}: {during[name]}")
    say(f"snapshots of {spans} s, rss MB before and during {during['rss_mb']}")


# ------------------------------------------------------------------ the others


def measure_redis(options, result):
    if shutil.which("redis-server") is None or options.no_redis:
        return
    folder = os.path.join(options.scratch, "redis")
    os.mkdir(folder)
    log = os.path.join(options.scratch, "redis.log")

    def start(request, wanted, *more):
        port = free_port()
        process = Process(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "",
                           *more], log)
        return process, port, process.first_reply(port, request, wanted)

    process, port, _ = start(("PING",), b"PONG", "--appendonly", "no")
    stream(port, chunks(0, options.scale, redis_account), 1)
    line = Line(port, 900)
    line.call("SAVE")
    line.call("CONFIG", "SET", "aof-use-rdb-preamble", "no")
    line.call("CONFIG", "SET", "appendonly", "yes")
    time.sleep(0.5)
    while True:
        info = line.info("persistence")
        if info["aof_rewrite_in_progress"] == "0" and info["aof_rewrite_scheduled"] == "0":
            break
        time.sleep(0.2)
    memory = resident(process.popen.pid)
    process.kill()
    request, wanted = ("HGET", f"account/bench-{options.scale // 2}", "owner"), b"bench"
    found = {"rss_mb": round(memory / 1e6, 1)}
    for name, more in (("rdb", ("--appendonly", "no")),
                       ("aof", ("--appendonly", "yes", "--aof-use-rdb-preamble", "no"))):
        times = []
        for _ in range(options.other_rounds):
            process, port, took = start(request, wanted, *more)
            process.kill()
            times.append(took)
        found[name] = {"median_ms": round(statistics.median(times) * 1e3, 1),
                       "all_ms": [round(t * 1e3, 1) for t in times]}
        say(f"redis {name}: first reply {found[name]['median_ms']} ms {found[name]['all_ms']}")
    result["redis"] = found
    shutil.rmtree(folder)


TARANTOOL_BUILD = """
box.cfg{memtx_memory = %d, wal_mode = 'write', wal_max_size = 64*1024*1024*1024, checkpoint_interval = 0,
        work_dir = arg[1], log_level = 2}
local s = box.schema.space.create('account')
s:create_index('pk', {type = 'hash', parts = {1, 'string'}})
local n = tonumber(arg[2])
for first = 0, n - 1, 1000 do
    box.begin()
    for i = first, math.min(first + 999, n - 1) do
        s:insert{'bench-' .. i, 'bench', 'CZK', 0, 'open'}
    end
    box.commit()
end
os.execute('mkdir -p ' .. arg[1] .. '.wal && cp ' .. arg[1] .. '/*.xlog ' .. arg[1] .. '/*.snap ' .. arg[1] .. '.wal/')
box.snapshot()
os.exit(0)
"""
TARANTOOL_START = """
box.cfg{memtx_memory = %d, work_dir = arg[1], log_level = 2, wal_mode = 'write', checkpoint_interval = 0}
local t = box.space.account:get('bench-' .. arg[2])
io.stdout:write(t[2], '\\n')
io.stdout:flush()
os.exit(0)
"""


def measure_tarantool(options, result):
    """Its first reply is its own first read, told on a pipe: no client, which is in its favour."""
    if shutil.which("tarantool") is None or options.no_tarantool:
        return
    folder = os.path.join(options.scratch, "tarantool")
    os.mkdir(folder)
    memory = max(256 << 20, options.scale * 400)
    scripts = {}
    for name, text in (("build", TARANTOOL_BUILD), ("start", TARANTOOL_START)):
        scripts[name] = os.path.join(options.scratch, f"{name}.lua")
        with open(scripts[name], "w", encoding="ascii") as handle:
            handle.write(text % memory)
    subprocess.run(["tarantool", scripts["build"], folder, str(options.scale)], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, cwd=options.scratch)
    found = {}
    for name, place in (("snapshot", folder), ("wal", folder + ".wal")):
        times = []
        for _ in range(options.other_rounds):
            begun = time.monotonic()
            done = subprocess.run(["tarantool", scripts["start"], place, str(options.scale // 2)], check=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=options.scratch)
            times.append(time.monotonic() - begun)
            if done.stdout != b"bench\n":
                raise SystemExit(f"tarantool: a wrong first reply: {done.stdout!r}")
        found[name] = {"median_ms": round(statistics.median(times) * 1e3, 1),
                       "all_ms": [round(t * 1e3, 1) for t in times]}
        say(f"tarantool {name}: first reply {found[name]['median_ms']} ms {found[name]['all_ms']}")
    result["tarantool"] = found
    shutil.rmtree(folder)
    shutil.rmtree(folder + ".wal")


# ------------------------------------------------------------------ the run


def say(text):
    print(f"# {text}", flush=True)


def table(result):
    rows = [(f"memimage {name}", value["median_ms"]) for name, value in result.get("memimage", {}).items()]
    rows += [(f"redis {name}", result["redis"][name]["median_ms"]) for name in ("rdb", "aof") if "redis" in result]
    rows += [(f"tarantool {name}", value["median_ms"]) for name, value in result.get("tarantool", {}).items()]
    background = result["memimage"]["background"]["median_ms"]
    eager = result["memimage"]["eager"]["median_ms"]
    print(f"\nfirst correct reply, {result['accounts']} accounts, {result['growth'][-1]['image_mb']} MB of image")
    print(f"{'':24}{'ms':>12}{'/ background':>14}{'/ eager':>10}")
    for name, value in rows:
        print(f"{name:24}{value:>12.1f}{value / background:>14.1f}{value / eager:>10.1f}")
    print("\ngrowth (background)       accounts       MB     ms")
    for step in result["growth"]:
        print(f"{'':24}{step['accounts']:>10}{step['image_mb']:>9}{step['median_ms']:>7.1f}")
    steady_found, during = result["steady"], result["during"]
    print(f"\nsteady rate after / before a restore {steady_found['rate_ratio']} (by the server's processor time "
          f"{steady_found['cpu_rate_ratio']}), p99.9 {steady_found['p99.9_ratio']}; longest settling step "
          f"{steady_found['settling_longest_us']} us")
    table_during(during)


def table_during(during):
    print(f"\nlatency at {during['rate']}/s, us         p50       p99     p99.9       max")
    for name, label in (("without", "without a snapshot"), ("again", "the same once more"), ("during", "during a snapshot")):
        found = during[name]
        print(f"{label:24}{found['p50_us']:>10}{found['p99_us']:>10}{found['p999_us']:>10}{found['max_us']:>10}")
    print(f"p99.9 during / without {during['p99.9_ratio']}, once more / without {during['p99.9_ratio_of_control']}; "
          f"server memory {during['rss_mb']} MB, snapshots of {during['snapshot_s']} s")


def parse():
    parser = argparse.ArgumentParser(description="Restart and snapshot figures beside Redis and Tarantool.")
    parser.add_argument("--scale", type=int, default=12_500_000, help="accounts (default 12500000: over 1 GiB)")
    parser.add_argument("--rounds", type=int, default=5, help="of each start (default 5)")
    parser.add_argument("--other-rounds", type=int, default=2, help="of each start of the others (default 2)")
    parser.add_argument("--seconds", type=int, default=6, help="of each steady load (default 6)")
    parser.add_argument("--rate", type=int, default=4000, help="commands per second of the open loop (default 4000)")
    parser.add_argument("--binary", default=os.environ.get("MEMIMAGE", os.path.join(ROOT, "build", "memimage")))
    parser.add_argument("--dir", default=None, help="where scratch files go (default $TMPDIR or /tmp)")
    parser.add_argument("--json", default=None, help="file for the figures")
    parser.add_argument("--during", action="store_true", help="measure latency during a snapshot only")
    parser.add_argument("--no-redis", action="store_true")
    parser.add_argument("--no-tarantool", action="store_true")
    return parser.parse_args()


def during_only(options, result):
    with tempfile.TemporaryDirectory(prefix="memimage-restart-", dir=options.dir) as scratch:
        options.scratch = scratch
        server = Memimage(options)
        try:
            server.start()
            stream(server.port, chunks(0, options.scale, open_account), 3)
            server.snapshot()
            measure_during(server, options, result)
        finally:
            if server.process is not None:
                server.process.kill()
    table_during(result["during"])
    write_json(options, result)
    return 0


def write_json(options, result):
    if options.json:
        with open(options.json, "w", encoding="ascii") as handle:
            json.dump(result, handle, indent=1)


def main():
    options = parse()
    result = {"accounts": options.scale, "rounds": options.rounds, "cores": os.cpu_count()}
    if options.during:
        return during_only(options, result)
    with tempfile.TemporaryDirectory(prefix="memimage-restart-", dir=options.dir) as scratch:
        options.scratch = scratch
        server = Memimage(options)
        try:
            server.start()
            account = measure_growth(server, options, result)
            measure_restarts(server, account, options, result)
            measure_steady(server, account, options, result)
            measure_during(server, options, result)
        finally:
            if server.process is not None:
                server.process.kill()
        shutil.rmtree(server.directory)
        measure_redis(options, result)
        measure_tarantool(options, result)
    table(result)
    write_json(options, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
