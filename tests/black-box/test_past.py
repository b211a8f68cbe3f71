# SPDX-License-Identifier: MIT
# The past against an independent reference: a ledger written once more, in Python, decides a random workload beside the
# server; every version of every account must be what it says. And followers that are killed, servers that are killed,
# events that must be valid CloudEvents. Leans on harness.py. Longer: COMMANDS=100000 RESUMES=100.
"""STATE AT against a reference, FOLLOW through crashes, CloudEvents by their schema."""

import bisect
import collections
import json
import os
import random
import re
import sys
import threading
import time

from harness import ROOT, check, equal, main, test
from ledger import open_account
from resp import Closed, RespError, encode

COMMANDS = int(os.environ.get("COMMANDS", "5000"))
RESUMES = int(os.environ.get("RESUMES", "10"))

try:
    import jsonschema
except ImportError:  # the check by hand below stays
    jsonschema = None

Account = collections.namedtuple("Account", "owner currency balance overdraft open")


class Rejected(Exception):
    """A rejection's code."""


class Ledger:
    """The ledger by the words of its contract, without any of the server's code."""

    def __init__(self):
        self.versions = collections.defaultdict(list)  # name: [Account after version 1, 2 ...]
        self.positions = collections.defaultdict(list)
        self.position = 0
        self.deposited = collections.Counter()  # by currency: the totals must not overflow either

    def now(self, name):
        return self.versions[name][-1] if self.versions[name] else None

    def emit(self, name, account):
        check(-account.overdraft <= account.balance < 2**63, "the reference itself")
        self.position += 1
        self.versions[name].append(account)
        self.positions[name].append(self.position)

    def usable(self, *names):
        for name in names:
            if self.now(name) is None:
                raise Rejected("NO_ACCOUNT")
        for name in names:
            if not self.now(name).open:
                raise Rejected("ACCOUNT_CLOSED")

    def open(self, name, owner, currency, overdraft):
        if self.now(name) is not None:
            raise Rejected("ACCOUNT_EXISTS")
        self.emit(name, Account(owner, currency, 0, overdraft, True))

    def deposit(self, name, amount):
        self.usable(name)
        account = self.now(name)
        if max(account.balance, self.deposited[account.currency]) + amount >= 2**63:
            raise Rejected("OVERFLOW")
        self.deposited[account.currency] += amount
        self.emit(name, account._replace(balance=account.balance + amount))

    def withdraw(self, name, amount):
        self.usable(name)
        account = self.now(name)
        if account.balance - amount < -account.overdraft:
            raise Rejected("INSUFFICIENT_FUNDS")
        self.emit(name, account._replace(balance=account.balance - amount))

    def transfer(self, name, to, amount):
        self.usable(name, to)
        account, other = self.now(name), self.now(to)
        if name == to:
            raise Rejected("SAME_ACCOUNT")
        if account.currency != other.currency:
            raise Rejected("CURRENCY_MISMATCH")
        if account.balance - amount < -account.overdraft:
            raise Rejected("INSUFFICIENT_FUNDS")
        if other.balance + amount >= 2**63:
            raise Rejected("OVERFLOW")
        self.emit(name, account._replace(balance=account.balance - amount))
        self.emit(to, other._replace(balance=other.balance + amount))

    def close(self, name):
        self.usable(name)
        account = self.now(name)
        if account.balance != 0:
            raise Rejected("BALANCE_NOT_ZERO")
        self.emit(name, account._replace(open=False))


