#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# How long a restart takes to apply the same changes: memimage replaying its journal, Redis loading an AOF, Tarantool
# recovering a WAL, from the page cache, one after the other, several rounds. Needs redis-server and tarantool; either may
# be missing. Usage: bench/replay_peers.py [--memimage FILE] [--events N] [--accounts N] [--rounds N] [--json]
"""Restart from a log of changes: memimage beside Redis and Tarantool."""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TARANTOOL = """
local clock = require('clock')
local mode, accounts, events = arg[1], tonumber(arg[2]), tonumber(arg[3])
local begun = clock.monotonic()
box.cfg{wal_mode = 'write', checkpoint_interval = 0, memtx_memory = 8 * 1024 * 1024 * 1024, log_level = 0}
if mode == 'load' then
    local took = clock.monotonic() - begun
    assert(box.space.account:count() == accounts)
    print(string.format('seconds %.6f', took))
    os.exit(0)
end
local s = box.schema.space.create('account')
s:create_index('primary', {type = 'tree', parts = {1, 'string'}})
for i = 0, events - 1 do
    if i % 1000 == 0 then box.begin() end
    if i < accounts then
        s:insert{'a-' .. i, 'bench', 'CZK', 0, true}
    else
        s:update('a-' .. math.random(0, accounts - 1), {{'+', 4, 100}})
    end
    if i % 1000 == 999 or i == events - 1 then box.commit() end
end
os.exit(0)
"""


def resp(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def redis_make(folder, accounts, events):
    """The AOF as the server itself writes it: accounts are made, and then changed."""
    log = os.path.join(folder, "appendonlydir")
    os.mkdir(log)
    with open(os.path.join(log, "appendonly.aof.manifest"), "w", encoding="ascii") as manifest:
        manifest.write("file appendonly.aof.1.incr.aof seq 1 type i\n")
    dice = random.Random(1)
    with open(os.path.join(log, "appendonly.aof.1.incr.aof"), "wb", buffering=1 << 20) as aof:
        aof.write(resp(b"SELECT", b"0"))
        for n in range(accounts):
            aof.write(resp(b"HSET", b"a-%d" % n, b"owner", b"bench", b"currency", b"CZK", b"balance", b"0",
                           b"open", b"1"))
        for _ in range(events - accounts):
            aof.write(resp(b"HINCRBY", b"a-%d" % dice.randrange(accounts), b"balance", b"100"))


def redis_load(folder):
    """Seconds, as the server's own log tells them."""
    log = os.path.join(folder, "log")
    if os.path.exists(log):
        os.remove(log)
    server = subprocess.Popen(
        ["redis-server", "--dir", folder, "--logfile", log, "--port", "0", "--unixsocket", os.path.join(folder, "s"),
         "--save", "", "--appendonly", "yes", "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"],
        stdout=subprocess.DEVNULL)
    try:
        for _ in range(6000):
            time.sleep(0.1)
            text = ""
            if os.path.exists(log):
                with open(log, encoding="utf-8") as lines:
                    text = lines.read()
            found = re.search(r"DB loaded from append only file: ([0-9.]+) seconds", text)
            if found:
                return float(found.group(1))
            if server.poll() is not None:
                raise RuntimeError(f"redis-server ended: {text[-400:]}")
        raise RuntimeError("redis-server has not loaded its AOF in ten minutes")
    finally:
        server.terminate()
        server.wait()


def tarantool_run(folder, mode, accounts, events):
    script = os.path.join(folder, "work.lua")
    with open(script, "w", encoding="ascii") as lua:
        lua.write(TARANTOOL)
    done = subprocess.run(["tarantool", script, mode, str(accounts), str(events)], cwd=folder, check=True,
                          capture_output=True, text=True)
    found = re.search(r"seconds ([0-9.]+)", done.stdout)
    return float(found.group(1)) if found else None


def memimage_load(binary, folder, accounts, events):
    """Seconds of one core, and with a second thread that reads."""
    done = subprocess.run([binary, "bench", "replay", "--events", str(events), "--accounts", str(accounts), "--runs", "1",
                           "--dir", folder, "--json"], check=True, capture_output=True, text=True)
    figures = json.loads(done.stdout)
    return [figures[name]["ns_per_event"] * events / 1e9 for name in ("one_core", "two_threads")]


def measure(options, folder):
    """Events per second by name, a list each."""
    rates = {"memimage, one core": [], "memimage, second thread": []}
    redis = tarantool = None
    if shutil.which("redis-server"):
        redis = tempfile.mkdtemp(dir=folder)
        redis_make(redis, options.accounts, options.events)
        rates["Redis, AOF"] = []
    if shutil.which("tarantool"):
        tarantool = tempfile.mkdtemp(dir=folder)
        tarantool_run(tarantool, "make", options.accounts, options.events)
        rates["Tarantool, WAL"] = []
    for _ in range(options.rounds):
        one, two = memimage_load(options.memimage, folder, options.accounts, options.events)
        rates["memimage, one core"].append(options.events / one)
        rates["memimage, second thread"].append(options.events / two)
        if redis:
            rates["Redis, AOF"].append(options.events / redis_load(redis))
        if tarantool:
            seconds = tarantool_run(tarantool, "load", options.accounts, options.events)
            rates["Tarantool, WAL"].append(options.events / seconds)
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memimage", default=os.environ.get("MEMIMAGE", "build/memimage"))
    parser.add_argument("--events", type=int, default=4000000)
    parser.add_argument("--accounts", type=int, default=1000000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", default=None, help="where the logs are made")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="memimage-peers-", dir=options.dir)
    try:
        rates = measure(options, folder)
    finally:
        shutil.rmtree(folder)
    own = statistics.median(rates["memimage, one core"])
    rows = [{"name": name, "events_per_second": statistics.median(rate), "least": min(rate), "most": max(rate),
             "memimage_is_times": own / statistics.median(rate)} for name, rate in rates.items()]
    if options.json:
        print(json.dumps({"bench": "replay_peers", "events": options.events, "accounts": options.accounts,
                          "rounds": options.rounds, "rows": rows}))
        return 0
    print(f"{options.events} changes of {options.accounts} accounts, median of {options.rounds} rounds")
    print(f"{'':26} {'events/s':>12} {'least':>12} {'most':>12} {'one core of memimage / it':>26}")
    for row in rows:
        print(f"{row['name']:26} {row['events_per_second']:12.0f} {row['least']:12.0f} {row['most']:12.0f} "
              f"{row['memimage_is_times']:26.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
