# SPDX-License-Identifier: MIT
# The wire contract of the ledger (DESIGN 6 and 7): commands, options, every rejection, the order of the checks, queries.
# Hostile input is in test_hostile.py, Redis's own clients in test_clients.py.
"""Black-box tests of the wire contract."""

import json
import sys

from harness import check, equal, error, main, rejected, test
from ledger import I64_MAX, balance, deposit, digest, open_account, state, top, totals, version
from resp import RespError


@test("DO answers the version and the position of the last event")
def do_answers(t):
    _, c = t.pair()
    first = open_account(c, "a-1")
    equal(first[0], 1, "version after Open")
    second = deposit(c, "a-1", 100)
    equal(second, [2, first[1] + 1], "reply of Deposit")
    third = c.call("DO", "account/a-1", "Withdraw", "amount", 30, "note", "lunch")
    equal(third, [3, first[1] + 2], "reply of Withdraw")
    open_account(c, "a-2")
    before = digest(c)[0]
    sent = c.call("DO", "account/a-1", "Transfer", "to", "a-2", "amount", 20)
    equal(sent, [4, before + 2], "a transfer is two events; the position is the last one's")
    equal(version(c, "a-2"), 2, "version of the other account")
    equal((balance(c, "a-1"), balance(c, "a-2")), (50, 20), "balances")
    c.call("DO", "account/a-2", "Withdraw", "amount", 20)
    closed = c.call("DO", "account/a-2", "Close")
    equal(closed, [4, before + 4], "reply of Close")


@test("positions begin at 1 and have no gaps")
def positions(t):
    _, c = t.pair()
    equal(digest(c)[0], 0, "position of an empty server")
    got = [open_account(c, f"p{n}")[1] for n in range(20)]
    equal(got, list(range(1, 21)), "positions")


@test("GET answers the state as JSON with exactly the contract's members, nil where nothing is")
def get_state(t):
    _, c = t.pair()
    equal(c.call("GET", "account/none"), None, "GET of nothing")
    equal(c.call("STATE", "account/none"), None, "STATE of nothing")
    open_account(c, "a", owner="Ann \"x\" \\ \n\t\u00e9 \U0001F600", currency="EUR", overdraft=7)
    deposit(c, "a", 5)
    wanted = {"owner": "Ann \"x\" \\ \n\t\u00e9 \U0001F600", "currency": "EUR", "balance": 5, "overdraft": 7,
              "open": True}
    equal(state(c, "a"), wanted, "state")
    reply = c.call("STATE", "account/a")
    equal(reply[0], 2, "version of STATE")
    equal(json.loads(reply[1]), wanted, "JSON of STATE")
    c.call("DO", "account/a", "Withdraw", "amount", 5)
    c.call("DO", "account/a", "Close")
    equal(state(c, "a")["open"], False, "open after Close")


@test("Open has an overdraft of 0 by default and refuses bad fields with BADARG")
def open_fields(t):
    _, c = t.pair()
    open_account(c, "a")
    equal(state(c, "a")["overdraft"], 0, "default overdraft")
    bad = [
        (), ("owner", "x"), ("currency", "CZK"), ("owner", "x", "currency", "CZ"), ("owner", "x", "currency", "CZKK"),
        ("owner", "x", "currency", "C1K"), ("owner", "x", "currency", ""),
        ("owner", "x", "currency", "CZK", "overdraft", "-1"), ("owner", "x", "currency", "CZK", "overdraft", "x"),
        ("owner", "x", "currency", "CZK", "overdraft", str(2**63)),
    ]
    for fields in bad:
        error(c.ask("DO", "account/new", "Open", *fields), "BADARG")
    equal(c.call("GET", "account/new"), None, "no account after refused commands")
    open_account(c, "max", overdraft=I64_MAX)
    equal(state(c, "max")["overdraft"], I64_MAX, "the largest overdraft")


@test("amounts are whole numbers from 1 to the largest i64")
def amounts(t):
    _, c = t.pair()
    open_account(c, "a")
    open_account(c, "b")
    for amount in ("0", "-1", "", "x", "1.5", "1e3", "0x10", str(2**63), "9" * 40, "-" + "9" * 40, "5 ", "1\x00"):
        for name, extra in (("Deposit", ()), ("Withdraw", ()), ("Transfer", ("to", "b"))):
            error(c.ask("DO", "account/a", name, *extra, "amount", amount), "BADARG")
    for name in ("Deposit", "Withdraw", "Transfer"):
        error(c.ask("DO", "account/a", name), "BADARG")
    error(c.ask("DO", "account/a", "Transfer", "amount", "1"), "BADARG")
    equal(version(c, "a"), 1, "version after refused commands")
    deposit(c, "a", I64_MAX)
    equal(balance(c, "a"), I64_MAX, "the largest balance")