def random_command(rng, ledger, names, step):
    """The words of a DO, and the same as a call of the reference."""
    name = rng.choice(names) if rng.random() < 0.8 else names[0]
    kind = rng.random()
    if ledger.now(name) is None and rng.random() < 0.7 or kind < 0.01:
        owner, currency, overdraft = f"ownér \"{step}\"", rng.choice(("CZK", "CZK", "EUR", "JPY")), rng.choice((0, 0, 500))
        words = ["Open", "owner", owner, "currency", currency, "overdraft", overdraft]
        return name, words, lambda: ledger.open(name, owner, currency, overdraft)
    if kind < 0.45:
        large = ledger.now(name) is not None and ledger.now(name).currency == "JPY"
        amount = rng.randrange(1, 2**62 if large else 1000)
        return name, ["Deposit", "amount", amount], lambda: ledger.deposit(name, amount)
    if kind < 0.7:
        amount = rng.randrange(1, 1500)
        return name, ["Withdraw", "amount", amount], lambda: ledger.withdraw(name, amount)
    if kind < 0.97:
        to, amount = rng.choice(names), rng.randrange(1, 900)
        return name, ["Transfer", "to", to, "amount", amount], lambda: ledger.transfer(name, to, amount)
    balance = ledger.now(name).balance if ledger.now(name) else 0
    if name == names[0] or balance > 0 and rng.random() < 0.5:
        balance = max(1, balance)
        return name, ["Withdraw", "amount", balance], lambda: ledger.withdraw(name, balance)
    return name, ["Close"], lambda: ledger.close(name)


def decided(ledger, name, call, expected):
    """What the server must answer: an array, or the beginning of an error."""
    if expected is not None and expected != len(ledger.versions[name]):
        return f"CONFLICT expected version {expected}, account/{name} is at {len(ledger.versions[name])}"
    try:
        call()
    except Rejected as rejection:
        return f"REJECTED {rejection} "
    return [len(ledger.versions[name]), ledger.position]


def drive(client, ledger, count, seed, names):
    rng = random.Random(seed)
    for start in range(0, count, 500):
        wanted, sent = [], []
        for step in range(start, min(start + 500, count)):
            name, words, call = random_command(rng, ledger, names, step)
            expected = None
            if rng.random() < 0.1:
                expected = max(0, len(ledger.versions[name]) - (rng.random() < 0.3))
                words = [*words, "@if", expected]
            words += ["@corr", f"c{step // 7}"] if rng.random() < 0.3 else []
            sent.append(encode("DO", f"account/{name}", *words))
            wanted.append((words, decided(ledger, name, call, expected)))
        client.send_raw(b"".join(sent))
        for (words, answer), reply in zip(wanted, client.read_all(len(sent))):
            if isinstance(answer, str):
                check(isinstance(reply, RespError) and reply.text.startswith(answer),
                      f"{words}: got {reply!r}, wanted {answer!r}")
            else:
                equal(reply, answer, f"{words}")


def states_equal(client, name, probes, ledger):
    """probes: (words behind AT, version that must come)."""
    replies = client.pipeline([("STATE", f"account/{name}", "AT", *words) for words, _ in probes])
    for (words, version), reply in zip(probes, replies):
        if version == 0:
            equal(reply, None, f"{name} at {words}")
        else:
            state = json.loads(reply[1])
            equal((reply[0], state), (version, ledger.versions[name][version - 1]._asdict()), f"{name} at {words}")


