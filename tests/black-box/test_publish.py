# SPDX-License-Identifier: MIT
# Publication against a real redis-server: what stands in the stream, on channels and in the read model, that it is every
# position once and in order whoever is killed when, and the README's consumers. Crash rounds from $ROUNDS (default 5).
"""Black-box test of publication to Redis."""

import json
import os
import random
import shutil
import sys
import threading
import time

from harness import Skip, check, command, equal, main, memimage, test, wait_for
from ledger import deposit, open_account
from publish_support import (PATIENCE, STREAM, check_states, check_stream, entries, fill, info, publishing, redis,
                             wait_published, wait_states)
from resp import Client, Closed, encode

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SEED = int(os.environ.get("SEED", str(random.SystemRandom().randrange(2**32))))
ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")


# What stands in the stream


@test("a thin entry says what happened, with the position as its id")
def thin_entries(context):
    target = redis(context)
    server = publishing(context, target)
    with server.client() as client:
        open_account(client, "a")
        open_account(client, "b")
        deposit(client, "a", 100, "@corr", "c1")
        client.call("DO", "account/a", "Transfer", "to", "b", "amount", 30)
    wait_published(server)
    rows = [("account.Opened", "a", 1), ("account.Opened", "b", 1), ("account.Deposited", "a", 2),
            ("account.TransferSent", "a", 3), ("account.TransferReceived", "b", 2)]
    wanted = [(f"{n}-0", {"id": str(n), "type": kind, "subject": f"account/{name}", "position": str(n),
                          "version": str(version)}) for n, (kind, name, version) in enumerate(rows, 1)]
    equal(entries(target), wanted, "the stream")
    about = target.call("HGETALL", f"{STREAM}:about")
    equal(about[2:6], ["stream", STREAM, "base", "0"], "what stands beside the stream")
    equal(target.call("KEYS", "*").sort(), [STREAM, f"{STREAM}:about"].sort(), "the keys of Redis")


@test("a fat entry carries the CloudEvent that JOURNAL shows")
def fat_entries(context):
    target = redis(context)
    server = publishing(context, target, "--publish-style", "fat")
    with server.client() as client:
        open_account(client, "a", owner='quote " and č')
        deposit(client, "a", 100, "@corr", "c1", "@by", "users/1")
        wait_published(server)
        events = client.call("JOURNAL")
    found = entries(target)
    equal([fields["event"] for _, fields in found], events, "the events")
    equal(found[1][1]["version"], "2", "the thin fields are there too")
    equal(json.loads(found[1][1]["event"])["correlationid"], "c1", "an extension")


@test("the audience that the model gives is in entries, CloudEvents and on channels of its own")
def audiences(context):
    target = redis(context)
    module = os.environ.get("NOTES_MODEL")
    if module is None:
        raise Skip("NOTES_MODEL is not set")
    server = publishing(context, target, "--model", module, "--publish-style", "fat", "--publish-audiences",
                        "--publish-channels", "--publish-state")
    with target.client() as listener, server.client() as client:
        listener.call("SUBSCRIBE", "memimage:audience:users:7")
        listener.call("SUBSCRIBE", "memimage:note")
        client.call("DO", "note/n-1", "Write", json.dumps({"text": "one", "readers": ["users:7", "educators:s-1"]}))
        client.call("DO", "note/n-2", "Write", "text", "two")
        client.call("DO", "note/n-1", "Write", json.dumps({"text": "three", "readers": ["users:8"]}))
        heard = [listener.read() for _ in range(4)]
        wait_states(server)
        journal = [json.loads(text) for text in client.call("JOURNAL")]
    equal([event.get("audience") for event in journal], ["users:7,educators:s-1", None, "users:8"], "the extension")
    found = entries(target)
    equal([fields.get("audience") for _, fields in found], ["users:7,educators:s-1", None, "users:8"], "the field")
    by_channel = {}
    for _, channel, text in heard:
        by_channel.setdefault(channel, []).append(json.loads(text)["position"])
    equal(by_channel, {"memimage:note": [1, 2, 3], "memimage:audience:users:7": [1]}, "who heard what")
    check_states(target, server, ["n-1", "n-2"], "note")


