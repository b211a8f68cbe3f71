# SPDX-License-Identifier: MIT
# `memimage schema`: the documents are valid, every reference in them leads somewhere, and what a server really takes
# and gives (commands, events of all versions, states) is what they say.
"""Black-box test of the schema documents."""

import json
import os
import re
import shutil
import sys

from harness import BINARY, ROOT, Skip, check, equal, main, memimage, test
from ledger import deposit, open_account

MODELS = os.environ.get("MEMIMAGE_MODELS", os.path.join(os.path.dirname(BINARY), "tests", "models"))
ALL = os.path.join(MODELS, "types.so")
PARCEL = os.path.join(MODELS, "parcel-2.so")


def document(name, model=None):
    status, out, err = memimage("schema", "--format", name, *(["--model", model] if model else []))
    equal((status, err), (0, ""), f"memimage schema --format {name}")
    return json.loads(out)


def validator(schema, name):
    """A validator of one of the definitions; formats are checked too."""
    try:
        import jsonschema
    except ImportError as missing:
        raise Skip("python3-jsonschema is not installed") from missing
    jsonschema.Draft202012Validator.check_schema(schema)
    check(name in schema["$defs"], f"the document defines {name}")
    return jsonschema.Draft202012Validator(dict(schema, **{"$ref": f"#/$defs/{name}"}),
                                           format_checker=jsonschema.FormatChecker())


def problems(schema, name, value):
    return [error.message for error in validator(schema, name).iter_errors(value)]


