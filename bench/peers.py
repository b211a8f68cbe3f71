# SPDX-License-Identifier: MIT
# The servers that bench/run measures: memimage, Redis, the constant server, PostgreSQL and Tarantool, each on a scratch
# directory and a free port, stopped by their process ids.
"""Servers under measurement, and the requests they are sent."""

import os
import re
import shutil
import socket
import statistics
import subprocess
import time

ACCOUNTS = 10000


def encode(*items):
    """A request in RESP."""
    out = [b"*%d\r\n" % len(items)]
    for item in items:
        item = item if isinstance(item, bytes) else str(item).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(item), item))
    return b"".join(out)


def account(n):
    """As redis-benchmark writes its random numbers: it asks for the same ones."""
    return f"account/{n:012d}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pour(port, requests, lines):
    """Sends all requests in batches, and waits for their replies of so many lines each; returns the last batch's."""
    data = b""
    with socket.create_connection(("127.0.0.1", port), 60) as link:
        for first in range(0, len(requests), 500):
            batch = requests[first:first + 500]
            link.sendall(b"".join(batch))
            data = b""
            while data.count(b"\r\n") < lines * len(batch):
                more = link.recv(1 << 20)
                if not more or data[:1] == b"-" or b"\n-" in data:
                    raise RuntimeError(f"setting up: {data[:200]!r}")
                data += more
    return data


class Server:
    """A process with a port; ready when it takes a connection and answers."""

    def __init__(self, words, folder, port, ready=b"PING"):
        self.port, self.folder = port, folder
        self.log = open(os.path.join(folder, f"log-{port}"), "wb")
        self.process = subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log)
        until = time.monotonic() + 60
        while ready:
            try:
                with socket.create_connection(("127.0.0.1", port), 5) as link:
                    link.sendall(encode(ready))
                    if link.recv(100)[:1] in b"+*":
                        break
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{words[0]} does not answer; see {self.log.name}")
            time.sleep(0.02)

    def resident(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as lines:
            return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

    def info(self):
        with socket.create_connection(("127.0.0.1", self.port), 60) as link:
            link.sendall(encode("INFO"))
            data = link.recv(1 << 16)
            size = int(data[1:data.index(b"\r\n")])
            while len(data) < size:
                data += link.recv(1 << 16)
        return dict(re.findall(r"^([a-z_0-9.]+):(.*?)\r?$", data.decode(), re.M))

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def folder_in(scratch, name):
    folder = os.path.join(scratch, name)
    os.makedirs(folder)
    return folder


def memimage(options, name, durability="fsync", arguments=()):
    port, folder = free_port(), folder_in(options.scratch, name)
    return Server([options.memimage, "serve", "--dir", os.path.join(folder, "data"), "--port", str(port),
                   "--durability", durability, *arguments], folder, port)


def redis(options, name, fsync):
    port, folder = free_port(), folder_in(options.scratch, name)
    durable = ["--appendonly", "no"] if fsync is None else ["--appendonly", "yes", "--appendfsync", fsync]
    return Server(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder,
                   "--auto-aof-rewrite-percentage", "0", *durable], folder, port)


def constant(options):
    port = free_port()
    return Server([os.path.join(options.build, "bench", "limit-constant-server"), str(port)],
                  folder_in(options.scratch, "constant"), port)


def open_requests(first, last):
    return [encode("DO", account(n), "Open", "owner", "bench", "currency", "CZK") for n in range(first, last)]


def hash_requests(first, last):
    return [encode("HSET", account(n), "owner", "bench", "currency", "CZK", "balance", "0", "status", "open")
            for n in range(first, last)]


def requests_write(options, name, make):
    path = os.path.join(options.scratch, f"{name}.resp")
    with open(path, "wb") as file:
        file.write(b"".join(make(n) for n in range(ACCOUNTS)))
    return path


# ------------------------------------------------------------------ PostgreSQL


POSTGRES_TABLE = ("CREATE TABLE event (stream int, version int, data bytea, PRIMARY KEY (stream, version));"
                  "INSERT INTO event SELECT n, 1, '\\x00' FROM generate_series(1, 10000) n")
POSTGRES_WORK = """\\set s random(1, 10000)
WITH v AS (SELECT max(version) + 1 AS v FROM event WHERE stream = :s)
INSERT INTO event SELECT :s, v, '\\x0100000000000000' FROM v ON CONFLICT DO NOTHING;
"""