@test("a thin channel carries a small JSON object")
def thin_channels(context):
    target = redis(context)
    server = publishing(context, target, "--publish-channels")
    with target.client() as listener, server.client() as client:
        listener.call("SUBSCRIBE", "memimage:account")
        open_account(client, "a")
        equal(listener.read()[1:], ["memimage:account", '{"id":"1","type":"account.Opened","subject":"account/a",'
                                    '"position":1,"version":1}'], "the message")
        wait_published(server)
    equal(list(entries(target)[0][1]), ["id", "type", "subject", "position", "version"], "the entry stays thin")


@test("filters leave out events, and what is left has gaps that are none")
def filters(context):
    target = redis(context)
    server = publishing(context, target, "--publish-types", "account.Opened,TransferSent")
    fill(server, 1000)
    with server.client() as client:
        client.call("DO", "account/a-0", "Transfer", "to", "a-1", "amount", 1)
        fill(server, 500)
        wait_published(server)
        open_account(client, "late")
    wait_published(server)
    server.restart(crash=True)
    with server.client() as client:
        open_account(client, "later")
    wait_published(server)
    found = [(fields["type"], fields["subject"]) for _, fields in entries(target)]
    equal(found, [("account.Opened", "account/a-0"), ("account.Opened", "account/a-1"),
                  ("account.Opened", "account/a-2"), ("account.TransferSent", "account/a-0"),
                  ("account.Opened", "account/late"), ("account.Opened", "account/later")], "the entries")
    equal(info(server)["publish_gaps"], "0", "gaps")


@test("MAXLEN keeps the stream short, and a trimmed stream is no hole")
def maxlen(context):
    target = redis(context)
    server = publishing(context, target, "--publish-maxlen", "100")
    fill(server, 5000)
    last = wait_published(server)
    check(target.call("XLEN", STREAM) < 1000, "the stream is trimmed")
    server.restart()
    fill(server, 10)
    last = wait_published(server)
    found = entries(target)
    equal(found[-1][0], f"{last}-0", "the last entry")
    equal([name for name, _ in found], [f"{n}-0" for n in range(last - len(found) + 1, last + 1)], "no hole")
    equal(info(server)["publish_gaps"], "0", "gaps")


@test("the read model is what GET answers, hot aggregates included")
def read_model(context):
    target = redis(context)
    server = publishing(context, target, "--publish-state")
    names = fill(server, 3000, 50)
    stop = threading.Event()
    seen = []

    def watch():
        with target.client() as client:
            while not stop.is_set():
                text = client.call("GET", "account:hot")
                if text is not None:
                    seen.append(json.loads(text)["balance"])

    with server.client() as client:
        open_account(client, "hot")
        watcher = threading.Thread(target=watch)
        watcher.start()
        for _ in range(20):
            client.pipeline([("DO", "account/hot", "Deposit", "amount", 1)] * 500)
        stop.set()
        watcher.join()
    wait_states(server)
    check_states(target, server, [*names, "hot"])
    equal(seen, sorted(seen), "the balance seen never falls")
    target.call("DEL", "account:hot")
    with server.client() as client:
        deposit(client, "hot", 1)
    wait_states(server)
    check_states(target, server, ["hot"])


@test("the read model never goes backwards, whoever writes")
def read_model_versions(context):
    target = redis(context)
    server = publishing(context, target, "--publish-state")
    fill(server, 10, 2)
    wait_states(server)
    target.call("HSET", f"{STREAM}:versions", "account:a-0", "1000")  # as if a publisher far ahead had been here
    target.call("SET", "account:a-0", "newer")
    fill(server, 10, 2)
    wait_states(server)
    equal(target.call("GET", "account:a-0"), "newer", "the newer state")
    check_states(target, server, ["a-1"])


# Both sides killed