def references(node):
    """All values of $ref below a node."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def follow(root, reference):
    check(reference.startswith("#/"), f"{reference} is a reference within the document")
    node = root
    for part in reference[2:].split("/"):
        check(part in node, f"{reference} leads nowhere")
        node = node[part]
    return node


def events_are_valid(client, schema):
    texts = client.call("JOURNAL", "COUNT", 1000)
    seen = set()
    for text in texts:
        event = json.loads(text)
        name = f"{event['type']}.v{event['schemaversion']}"
        equal(problems(schema, f"{name}.cloudevent", event), [], text)
        seen.add(name)
    return seen


@test("every reference of both documents leads somewhere, for every model")
def whole(t):
    for model in (None, PARCEL, ALL):
        for name in ("jsonschema", "asyncapi"):
            schema = document(name, model)
            found = list(references(schema))
            check(found, "there are references")
            for reference in found:
                check(isinstance(follow(schema, reference), dict), reference)


@test("the AsyncAPI document has a channel per aggregate type, its events as messages, and the schemas of JSON Schema")
def asyncapi(t):
    schema = document("asyncapi")
    equal((schema["asyncapi"], schema["info"]), ("3.0.0", {"title": "ledger", "version": "1"}), "the head")
    equal(list(schema["channels"]), ["account"], "channels")
    names = {follow(schema, message["$ref"])["name"] for message in schema["channels"]["account"]["messages"].values()}
    equal(names, {f"account.{name}" for name in ("Opened", "Deposited", "Withdrawn", "TransferSent",
                                                 "TransferReceived", "Closed")}, "messages")
    for operation in schema["operations"].values():
        equal(operation["action"], "send", "what memimage does")
        check(follow(schema, operation["channel"]["$ref"]) in schema["channels"].values(), "its channel")
    for section in schema["components"].values():
        for key in section:
            check(re.fullmatch(r"[A-Za-z0-9._-]+", key), f"{key} is a key that AsyncAPI allows")
    plain = json.dumps(document("jsonschema")["$defs"]).replace("#/$defs/", "#/components/schemas/")
    equal(schema["components"]["schemas"], json.loads(plain), "the same schemas")
    old = document("asyncapi", PARCEL)["channels"]["parcel"]["messages"]
    check("parcel.Moved.v1" in old and "parcel.Moved.v2" in old, "every version of an event is a message")


@test("the ledger's real events and states are valid, and what is wrong is not")
def ledger(t):
    schema = document("jsonschema")
    _, c = t.pair()
    open_account(c, "a", "Ann", "CZK", 500)
    open_account(c, "b")
    deposit(c, "a", 100, "@corr", "c-1", "@cause", "x", "@by", "users/1")
    c.call("DO", "account/a", "Deposit", "amount", 1, "note", "a note")
    c.call("DO", "account/a", "Withdraw", "amount", 1)
    c.call("DO", "account/a", "Transfer", "to", "b", "amount", 50)
    c.call("DO", "account/b", "Withdraw", "amount", 50)
    c.call("DO", "account/b", "Close")
    equal(len(events_are_valid(c, schema)), 6, "event types seen")
    for name in ("a", "b"):
        state = json.loads(c.call("GET", f"account/{name}"))
        equal(problems(schema, "account.state", state), [], state)
        for wrong in (dict(state, balance="1"), dict(state, open=1), dict(state, more=1), {"balance": 1}):
            check(problems(schema, "account.state", wrong), f"{wrong} is no state")
    event = json.loads(c.call("EVENTS", "account/a", "COUNT", 1)[0])
    for wrong in (dict(event, type="account.Closed"), dict(event, schemaversion=2), dict(event, data={}),
                  dict(event, position="1"), {"id": "1"}):
        check(problems(schema, "account.Opened.v1.cloudevent", wrong), f"{wrong} is no such event")


@test("what the schema of a command says is what the server says, for commands right and wrong")
def commands(t):
    schema = document("jsonschema")
    _, c = t.pair()
    cases = [
        ("Open", {"owner": "o", "currency": "CZK"}), ("Open", {"owner": "o", "currency": "CZK", "overdraft": 5}),
        ("Open", {"owner": "o", "currency": "CZ"}), ("Open", {"owner": "o", "currency": "CZKK"}),
        ("Open", {"owner": "o", "currency": "C1K"}), ("Open", {"owner": "o", "currency": "CZK", "overdraft": -1}),
        ("Open", {"currency": "CZK"}), ("Open", {"owner": "o", "currency": "CZK", "more": 1}),
        ("Open", {"owner": 1, "currency": "CZK"}), ("Deposit", {"amount": 1}), ("Deposit", {"amount": 0}),
        ("Deposit", {"amount": 1.5}), ("Deposit", {"amount": True}), ("Deposit", {"amount": 2**63 - 1}),
        ("Deposit", {"amount": 2**63}), ("Deposit", {"amount": 1, "note": "n"}), ("Deposit", {"amount": 1, "note": 1}),
        ("Deposit", {}), ("Close", {}), ("Close", {"why": "x"}), ("Transfer", {"to": "b", "amount": 1}),
        ("Transfer", {"to": "b c", "amount": 1}), ("Transfer", {"to": "", "amount": 1}),
    ]
    for number, (name, data) in enumerate(cases):
        reply = c.ask("DO", f"account/nobody-{number}", name, json.dumps(data))
        refused = getattr(reply, "code", None) == "BADARG"
        found = problems(schema, f"account.command.{name}", data)
        equal(bool(found), refused, f"{name} {data}: {found}, {reply}")


@test("fields of every type: commands, events and states are valid against their schemas")
def types(t):
    schema = document("jsonschema", ALL)
    server = t.server(args=("--model", ALL))
    full = {"flag": True, "small": -5, "wide": -2**63, "natural": 2**63 - 1, "real": 1.5, "text": "žluťoučký",
            "bytes": "AAEC", "time": "2024-02-29T12:00:00Z", "optional": 4, "note": "n", "numbers": [1, -2],
            "tags": ["a", ""], "letters": "abc", "other": "x/1"}
    least = {key: full[key] for key in ("flag", "small", "wide", "natural", "real", "text", "bytes", "time", "letters",
                                        "other")}
    wrong = [("small", 2**31), ("natural", -1), ("natural", 2**63), ("real", "1"), ("time", True), ("time", []), ("tags", "a"),
             ("tags", [1]), ("numbers", ["1"]), ("letters", "a1"), ("letters", ""), ("other", "a b"), ("text", "")]
    with server.client() as c:
        for number, data in enumerate((full, least, dict(full, time=1700000000000))):
            equal(problems(schema, "thing.command.Make", data), [], f"a command: {data}")
            c.call("DO", f"thing/{number}", "Make", json.dumps(data, ensure_ascii=False))
            state = json.loads(c.call("GET", f"thing/{number}"))
            equal(problems(schema, "thing.state", state), [], f"a state: {state}")
        words = [word for key, value in dict(least, natural=2**64 - 1, flag="true").items() for word in (key, value)]
        c.call("DO", "thing/words", "Make", *words)
        state = json.loads(c.call("GET", "thing/words"))
        equal((state["natural"], problems(schema, "thing.state", state)), (2**64 - 1, []), "the largest number")
        equal(events_are_valid(c, schema), {"thing.Made.v1"}, "events")
        for name, value in wrong:
            check(problems(schema, "thing.command.Make", dict(full, **{name: value})), f"{name} is not {value!r}")
            reply = c.ask("DO", "thing/wrong", "Make", json.dumps(dict(full, **{name: value})))
            equal(getattr(reply, "code", None), "BADARG", f"{name} {value!r}: {reply}")


@test("old and new versions of events in one journal are valid, each against its own schema")
def versions(t):
    schema = document("jsonschema", PARCEL)
    target = os.path.join(t.scratch(), "data")
    shutil.copytree(os.path.join(ROOT, "tests", "golden", "parcel-2"), target)
    server = t.server(directory=target, args=("--model", PARCEL))
    with server.client() as c:
        seen = events_are_valid(c, schema)
        equal(seen, {"parcel.Registered.v1", "parcel.Moved.v1", "parcel.Moved.v2", "parcel.Droped.v1",
                     "parcel.Dropped.v1", "parcel.Delivered.v1", "parcel.Delivered.v2", "parcel.Tipped.v1"}, "versions")
        for number in range(1, 6):
            state = json.loads(c.call("GET", f"parcel/p-{number}"))
            equal(problems(schema, "parcel.state", state), [], state)


@test("memimage schema prints what SCHEMA answers, and refuses what it does not know")
def words(t):
    _, c = t.pair()
    equal(document("json"), json.loads(c.call("SCHEMA")), "SCHEMA")
    for arguments in (("--format", "xml"), ("--model", "shop"), ("account",), ("--nope",)):
        status, out, err = memimage("schema", *arguments)
        equal((status, out), (1, ""), f"{arguments}")
        check(err.startswith("memimage schema: "), err)


if __name__ == "__main__":
    sys.exit(main())