@test("every rejection of the ledger has its code and a sentence")
def rejections(t):
    _, c = t.pair()
    open_account(c, "a", overdraft=10)
    open_account(c, "eur", currency="EUR")
    open_account(c, "shut")
    c.call("DO", "account/shut", "Close")
    rejected(c.ask("DO", "account/a", "Open", "owner", "x", "currency", "CZK"), "ACCOUNT_EXISTS")
    rejected(c.ask("DO", "account/shut", "Open", "owner", "x", "currency", "CZK"), "ACCOUNT_EXISTS")
    for name, fields in (("Deposit", ("amount", 1)), ("Withdraw", ("amount", 1)), ("Close", ()),
                         ("Transfer", ("to", "a", "amount", 1))):
        rejected(c.ask("DO", "account/none", name, *fields), "NO_ACCOUNT")
        rejected(c.ask("DO", "account/shut", name, *fields), "ACCOUNT_CLOSED")
    rejected(c.ask("DO", "account/a", "Transfer", "to", "none", "amount", 1), "NO_ACCOUNT")
    rejected(c.ask("DO", "account/a", "Transfer", "to", "shut", "amount", 1), "ACCOUNT_CLOSED")
    rejected(c.ask("DO", "account/a", "Transfer", "to", "a", "amount", 1), "SAME_ACCOUNT")
    rejected(c.ask("DO", "account/a", "Transfer", "to", "eur", "amount", 1), "CURRENCY_MISMATCH")
    rejected(c.ask("DO", "account/a", "Withdraw", "amount", 11), "INSUFFICIENT_FUNDS")
    open_account(c, "b")
    rejected(c.ask("DO", "account/a", "Transfer", "to", "b", "amount", 11), "INSUFFICIENT_FUNDS")
    c.call("DO", "account/a", "Withdraw", "amount", 10)
    equal(balance(c, "a"), -10, "a balance at minus the overdraft")
    rejected(c.ask("DO", "account/a", "Close"), "BALANCE_NOT_ZERO")
    deposit(c, "b", 1)
    rejected(c.ask("DO", "account/b", "Close"), "BALANCE_NOT_ZERO")


@test("money never overflows: balances, transfers and totals")
def overflow(t):
    _, c = t.pair()
    open_account(c, "full")
    deposit(c, "full", I64_MAX)
    rejected(c.ask("DO", "account/full", "Deposit", "amount", 1), "OVERFLOW")
    open_account(c, "poor", overdraft=I64_MAX)
    rejected(c.ask("DO", "account/poor", "Transfer", "to", "full", "amount", 1), "OVERFLOW")
    equal(version(c, "poor"), 1, "nothing of a rejected transfer remains")
    c.call("DO", "account/poor", "Withdraw", "amount", I64_MAX)
    equal(balance(c, "poor"), -I64_MAX, "the lowest balance")
    rejected(c.ask("DO", "account/poor", "Withdraw", "amount", 1), "INSUFFICIENT_FUNDS")
    open_account(c, "second")
    reply = c.ask("DO", "account/second", "Deposit", "amount", I64_MAX)
    expected = 0 if isinstance(reply, RespError) else I64_MAX
    if isinstance(reply, RespError):
        rejected(reply, "OVERFLOW")
    equal(totals(c)["CZK"]["balance"], expected, "the sum of all balances")
    equal(c.call("PING"), "PONG", "the server lives")


