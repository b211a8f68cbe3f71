# SPDX-License-Identifier: MIT
# What every black-box test stands on: real `memimage serve` and `redis-server` processes on free loopback ports and
# temporary directories, stopped by pid; their stderr is kept and a sanitizer report in it fails the test. And a small
# TAP runner. The binary comes from $MEMIMAGE (default build/memimage). Python standard library only.
"""Processes and the TAP runner of the black-box tests."""

import contextlib
import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from resp import Client, Closed, RespError  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.abspath(os.environ.get("MEMIMAGE", os.path.join(ROOT, "build", "memimage")))
READY_SECONDS = float(os.environ.get("READY_SECONDS", "60"))
STOP_SECONDS = 60.0
SANITIZER_REPORT = re.compile(
    r"ERROR: AddressSanitizer|ERROR: LeakSanitizer|runtime error:|WARNING: ThreadSanitizer|ThreadSanitizer: |"
    r"MemorySanitizer"
)


class Skip(Exception):
    """Raised by a test that cannot run here; the text says why."""


class Failure(AssertionError):
    """A failed check with a readable text."""


# Checks


def equal(got, wanted, what="value"):
    if got != wanted:
        raise Failure(f"{what}: got {got!r}, wanted {wanted!r}")


def check(condition, text):
    if not condition:
        raise Failure(text)


def rejected(reply, code):
    """`reply` must be the rejection `code` with a sentence behind it."""
    check(isinstance(reply, RespError), f"got {reply!r}, wanted REJECTED {code}")
    words = reply.text.split(" ", 2)
    check(words[:2] == ["REJECTED", code], f"got '{reply.text}', wanted 'REJECTED {code} ...'")
    check(len(words) == 3 and len(words[2]) > 3, f"'{reply.text}' has no sentence")


def error(reply, *codes):
    """`reply` must be an error that begins with one of `codes`."""
    check(isinstance(reply, RespError), f"got {reply!r}, wanted an error {' or '.join(codes)}")
    check(reply.code in codes, f"got '{reply.text}', wanted an error {' or '.join(codes)}")
    return reply.text