class Load(threading.Thread):
    """Pipelines of deposits, whatever happens to the server."""

    def __init__(self, server, seed):
        super().__init__(daemon=True)
        self.server, self.random, self.over = server, random.Random(seed), threading.Event()
        self.problem = None

    def run(self):
        while not self.over.is_set():
            try:
                with Client(self.server.port) as client:
                    while not self.over.is_set():
                        batch = [("DO", f"account/a-{self.random.randrange(20)}", "Deposit", "amount", 1)
                                 for _ in range(self.random.randrange(1, 100))]
                        client.send_raw(b"".join(encode(*words) for words in batch))
                        client.read_all(len(batch))
                        time.sleep(0.005)
            except (Closed, OSError, TypeError):
                time.sleep(0.02)


@test("Redis and the server are killed at random under load: every position once, in order; the read model is the image")
def crashes(context):
    target = redis(context, *ALWAYS)
    server = publishing(context, target, "--publish-state")
    names = fill(server, 20, 20)
    source = random.Random(SEED)
    print(f"# SEED={SEED} ROUNDS={ROUNDS}")
    load = Load(server, SEED)
    load.start()
    for _ in range(ROUNDS):
        time.sleep(source.random() * 0.4)
        kind = source.randrange(3)
        if kind != 0:
            target.kill()
        if kind != 1:
            server.restart(crash=True)
        if kind != 0:
            time.sleep(source.random() * 0.3)
            target.start()
        wait_for(lambda: info(server)["publish_state"] == "live" or None, PATIENCE, "publication after a crash")
    load.over.set()
    load.join()
    wait_states(server)
    found = check_stream(target, server)
    check_states(target, server, names)
    equal(info(server)["publish_gaps"], "0", "gaps")
    print(f"# {len(found)} entries")


# The command line, and the README's consumers


@test("wrong options stop the start with exit status 1 and a sentence")
def wrong_options(context):
    for words, text in (
        (["--publish", "http://x"], "--publish"),
        (["--publish", "rediss://x"], "TLS"),
        (["--publish-style", "slim"], "thin or fat"),
        (["--publish-on-gap", "hope"], "stop, refill or new-stream"),
        (["--publish", "redis://x", "--publish-stream", "a b"], "--publish-stream"),
        (["--publish", "redis://x", "--publish-types", "account.Nothing"], "account.Nothing"),
        (["--publish", "redis://x", "--publish-aggregates", "account,zebra"], "zebra"),
    ):
        status, _, err = memimage("serve", "--dir", os.path.join(context.scratch(), "d"), "--port", "0", *words)
        equal(status, 1, f"exit status of {words}")
        check(text in err, f"{words}: {err}")


@test("without --publish there is nothing to do, and INFO says so")
def off(context):
    server = context.server()
    equal(info(server), {"publish_state": "off"}, "INFO publish")
    check(not os.path.exists(os.path.join(server.directory, "publish.state")), "no memory file")


@test("a consumer group reads what is published, by redis-cli, as the README shows it")
def consumer_group(context):
    if shutil.which("redis-cli") is None:
        raise Skip("redis-cli is not installed")
    target = redis(context)
    server = publishing(context, target, "--publish-state")

    def cli(*words):
        status, out, err = command("redis-cli", "-p", target.port, "--raw", *words)
        equal(status, 0, err)
        return out.splitlines()

    equal(cli("XGROUP", "CREATE", STREAM, "mailer", "0", "MKSTREAM"), ["OK"], "the group")
    with server.client() as client:
        open_account(client, "alice", owner="Alice")
        deposit(client, "alice", 5000)
    wait_states(server)
    read = cli("XREADGROUP", "GROUP", "mailer", "worker-1", "COUNT", "10", "STREAMS", STREAM, ">")
    equal(read[:4], [STREAM, "1-0", "id", "1"], "the first entry")
    check("account.Deposited" in read, "the second entry")
    equal(cli("XACK", STREAM, "mailer", "1-0", "2-0"), ["2"], "acknowledged")
    equal(cli("XREADGROUP", "GROUP", "mailer", "worker-1", "COUNT", "10", "STREAMS", STREAM, ">"), [""], "no more")
    equal(json.loads(cli("GET", "account:alice")[0])["balance"], 5000, "the read model")
    equal(cli("HGET", f"{STREAM}:versions", "account:alice"), ["2"], "its version")


if __name__ == "__main__":
    sys.exit(main())