@test("the rejections are checked from the left of the contract's table")
def order_of_rejections(t):
    _, c = t.pair()
    open_account(c, "a")
    open_account(c, "shut", currency="EUR")
    c.call("DO", "account/shut", "Close")
    rejected(c.ask("DO", "account/none", "Transfer", "to", "none", "amount", 1), "NO_ACCOUNT")
    rejected(c.ask("DO", "account/shut", "Transfer", "to", "none", "amount", 1), "NO_ACCOUNT")
    rejected(c.ask("DO", "account/shut", "Transfer", "to", "shut", "amount", 1), "ACCOUNT_CLOSED")
    rejected(c.ask("DO", "account/a", "Transfer", "to", "shut", "amount", 1), "ACCOUNT_CLOSED")
    rejected(c.ask("DO", "account/a", "Transfer", "to", "a", "amount", 99), "SAME_ACCOUNT")
    open_account(c, "eur", currency="EUR")
    rejected(c.ask("DO", "account/a", "Transfer", "to", "eur", "amount", 99), "CURRENCY_MISMATCH")
    open_account(c, "full")
    deposit(c, "full", I64_MAX)
    rejected(c.ask("DO", "account/a", "Transfer", "to", "full", "amount", 1), "INSUFFICIENT_FUNDS")
    rejected(c.ask("DO", "account/shut", "Withdraw", "amount", 99), "ACCOUNT_CLOSED")


@test("@if expects a version and CONFLICT names both")
def expected_version(t):
    _, c = t.pair()
    equal(c.ask("DO", "account/a", "Deposit", "amount", 1, "@if", 4).text,
          "CONFLICT expected version 4, account/a is at 0", "conflict on nothing")
    equal(c.call("DO", "account/a", "Open", "owner", "x", "currency", "CZK", "@if", 0)[0], 1, "0: must not exist")
    equal(c.ask("DO", "account/a", "Deposit", "amount", 1, "@if", 0).text,
          "CONFLICT expected version 0, account/a is at 1", "conflict with 0")
    equal(c.call("DO", "account/a", "Deposit", "amount", 1, "@if", 1)[0], 2, "the right version")
    equal(c.ask("DO", "account/a", "Deposit", "amount", 1, "@if", 1).text,
          "CONFLICT expected version 1, account/a is at 2", "the version before")
    for bad in ("x", "-1", "", "1.0", str(2**64), str(2**70)):
        error(c.ask("DO", "account/a", "Deposit", "amount", 1, "@if", bad), "BADARG", "ERR")
    equal(balance(c, "a"), 1, "one deposit happened")


@test("@id: the same key has one effect and the same answer, and the key alone decides")
def idempotency(t):
    server, c = t.pair()
    open_account(c, "a")
    first = deposit(c, "a", 5, "@id", "k1")
    deposit(c, "a", 7)
    equal(deposit(c, "a", 5, "@id", "k1"), first, "the answer to the same command")
    equal(c.call("DO", "account/a", "Withdraw", "amount", 1, "@id", "k1"), first, "another command, the same key")
    equal(c.call("DO", "account/b", "Open", "@id", "k1"), first, "another account and bad fields, the same key")
    equal(balance(c, "a"), 12, "one effect")
    equal(c.call("GET", "account/b"), None, "no account b")
    rejected(c.ask("DO", "account/a", "Withdraw", "amount", 100, "@id", "k2"), "INSUFFICIENT_FUNDS")
    deposit(c, "a", 100)
    c.call("DO", "account/a", "Withdraw", "amount", 100, "@id", "k2")
    equal(balance(c, "a"), 12, "a rejected command is decided anew")
    server.restart(crash=True)
    c = t.client(server)
    equal(deposit(c, "a", 5, "@id", "k1"), first, "the answer after kill -9 and a restart")
    equal(balance(c, "a"), 12, "one effect after a restart")


@test("idempotency holds inside one pipeline and from two connections")
def idempotency_in_flight(t):
    server, c = t.pair()
    open_account(c, "a")
    same = ("DO", "account/a", "Deposit", "amount", 1, "@id", "one")
    replies = c.pipeline([same] * 100)
    equal(len({tuple(reply) for reply in replies}), 1, "different answers")
    other = t.client(server)
    equal(other.call(*same), replies[0], "the answer to another connection")
    equal(balance(c, "a"), 1, "one effect")


@test("the checks run in the order: key, fields, expected version, rejections")
def order_of_checks(t):
    _, c = t.pair()
    open_account(c, "a")
    first = deposit(c, "a", 5, "@id", "k")
    equal(c.ask("DO", "account/a", "Deposit", "amount", "bad", "@if", 99, "@id", "k"), first, "the key comes first")
    error(c.ask("DO", "account/a", "Withdraw", "amount", "bad", "@if", 99), "BADARG")
    error(c.ask("DO", "account/none", "Withdraw", "amount", 0), "BADARG")
    error(c.ask("DO", "account/a", "Withdraw", "amount", 1000, "@if", 99), "CONFLICT")
    error(c.ask("DO", "account/none", "Withdraw", "amount", 1000, "@if", 1), "CONFLICT")
    rejected(c.ask("DO", "account/a", "Withdraw", "amount", 1000, "@if", 2), "INSUFFICIENT_FUNDS")