# Processes


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, seconds, what):
    """Polls until condition() is true and returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"waited {seconds:g} s for {what}")
        time.sleep(0.01)


class Process:
    """A child process with its stderr in a file; killed by pid at the latest when its owner closes."""

    def __init__(self, words, stderr_path, env=None):
        self.words = words
        self.stderr_path = stderr_path
        merged = dict(os.environ, **(env or {}))
        with open(stderr_path, "ab") as stderr:
            self.popen = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, env=merged, close_fds=True
            )
        self.pid = self.popen.pid

    def stderr(self):
        with open(self.stderr_path, "rb") as handle:
            return handle.read().decode("utf-8", "replace")

    def running(self):
        return self.popen.poll() is None

    def signal(self, number):
        if self.running():
            self.popen.send_signal(number)

    def wait(self, seconds=STOP_SECONDS):
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"pid {self.pid} still runs after {seconds:g} s: {' '.join(self.words)}") from None

    def kill(self):
        if self.running():
            self.popen.kill()
        return self.popen.wait()


class Server:
    """`memimage serve` on a directory. It can be stopped, killed and started again on the same directory."""

    def __init__(self, scratch, directory=None, args=(), env=None, unix=False, keep_port=False, binary=BINARY):
        self.scratch = scratch
        self.keep_port = keep_port
        self.binary = binary
        self.directory = directory or os.path.join(scratch, "data")
        self.args = list(args)
        self.env = env
        self.path = os.path.join(scratch, "socket") if unix else None
        self.process = None
        self.port = None
        self.starts = 0

    def words(self):
        unix = ["--unixsocket", self.path] if self.path else []
        return [self.binary, "serve", "--dir", self.directory, "--port", str(self.port), *unix, *self.args]

    def launch(self):
        """Starts the process without waiting for it."""
        check(self.process is None or not self.process.running(), "the server runs already")
        if self.port is None or not self.keep_port:
            self.port = free_port()
        self.starts += 1
        stderr_path = os.path.join(self.scratch, f"stderr.{self.starts}")
        self.process = Process(self.words(), stderr_path, self.env)
        return self

    def start(self):
        """Starts the process and waits until it answers PING; a port taken in between is tried anew."""
        for _ in range(5):
            self.launch()
            if self._ready():
                return self
            if not re.search(r"[Aa]ddress (already )?in use", self.stderr()):
                break
        raise Failure(
            f"the server did not start: exit status {self.process.popen.poll()}, stderr:\n{self.stderr()}"
        )

    def _ready(self):
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if not self.process.running():
                return False
            with contextlib.suppress(OSError, Closed, RespError):
                with Client(self.port, timeout=5) as client:
                    if client.call("PING") == "PONG":
                        return True
            time.sleep(0.01)
        return False

    def client(self, **options):
        return Client(self.port, **options)

    def stop(self, number=signal.SIGTERM):
        """A graceful stop; returns the exit status."""
        self.process.signal(number)
        return self.process.wait()

    def kill(self):
        """kill -9."""
        return self.process.kill()

    def restart(self, crash=False):
        if crash:
            self.kill()
        else:
            equal(self.stop(), 0, "exit status after SIGTERM")
        return self.start()

    def stderr(self):
        return self.process.stderr() if self.process else ""

    def sanitizer_reports(self):
        """Paths of stderr files that hold a sanitizer report, over all starts."""
        found = []
        for number in range(1, self.starts + 1):
            path = os.path.join(self.scratch, f"stderr.{number}")
            with open(path, "rb") as handle:
                if SANITIZER_REPORT.search(handle.read().decode("utf-8", "replace")):
                    found.append(path)
        return found

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as handle:
            for line in handle:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise Failure("no VmRSS of the server")

    def journal_files(self):
        folder = os.path.join(self.directory, "journal")
        return sorted(os.path.join(folder, name) for name in os.listdir(folder))


class RedisServer:
    """A real redis-server on a free port, without persistence."""

    def __init__(self, scratch, args=()):
        if shutil.which("redis-server") is None:
            raise Skip("redis-server is not installed")
        self.port = free_port()
        self.process = Process(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", scratch, "--save", "",
             "--appendonly", "no", "--daemonize", "no", *args],
            os.path.join(scratch, f"redis.{self.port}"),
        )
        wait_for(self._ready, READY_SECONDS, "redis-server")

    def _ready(self):
        with contextlib.suppress(OSError, Closed, RespError):
            with Client(self.port, timeout=5) as client:
                return client.call("PING") == "PONG"
        return False

    def client(self, **options):
        return Client(self.port, **options)

    def stop(self):
        self.process.signal(signal.SIGTERM)
        return self.process.wait()


def command(*words, input_text=None, timeout=300, env=None):
    """Runs a program to its end; returns (exit status, stdout, stderr)."""
    done = subprocess.run(
        [str(word) for word in words],
        input=input_text, stdin=subprocess.DEVNULL if input_text is None else None,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", timeout=timeout,
        env=dict(os.environ, **(env or {})), check=False,
    )
    check(not SANITIZER_REPORT.search(done.stderr), f"sanitizer report of {words}:\n{done.stderr}")
    return done.returncode, done.stdout, done.stderr


def memimage(*words, **options):
    return command(BINARY, *words, **options)


def sanitized():
    """True where the binary under test is a sanitizer build (slower, larger)."""
    with open(BINARY, "rb") as handle:
        data = handle.read()
    return b"__asan_init" in data or b"__tsan_init" in data


# The runner


class Context:
    """What a test gets: makers of scratch directories, servers and clients that end with the test."""

    def __init__(self):
        self.stack = contextlib.ExitStack()
        self.servers = []

    def scratch(self):
        path = tempfile.mkdtemp(prefix="memimage-test-")
        self.stack.callback(shutil.rmtree, path, ignore_errors=True)
        return path

    def new_server(self, **options):
        """A Server that is not started yet."""
        server = Server(self.scratch(), **options)
        self.servers.append(server)
        self.stack.callback(lambda: server.process and server.process.kill())
        return server

    def server(self, **options):
        return self.new_server(**options).start()

    def client(self, server, **options):
        client = server.client(**options)
        self.stack.callback(client.close)
        return client

    def pair(self, **options):
        """A started server and a client of it."""
        server = self.server(**options)
        return server, self.client(server)

    def redis(self, *args):
        redis = RedisServer(self.scratch(), args)
        self.stack.callback(redis.process.kill)
        return redis

    def finish(self):
        """Sanitizer reports fail the test even where all its checks passed. Leaks show at a graceful stop only."""
        for server in self.servers:
            if server.process and server.process.running():
                server.process.signal(signal.SIGTERM)
                with contextlib.suppress(Failure):
                    server.process.wait()
        for server in self.servers:
            for path in server.sanitizer_reports():
                with open(path, "rb") as handle:
                    text = handle.read().decode("utf-8", "replace")
                raise Failure(f"sanitizer report of the server:\n{text[-6000:]}")


_TESTS = []


def test(sentence):
    """Registers a test; its name is a sentence."""

    def register(function):
        @functools.wraps(function)
        def run():
            context = Context()
            with context.stack:
                try:
                    function(context)
                    context.finish()
                except (Failure, RespError, Closed, OSError) as problem:
                    for server in context.servers:
                        if server.process:
                            text = server.stderr()[-3000:]
                            problem.add_note(f"exit status of the server: {server.process.popen.poll()}, "
                                             f"the end of its stderr:\n{text}")
                    raise

        _TESTS.append((sentence.replace("#", "number "), run))
        return function

    return register


def _diagnose(text):
    for line in text.rstrip().splitlines():
        print(f"# {line}")


def _run_one(number, sentence, run):
    started = time.monotonic()
    try:
        run()
    except Skip as skip:
        print(f"ok {number} - {sentence} # SKIP {skip}")
        return True
    except Exception:  # any exception is a failed test, and the next test still runs
        print(f"not ok {number} - {sentence}")
        _diagnose(traceback.format_exc())
        return False
    print(f"ok {number} - {sentence}")
    _diagnose(f"{time.monotonic() - started:.2f} s")
    return True


def main():
    """Runs the registered tests (those whose sentence holds one of the arguments) and prints TAP."""
    sys.stdout.reconfigure(line_buffering=True)
    if not os.access(BINARY, os.X_OK):
        print("TAP version 13\n1..1\nnot ok 1 - the binary exists")
        _diagnose(f"{BINARY} is missing: build it, or set MEMIMAGE")
        return 1
    chosen = [(s, run) for s, run in _TESTS if len(sys.argv) < 2 or any(word in s for word in sys.argv[1:])]
    print(f"TAP version 13\n1..{len(chosen)}")
    results = [_run_one(number, s, run) for number, (s, run) in enumerate(chosen, 1)]
    return 0 if all(results) else 1