class Postgres:
    """Appends to streams with a unique version, by pgbench with prepared statements."""

    def __init__(self, options):
        self.folder = folder_in(options.scratch, "postgres")
        self.port = free_port()
        self.prefix = []
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres")
            self.prefix = ["runuser", "-u", "postgres", "--"]
        data = os.path.join(self.folder, "data")
        self.run([self.find("initdb"), "-D", data, "-A", "trust", "-U", "postgres", "-N"])
        self.server = Server([*self.prefix, self.find("postgres"), "-D", data, "-p", str(self.port), "-k", self.folder,
                              "-h", "127.0.0.1"], self.folder, self.port, ready=None)
        for _ in range(300):
            if self.psql("SELECT 1", check=False) == 0:
                break
            time.sleep(0.1)
        self.psql(POSTGRES_TABLE)
        self.work = os.path.join(self.folder, "work.sql")
        with open(self.work, "w", encoding="ascii") as file:
            file.write(POSTGRES_WORK)

    @staticmethod
    def find(name):
        place = f"/usr/lib/postgresql/15/bin/{name}"
        return place if os.path.exists(place) else shutil.which(name)

    @staticmethod
    def installed():
        return all(Postgres.find(name) for name in ("initdb", "postgres", "pgbench", "psql"))

    def run(self, words, check=True):
        done = subprocess.run([*self.prefix, *words], cwd=self.folder, check=check, capture_output=True, text=True)
        return done.returncode

    def psql(self, text, check=True):
        return self.run([self.find("psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-qc", text],
                        check)

    def measure(self, clients, seconds):
        """(commits per second, sorted latencies in microseconds)"""
        logs = os.path.join(self.folder, f"pgbench-{time.monotonic_ns()}")
        self.run([self.find("pgbench"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-n", "-M", "prepared",
                  "-c", str(clients), "-T", str(seconds), "-f", self.work, "-l", f"--log-prefix={logs}", "postgres"])
        found = []
        for name in os.listdir(self.folder):
            if name.startswith(os.path.basename(logs)):
                with open(os.path.join(self.folder, name), encoding="ascii") as lines:
                    found += [float(line.split()[2]) for line in lines]
        return len(found) / seconds, sorted(found)

    def stop(self):
        self.server.process.send_signal(2)  # a fast shutdown; runuser hands it on
        try:
            self.server.process.wait(20)
        except subprocess.TimeoutExpired:
            self.server.process.kill()
            self.server.process.wait()


# ------------------------------------------------------------------ Tarantool


TARANTOOL = """
local clock, fiber = require('clock'), require('fiber')
local fibers, seconds = tonumber(arg[1]), tonumber(arg[2])
box.cfg{wal_mode = 'fsync', checkpoint_interval = 0, log_level = 1}
local s = box.schema.space.create('account')
s:create_index('pk', {type = 'hash', parts = {1, 'string'}})
box.begin()
for i = 0, 9999 do s:insert{'a-' .. i, 'bench', 'CZK', 0, 'open'} end
box.commit()
local took, done, running = {}, 0, fibers
local from = clock.monotonic() + 0.2 * seconds
local to = from + seconds
for f = 1, fibers do
    fiber.create(function()
        while true do
            local begun = clock.monotonic()
            if begun >= to then break end
            s:update('a-' .. math.random(0, 9999), {{'+', 4, 1}})
            if begun >= from then
                done = done + 1
                if done % 8 == 0 or fibers == 1 then took[#took + 1] = clock.monotonic() - begun end
            end
        end
        running = running - 1
    end)
end
while running > 0 do fiber.sleep(0.05) end
table.sort(took)
local function at(share) return took[math.min(#took, 1 + math.floor(share * #took))] * 1e6 end
print(string.format('rate %.1f p50 %.2f p99 %.2f', done / seconds, at(0.5), at(0.99)))
os.exit(0)
"""


def tarantool(options, fibers, seconds):
    """Updates made durable, in the server's own process, without any client: (per second, p50, p99 in microseconds)."""
    folder = folder_in(options.scratch, f"tarantool-{time.monotonic_ns()}")
    script = os.path.join(folder, "work.lua")
    with open(script, "w", encoding="ascii") as file:
        file.write(TARANTOOL)
    done = subprocess.run(["tarantool", script, str(fibers), str(seconds)], cwd=folder, check=True,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    shutil.rmtree(folder)
    return tuple(float(number) for number in re.search(r"rate (\S+) p50 (\S+) p99 (\S+)", done.stdout).groups())


def median(values):
    return statistics.median(values) if values else None