@test("@corr, @cause and @by are accepted together with the other options, in any order")
def tracing_options(t):
    _, c = t.pair()
    open_account(c, "a")
    reply = c.call("DO", "account/a", "Deposit", "amount", 1, "@by", "users/7", "@corr", "c-1", "@if", 1, "@cause", "e-1",
                   "@id", "x")
    equal(reply[0], 2, "version")
    for options in (("@nope", "1"), ("@id",), ("@if",), ("@corr",)):
        error(c.ask("DO", "account/a", "Deposit", "amount", 1, *options), "ERR", "BADARG")
    equal(balance(c, "a"), 1, "nothing of a command with a bad option")


@test("a JSON object stands for the fields, and its types are checked")
def json_form(t):
    _, c = t.pair()
    reply = c.call("DO", "account/j", "Open", '{"owner":"J\\u00e9 \\"q\\"","currency":"CZK","overdraft":5}', "@if", 0)
    equal(reply[0], 1, "version")
    equal(state(c, "j"), {"owner": "J\u00e9 \"q\"", "currency": "CZK", "balance": 0, "overdraft": 5, "open": True},
          "state")
    c.call("DO", "account/j", "Deposit", '{"amount":9223372036854775807,"note":"n"}')
    equal(balance(c, "j"), I64_MAX, "balance")
    for bad in ('{"amount":"5"}', '{"amount":5.5}', '{"amount":0}', '{"amount":-1}', '{"amount":null}', "{}",
                '{"amount":true}', '{"amount":[1]}', '{"amount":99999999999999999999}', '{"amount":5,"note":7}',
                '{"amount":1e400}'):
        error(c.ask("DO", "account/j", "Withdraw", bad), "BADARG")
    for bad in ('{"amount":5', '{"amount"}', "{", '{"amount":5}x', "{'amount':5}", "{" * 3000, '{"amount":' + "[" * 3000):
        error(c.ask("DO", "account/j", "Withdraw", bad), "BADARG", "ERR")
    equal(c.call("DO", "account/j", "Withdraw", '{"amount":5}', "@id", "j1")[0], 3, "version after the bad ones")
    c.call("DO", "account/j", "Withdraw", '{"amount":9223372036854775802}')
    equal(c.call("DO", "account/j", "Close", "{}")[0], 5, "an empty object for no fields")


@test("unknown types, commands and fields and malformed addresses are errors without effect")
def unknown(t):
    _, c = t.pair()
    open_account(c, "a")
    error(c.ask("DO", "nope/a", "Open"), "ERR", "NOTFOUND")
    error(c.ask("GET", "nope/a"), "ERR", "NOTFOUND")
    error(c.ask("DO", "account/a", "Frobnicate"), "ERR")
    error(c.ask("DO", "account/a", "Deposit", "amount", 1, "colour", "red"), "BADARG", "ERR")
    error(c.ask("DO", "account/a", "Deposit", "amount"), "BADARG", "ERR")
    error(c.ask("DO", "account/a", "Deposit", '{"amount":1,"colour":2}'), "BADARG", "ERR")
    for address in ("account", "account/", "/a", "", "/", "account/" + "x" * 5000):
        error(c.ask("DO", address, "Deposit", "amount", 1), "ERR", "BADARG")
        error(c.ask("GET", address), "ERR", "BADARG")
    for words in (("DO",), ("DO", "account/a"), ("GET",), ("GET", "account/a", "b"), ("STATE",), ("QUERY",),
                  ("QUERY", "account"), ("NOSUCHCOMMAND",), ("DIGEST", "x", "y")):
        error(c.ask(*words), "ERR")
    error(c.ask("QUERY", "account", "Nope"), "ERR", "NOTFOUND", "BADARG")
    error(c.ask("QUERY", "nope", "Totals"), "ERR", "NOTFOUND", "BADARG")
    error(c.ask("SCHEMA", "nope"), "ERR", "NOTFOUND", "BADARG")
    equal(version(c, "a"), 1, "version")