@test(f"after {COMMANDS} random commands every version of every account is the reference's")
def reference(context):
    server = context.server()
    ledger = Ledger()
    rng = random.Random(11)
    names = [f"r-{n}" for n in range(max(8, COMMANDS // 500))]
    with server.client(timeout=120) as client:
        drive(client, ledger, COMMANDS, 3, names)
        checked = 0
        for name in names:
            last = len(ledger.versions[name])
            states_equal(client, name, [(("VERSION", n), n) for n in range(1, last + 1)], ledger)
            checked += last
            points = [rng.randrange(0, ledger.position + 2) for _ in range(50)]
            states_equal(client, name, [(("POSITION", p), bisect.bisect_right(ledger.positions[name], p))
                                        for p in points], ledger)
        equal(checked, ledger.position, "versions in all")
        check(max(len(v) for v in ledger.versions.values()) > COMMANDS // 10, "one stream is long")
    server.restart(crash=True)
    with server.client(timeout=120) as client:
        for name in names:
            last = len(ledger.versions[name])
            states_equal(client, name, [(("VERSION", n), n) for n in range(1, last + 1, 17)], ledger)


class Feed(threading.Thread):
    """Commands pouring in until stopped, over crashes of the server."""

    def __init__(self, server, names):
        super().__init__(daemon=True)
        self.server, self.names = server, names
        self.stopping = False
        self.acknowledged = 0

    def run(self):
        while not self.stopping:
            try:
                with self.server.client(timeout=30) as client:
                    while not self.stopping:
                        client.send_raw(b"".join(encode("DO", f"account/{random.choice(self.names)}", "Deposit",
                                                        "amount", 1) for _ in range(40)))
                        for reply in client.read_all(40):
                            self.acknowledged = max(self.acknowledged, reply[1])
            except (Closed, OSError, RespError, TypeError):  # killed, or still replaying
                time.sleep(0.01)

    def stop(self):
        self.stopping = True
        self.join(60)


@test(f"FOLLOW from 1, follower and server killed at random {RESUMES} times: no gap, no repeat")
def follow_killed(context):
    server = context.server()
    names = [f"k-{n}" for n in range(20)]
    with server.client() as client:
        for name in names:
            open_account(client, name)
    feed = Feed(server, names)
    feed.start()
    position = 0
    try:
        for round_number in range(RESUMES):
            crash = round_number % 5 == 4
            with server.client(timeout=60) as follower:
                follower.send("FOLLOW", "FROM", position + 1)
                equal(follower.read(), "OK", "the answer of FOLLOW")
                for _ in range(random.randrange(1, 2000)):
                    message = follower.read()
                    position += 1
                    equal(json.loads(message[1])["position"], position, "the next position")
                if crash:
                    server.kill()
            if crash:
                server.start()
    finally:
        feed.stop()
    with server.client(timeout=60) as client, server.client(timeout=60) as follower:
        last = client.call("DIGEST")[0]
        check(last >= max(position, feed.acknowledged), "what was seen or acknowledged is there")
        follower.send("FOLLOW", "FROM", position + 1)
        equal(follower.read(), "OK", "the answer of FOLLOW")
        while position < last:
            position += 1
            equal(json.loads(follower.read()[1])["position"], position, "the next position")


def check_by_hand(event):
    """What the schema says, without a validator; and the specification's rule for names of attributes."""
    for name in ("id", "source", "specversion", "type", "subject", "time", "datacontenttype"):
        check(isinstance(event[name], str) and event[name], f"{name} of {event}")
    check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"]), event["time"])
    equal(event["specversion"], "1.0", "specversion")
    for name, value in event.items():
        check(re.fullmatch("[a-z0-9]{1,20}", name), f"the name {name}")
        check(name == "data" or isinstance(value, (str, int)), f"the value of {name}")
        check(not isinstance(value, int) or name == "data" or -(2**31) <= value < 2**31, f"{name} is a CloudEvents integer")


@test("events are valid CloudEvents 1.0 by the published JSON schema")
def cloudevents(context):
    server = context.server()
    ledger = Ledger()
    with open(os.path.join(ROOT, "tests", "data", "cloudevents.json"), encoding="utf-8") as handle:
        schema = json.load(handle)
    with server.client() as client, server.client() as follower:
        drive(client, ledger, 1500, 5, [f"e-{n}" for n in range(10)])
        client.call("DO", "account/é/ü", "Open", "owner", "\u0001 \"\\ \u20ac", "currency", "CZK", "@corr", "a \"b\"",
                    "@cause", "12", "@by", "ďábel")
        events = [json.loads(text) for text in client.call("JOURNAL", "COUNT", 5000)]
        events += [json.loads(text) for text in client.call("EVENTS", "account/e-1")]
        follower.send("FOLLOW", "FROM", 1)
        equal(follower.read(), "OK", "the answer of FOLLOW")
        events += [json.loads(follower.read()[1]) for _ in range(ledger.position + 1)]
    for event in events:
        check_by_hand(event)
    if jsonschema is None:
        print("# python3-jsonschema is not installed: checked by hand only")
        return
    validator = jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())
    jsonschema.Draft7Validator.check_schema(schema)
    for event in events:
        problem = next(validator.iter_errors(event), None)
        check(problem is None, f"{event}: {problem}")
    broken = dict(events[0], id="")
    check(next(validator.iter_errors(broken), None) is not None, "the validator sees a broken event")


if __name__ == "__main__":
    sys.exit(main())
