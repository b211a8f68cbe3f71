# SPDX-License-Identifier: MIT
# Redis's own tools work unchanged: redis-cli in RESP2 and RESP3, over TCP and a unix socket, and redis-benchmark.
"""Black-box tests with redis-cli and redis-benchmark."""

import json
import os
import shutil
import sys

from harness import Skip, check, command, equal, main, test
from ledger import balance, open_account, version


def redis_cli(server, *words, input_text=None, options=()):
    if shutil.which("redis-cli") is None:
        raise Skip("redis-cli is not installed")
    where = ("-s", server.path) if server.path else ("-p", server.port)
    status, out, err = command("redis-cli", *where, *options, *words, input_text=input_text, timeout=60)
    equal(status, 0, f"exit status of redis-cli {words} ({err})")
    return out.rstrip("\n")


def redis_benchmark(server, *words):
    if shutil.which("redis-benchmark") is None:
        raise Skip("redis-benchmark is not installed")
    status, out, err = command("redis-benchmark", "-p", server.port, *words, timeout=280)
    equal(status, 0, f"exit status of redis-benchmark {words} ({err})")
    check("Error" not in out + err, f"redis-benchmark: {out}{err}")
    return out


@test("redis-cli works in RESP2")
def cli_resp2(t):
    server = t.server()
    equal(redis_cli(server, "PING"), "PONG", "PING")
    equal(redis_cli(server, "DO", "account/r", "Open", "owner", "Ann", "currency", "CZK"), "1\n1", "Open")
    equal(redis_cli(server, "DO", "account/r", "Deposit", '{"amount":250}', "@id", "k"), "2\n2", "Deposit")
    equal(json.loads(redis_cli(server, "GET", "account/r"))["balance"], 250, "GET")
    text = redis_cli(server, "DO", "account/r", "Withdraw", "amount", "251")
    check(text.startswith("REJECTED INSUFFICIENT_FUNDS "), f"the rejection: {text!r}")
    equal(redis_cli(server, "GET", "account/none", options=("--no-raw",)), "(nil)", "nil")


@test("redis-cli works in RESP3")
def cli_resp3(t):
    server = t.server()
    equal(redis_cli(server, "DO", "account/r", "Open", "owner", "Ann", "currency", "CZK", options=("-3",)), "1\n1", "Open")
    equal(redis_cli(server, "GET", "account/none", options=("-3", "--no-raw")), "(nil)", "nil")
    equal(json.loads(redis_cli(server, "GET", "account/r", options=("-3",)))["owner"], "Ann", "GET")


@test("a program written with hiredis works: single commands, a pipeline, errors, nil")
def hiredis(t):
    program = os.environ.get("HIREDIS_CLIENT")
    if program is None:
        raise Skip("HIREDIS_CLIENT does not name the compiled client")
    server, _ = t.pair()
    status, out, err = command(program, server.port)
    equal((status, out), (0, "every answer was right\n"), f"the hiredis program: {err}")


@test("redis-cli reads a session from its standard input")
def cli_session(t):
    server = t.server()
    out = redis_cli(server, input_text="DO account/s Open owner 'Big Ann' currency CZK\n"
                    "DO account/s Deposit '{\"amount\":7}'\nGET account/s\n")
    lines = [line for line in out.splitlines() if line]
    equal(lines[:4], ["1", "1", "2", "2"], "replies")
    equal(json.loads(lines[4])["owner"], "Big Ann", "state")


@test("redis-cli works over the unix socket")
def cli_unix(t):
    server = t.server(unix=True)
    equal(redis_cli(server, "PING"), "PONG", "PING")
    equal(redis_cli(server, "DO", "account/u", "Open", "owner", "Ann", "currency", "CZK"), "1\n1", "Open")
    check(os.path.exists(server.path), "the socket exists")
    equal(server.stop(), 0, "exit status")
    check(not os.path.exists(server.path), "the socket is removed at a graceful stop")


@test("a stale unix socket of a killed server does not stop the next one")
def stale_socket(t):
    server = t.server(unix=True)
    server.restart(crash=True)
    equal(redis_cli(server, "PING"), "PONG", "PING")


@test("redis-benchmark works, with pipelines of 1 and 16")
def benchmark(t):
    server, c = t.pair()
    open_account(c, "r")
    redis_benchmark(server, "-n", "2000", "-c", "20", "-q", "DO", "account/r", "Deposit", "amount", "1")
    equal(balance(c, "r"), 2000, "balance after a pipeline of 1")
    redis_benchmark(server, "-n", "16000", "-c", "10", "-P", "16", "-q", "DO", "account/r", "Deposit", "amount", "1")
    check(balance(c, "r") >= 18000, "balance after a pipeline of 16")
    equal(version(c, "r"), balance(c, "r") + 1, "one event for each deposit")


@test("redis-benchmark's own ping tests and RESP3 mode work")
def benchmark_ping(t):
    server = t.server()
    out = redis_benchmark(server, "-t", "ping", "-n", "2000", "-c", "10", "-q")
    check("PING" in out, f"output: {out!r}")
    redis_benchmark(server, "-3", "-t", "ping", "-n", "2000", "-c", "10", "-P", "8", "-q")


@test("redis-benchmark over many random accounts")
def benchmark_random(t):
    server, c = t.pair()
    for number in range(100):
        open_account(c, f"{number:012d}")
    redis_benchmark(server, "-n", "5000", "-c", "20", "-P", "4", "-r", "100", "-q",
                    "DO", "account/__rand_int__", "Deposit", "amount", "1")
    deposited = sum(balance(c, f"{number:012d}") for number in range(100))
    check(deposited >= 5000, f"{deposited} deposited")


if __name__ == "__main__":
    sys.exit(main())