@test("ids are told apart by every byte")
def ids(t):
    _, c = t.pair()
    names = ["2378.0", "a:b", "x-y_z", "UPPER", "upper", "a" * 100, "1", "01", "001"]
    for number, name in enumerate(names, 1):
        open_account(c, name)
        deposit(c, name, number)
    for number, name in enumerate(names, 1):
        equal(balance(c, name), number, f"balance of {name}")


@test("text that is no UTF-8 never comes out as broken JSON")
def broken_text(t):
    _, c = t.pair()
    for number, data in enumerate((b"\xff\xfe", b"\xc3", b"a\xed\xa0\x80b", b"\xf5\x80\x80\x80", b"nul\x00nul")):
        reply = c.ask("DO", f"account/t{number}", "Open", "owner", data, "currency", "CZK")
        if isinstance(reply, RespError):
            error(reply, "BADARG")
            equal(c.call("GET", f"account/t{number}"), None, "no account after a refusal")
        else:
            text = c.call("GET", f"account/t{number}")
            text.encode("utf-8")
            json.loads(text)


@test("QUERY Totals adds up per currency and QUERY Top lists the richest")
def queries(t):
    _, c = t.pair()
    equal(totals(c), {}, "totals of an empty ledger")
    for name, currency in (("a", "CZK"), ("b", "CZK"), ("c", "EUR"), ("d", "CZK")):
        open_account(c, name, currency=currency, overdraft=50)
    deposit(c, "a", 100)
    deposit(c, "b", 300)
    deposit(c, "c", 7)
    c.call("DO", "account/b", "Transfer", "to", "a", "amount", 20)
    c.call("DO", "account/a", "Withdraw", "amount", 15)
    c.call("DO", "account/d", "Close")
    got = totals(c)
    equal(set(got), {"CZK", "EUR"}, "currencies")
    equal((got["CZK"]["accounts"], got["CZK"]["open"], got["CZK"]["balance"]), (3, 2, 385), "CZK")
    equal((got["EUR"]["accounts"], got["EUR"]["open"], got["EUR"]["balance"]), (1, 1, 7), "EUR")
    equal(top(c, "CZK", 2), [("b", 280), ("a", 105)], "the two richest")
    equal(top(c, "CZK", 10)[:2], [("b", 280), ("a", 105)], "more asked than there are")
    equal(top(c, "EUR", 1), [("c", 7)], "EUR")
    equal(top(c, "USD", 3), [], "a currency nobody has")
    for words in (("CZK",), ("CZK", "x"), ("CZK", "-1"), ()):
        error(c.ask("QUERY", "account", "Top", *words), "BADARG", "ERR")


@test("SCHEMA is JSON and names commands, events, fields and queries")
def schema(t):
    _, c = t.pair()
    for words in (("SCHEMA",), ("SCHEMA", "account")):
        text = c.call(*words)
        json.loads(text)
        for word in ("Open", "Deposit", "Withdraw", "Transfer", "Close", "Opened", "Deposited", "Withdrawn",
                     "TransferSent", "TransferReceived", "Closed", "owner", "currency", "overdraft", "amount", "Totals",
                     "Top"):
            check(f'"{word}"' in text or f'"account.{word}"' in text, f"{word} stands in the answer of {words}")


@test("DIGEST changes with the state only and is the same after kill -9 and a restart")
def digests(t):
    server, c = t.pair()
    empty = digest(c)
    open_account(c, "a")
    deposit(c, "a", 5)
    first = digest(c)
    check(first[1] != empty[1], "the digest changes with the state")
    c.call("GET", "account/a")
    rejected(c.ask("DO", "account/a", "Withdraw", "amount", 6), "INSUFFICIENT_FUNDS")
    equal(digest(c), first, "a query and a rejection change nothing")
    server.restart(crash=True)
    c = t.client(server)
    equal(digest(c), first, "digest after kill -9")
    server.restart()
    c = t.client(server)
    equal(digest(c), first, "digest after a graceful stop")
    deposit(c, "a", 1)
    check(digest(c)[1] != first[1], "the digest changes again")


@test("RESP3 after HELLO 3: the same answers in RESP3 types")
def resp3(t):
    _, c = t.pair()
    answer = c.call("HELLO", 3)
    check(isinstance(answer, dict), f"HELLO 3 answers a map, got {answer!r}")
    equal(answer.get("proto"), 3, "proto")
    equal(open_account(c, "a"), [1, 1], "DO")
    equal(c.ask_raw("GET", "account/none"), b"_", "the RESP3 null")
    equal(json.loads(c.call("GET", "account/a"))["balance"], 0, "GET")
    check(isinstance(c.call("HELLO", 2), list), "HELLO 2 answers an array")
    equal(c.ask_raw("GET", "account/none"), b"$-1", "the RESP2 null bulk string")
    error(c.ask("HELLO", 4), "NOPROTO", "ERR")
    error(c.ask("HELLO", "x"), "NOPROTO", "ERR")
    equal(c.call("PING"), "PONG", "the connection lives")


@test("inline commands work, with quotes, and several in one packet")
def inline(t):
    _, c = t.pair()
    c.send_raw(b"PING\r\nECHO \"a b\\x41\"\r\nDO account/i Open owner 'Big Ann' currency CZK\r\nDO account/i Deposit amount 5\n")
    equal(c.read_all(4), ["PONG", "a bA", [1, 1], [2, 2]], "replies")
    equal(state(c, "i")["owner"], "Big Ann", "owner")
    c.send_raw(b"\r\n\r\nPING\r\n")
    equal(c.read(), "PONG", "empty lines are skipped")


@test("a pipeline is answered in order, errors among results")
def pipelining(t):
    _, c = t.pair()
    commands = [("DO", "account/p", "Open", "owner", "x", "currency", "CZK")]
    for number in range(3000):
        commands.append(("DO", "account/p", "Deposit", "amount", 1))
        commands.append(("ECHO", f"e{number}"))
        if number % 3 == 0:
            commands.append(("DO", "account/p", "Withdraw", "amount", 10**9))
        commands.append(("GET", "account/p"))
    replies = c.pipeline(commands, window=len(commands))
    deposited = 0
    for words, reply in zip(commands, replies):
        if words[0] == "ECHO":
            equal(reply, words[1], "an echo out of order")
        elif words[0] == "GET":
            equal(json.loads(reply)["balance"], deposited, "a read does not see the write before it")
        elif words[2] == "Deposit":
            deposited += 1
            equal(reply, [deposited + 1, deposited + 1], "reply of a deposit")
        elif words[2] == "Withdraw":
            rejected(reply, "INSUFFICIENT_FUNDS")


@test("two connections see each other's changes in one order")
def two_clients(t):
    server, c = t.pair()
    d = t.client(server)
    open_account(c, "a")
    for number in range(1, 50):
        deposit(c if number % 2 else d, "a", 1)
        equal(balance(d if number % 2 else c, "a"), number, "the other's write")


@test("PING ECHO SELECT CLIENT COMMAND CONFIG INFO TIME RESET QUIT answer as Redis does")
def redis_commands(t):
    _, c = t.pair()
    equal(c.call("PING", "hi"), "hi", "PING with text")
    equal(c.call("ping"), "PONG", "lower case")
    equal(c.call("ECHO", b"\x00\xff").encode("utf-8", "surrogateescape"), b"\x00\xff", "ECHO of bytes")
    equal(c.call("SELECT", 0), "OK", "SELECT 0")
    equal(c.call("CLIENT", "SETNAME", "tester"), "OK", "CLIENT SETNAME")
    equal(c.call("CLIENT", "GETNAME"), "tester", "CLIENT GETNAME")
    check(isinstance(c.call("CLIENT", "ID"), int), "CLIENT ID is an integer")
    check(isinstance(c.call("COMMAND"), list), "COMMAND is an array")
    check(c.call("COMMAND", "COUNT") >= 20, "COMMAND COUNT")
    check(isinstance(c.call("CONFIG", "GET", "save"), (list, dict)), "CONFIG GET is an array")
    seconds, micros = c.call("TIME")
    check(int(seconds) > 1_600_000_000 and 0 <= int(micros) < 1_000_000, "TIME")
    info = c.call("INFO")
    for section in ("server", "clients", "memory", "journal", "commands", "image"):
        check(f"# {section}" in info.lower(), f"INFO has a section {section}")
    check("# journal" not in c.call("INFO", "server").lower(), "INFO server has one section")
    error(c.ask("AUTH", "secret"), "ERR", "WRONGPASS", "NOAUTH")
    equal(c.call("RESET"), "RESET", "RESET")
    equal(c.call("QUIT"), "OK", "QUIT")
    equal(c.read_until_closed(), [], "nothing after QUIT")


if __name__ == "__main__":
    sys.exit(main())
