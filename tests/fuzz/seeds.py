# SPDX-License-Identifier: MIT
# Writes the first inputs of every fuzz target into tests/fuzz/corpus: what a client sends, what a journal holds. Journals
# are written by make-journal (build/tests/fuzz, or $MAKE_JOURNAL). Run by hand after a format has changed; what fuzzing
# found worth keeping stands beside them (tests/fuzz/run --merge).
"""Usage: seeds.py [TARGET...]"""

import os
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MAKE_JOURNAL = os.environ.get("MAKE_JOURNAL", os.path.join(HERE, "..", "..", "build", "tests", "fuzz", "make-journal"))

# Field types and flags of memimage/model.h, as descriptor.h reads them: type - 1, flags.
BOOL, I32, I64, U64, F64, STRING, BYTES, TIMESTAMP = range(8)
EPOCH_FRAME = 2  # MIM_FRAME_EPOCH
OPTIONAL, LIST, LETTERS, IDENTIFIER = 1, 2, 4, 8


def descriptor(*fields):
    return bytes([len(fields)]) + b"".join(bytes(field) for field in fields)


def request(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def resp():
    deposit = request(b"DO", b"account/a", b"Deposit", b"amount", b"5", b"@id", b"k1")
    texts = [
        request(b"PING"),
        deposit * 3,
        b"PING\r\nECHO \"a\\x41 b\\n\" 'it\\'s'   plain\n\r\n",
        b"*0\r\n*-1\r\n*1\r\n$0\r\n\r\n",
        b"*2\r\n$4\r\nECHO\r\n$7\r\n\r\n$3\r\n*\r\n",
        b"*1000000000\r\n$5\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        request(b"MGET", *[b"account/%d" % n for n in range(40)]),
        request(b"DO", b"account/a", b"Open", b'{"owner":"o","currency":"CZK"}'),
        request(b"ECHO", b"x" * 30),
    ]
    for number, text in enumerate(texts):
        yield f"seed-{number}", bytes([0, number]) + text
        yield f"seed-small-{number}", bytes([0x71, 255 if number % 2 else 3]) + text


def json():
    flat = descriptor((BOOL, 0), (I32, 0), (I64, OPTIONAL | 16), (U64, 0), (F64, 0), (STRING, 0), (BYTES, OPTIONAL),
                      (TIMESTAMP, 0))
    lists = descriptor((I64, LIST), (STRING, LIST), (BYTES, LIST | OPTIONAL), (F64, LIST), (BOOL, LIST))
    account = descriptor((STRING, 0), (STRING, LETTERS), (I64, OPTIONAL | 64), (STRING, IDENTIFIER))
    texts = [
        (flat, b'{"a":true,"b":-5,"c":7,"d":18446744073709551615,"e":1.5e300,"f":"x\\u00e9\\ud83d\\ude00\\n",'
               b'"g":"AAEC","h":"2026-11-20T10:11:12.345Z"}'),
        (flat, b'{"a":false,"b":1,"d":0,"e":-0.0,"f":"","h":1700000000000}'),
        (lists, b'{"a":[1,2,3],"b":["x","","\\"y"],"d":[1,2.5],"e":[true,false]}'),
        (lists, b'{"a":[],"b":[],"c":["AA=="],"d":[],"e":[]}'),
        (account, b'{"a":"owner","b":"CZK","c":100,"d":"a-1"}'),
        (account, b'{"a":"owner","a":"again"}'),
        (account, b'[' * 100),
    ]
    for number, (fields, text) in enumerate(texts):
        yield f"seed-{number}", bytes([2]) + fields + text
    pairs = [
        (flat, [b"a", b"true", b"b", b"-5", b"d", b"9", b"e", b"2.5e3", b"f", b"text", b"h", b"2026-11-20T10:11:12Z"]),
        (flat, [b"a", b"0", b"b", b"2147483647", b"d", b"9", b"e", b"nan", b"f", b"", b"g", b"raw", b"h", b"0"]),
        (lists, [b"a", b"[1,2]", b"b", b"x", b"b", b"y", b"d", b"1", b"e", b"true"]),
        (account, [b"a", b"o", b"b", b"CZK", b"d", b"id"]),
    ]
    for number, (fields, words) in enumerate(pairs):
        yield f"seed-pairs-{number}", bytes([3]) + fields + b"\0".join(words) + b"\0"


def payload():
    def text(value):
        return struct.pack("<I", len(value)) + value

    flat = descriptor((BOOL, 0), (I32, 0), (I64, OPTIONAL | 16), (U64, 0), (F64, 0), (STRING, 0), (BYTES, OPTIONAL),
                      (TIMESTAMP, 0))
    yield "seed-0", flat + struct.pack("<BiqQd", 1, -5, 7, 2**64 - 1, 1.5) + text(b"x") + text(b"\0\1") + struct.pack("<q", 5)
    yield "seed-1", flat + struct.pack("<Bi", 1, 3)
    yield "seed-2", flat + struct.pack("<BiqQd", 1, 2, 3, 4, float("nan")) + text(b"") + b"\xff\xff\xff\xff" + struct.pack("<q", -1)
    lists = descriptor((I64, LIST), (STRING, LIST), (BOOL, LIST), (BYTES, LIST | OPTIONAL))
    yield "seed-3", lists + struct.pack("<Iqq", 2, 1, 2) + struct.pack("<I", 2) + text(b"a") + text(b"bc") + struct.pack("<I??", 2, True, False)
    yield "seed-4", lists + struct.pack("<I", 0xFFFFFFFF)
    yield "seed-5", descriptor() + b""


def record(type_number, flags, body, parts=b"", offset=64, version=1, index=0):
    out = struct.pack("<IHHIIQIIHHHH", len(body), type_number, flags, 0, version, 0, offset, 0, index, 0, 1, 0) + body
    out += bytes(-len(out) % 8)
    if parts:
        out += struct.pack("<I", len(parts)) + parts
        out += bytes(-len(out) % 8)
    return out


def frame():
    def head(kind, size, events):
        return b"MIMF" + struct.pack("<BBHIIQQqIIQQ", kind, 1, 0, size, events, 1, 0, 1000, 1, 0, 7, 0)

    define = bytes([2, 1]) + struct.pack("<HHHIH", 1, 1, 0, 1, 6) + b"Opened" + bytes([6, 1, 1]) + b"o" + bytes(8)
    body = record(0xFF01, 0, define)
    body += record(1, 3 | 8 | 32, b"\5\0\0\0owner", struct.pack("<I", 3) + b"a-1" + struct.pack("<IIs", 5, 1, b"k"), 64 + len(body))
    body += record(1, 3, bytes(16), offset=64 + len(body), version=2, index=1)
    yield "seed-data", bytes([1]) + struct.pack("<I", 999) + head(1, 64 + len(body), 2) + body
    yield "seed-epoch", bytes([1]) + struct.pack("<I", 5) + head(2, 64, 0)
    yield "seed-raw", bytes([0]) + struct.pack("<I", 5) + head(1, 64 + len(body), 2) + body
    yield "seed-record", bytes([0]) + struct.pack("<I", 5) + body
    yield "seed-definition", bytes([0]) + struct.pack("<I", 5) + define


def time():
    for number, text in enumerate([b"2026-11-20T10:11:12.345Z", b"1969-12-31t23:59:60z", b"0000-01-01 00:00:00+23:59",
                                   b"9999-12-31T23:59:59.999999999-23:59", b"2024-02-29T00:00:00.1+01:00", b"2023-02-29T00:00:00Z"]):
        yield f"seed-{number}", text


def text():
    for number, value in enumerate(["a-1", "ž", "😀 x", "a\x7fb", "QUJD", "QUI=", "QQ=="]):
        yield f"seed-{number}", value.encode()
    yield "seed-overlong", b"\xc0\x80"
    yield "seed-surrogate", b"\xed\xa0\x80"
    yield "seed-long", b"x" * 257


def config():
    lines = b"# comment\ndir = /var/lib/x # where\nport 7411\nmemory-limit 2g\nkeep-commands yes\ndurability interval:100\n"
    yield "seed-file", b"\1" + lines
    yield "seed-quotes", b"\1dir \"a b\"\nport='12'\n\n  durability\tfsync\n"
    yield "seed-words", b"\0--dir\n/tmp/x\n--port=12\n--memory-limit\n1k\n--keep-commands\n--durability\nnone\nrest"
    yield "seed-bad", b"\1port 99999999999999999999\n"
    yield "seed-zero", b"\1port 1\0"
    yield "seed-end", b"\0--\n--port\n-x"


def journals():
    """(name, segments in order, each (header, frames)) of the histories that make-journal writes."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([MAKE_JOURNAL, scratch], check=True)
        for name in sorted(os.listdir(scratch)):
            folder = os.path.join(scratch, name, "journal")
            segments = []
            for file in sorted(file for file in os.listdir(folder) if file.endswith(".journal")):
                with open(os.path.join(folder, file), "rb") as handle:
                    data = handle.read()
                frames = data[4096:].rstrip(b"\0")
                segments.append((data[:80], frames + bytes(-len(frames) % 8)))
            yield name, segments


def records(frames):
    """(offset, type, payload size) of every record in the frames of a segment."""
    frame = 0
    while frame < len(frames):
        size = struct.unpack_from("<I", frames, frame + 8)[0]
        at = frame + 64
        while at < frame + size:
            payload, kind, flags = struct.unpack_from("<IHH", frames, at)
            yield at, kind, payload
            at += (40 + payload + 7) // 8 * 8
            if flags & 0xFFF8:
                at += (4 + struct.unpack_from("<I", frames, at)[0] + 7) // 8 * 8
        frame += size


def forged(frames):
    """The same frames with every lone amount as large as can be: sums overflow."""
    out = bytearray(frames)
    for at, kind, payload in records(frames):
        if kind < 0xFF00 and payload == 8:
            struct.pack_into("<q", out, at + 40, 2**63 - 1)
    return bytes(out)


def journal():
    def packed(flags, segments, segment_flags):
        out = bytes([flags, len(segments) - 1])
        for head, frames in segments:
            out += bytes([segment_flags]) + struct.pack("<H", len(frames)) + head + frames
        return out

    for name, segments in journals():
        segments = segments[:3]
        yield f"seed-{name}", packed(1 | 4, segments, 1 | 2 | 4)
        yield f"seed-{name}-raw", packed(1, segments, 4)
        yield f"seed-{name}-forged", packed(1 | 4, [(head, forged(frames)) for head, frames in segments], 1 | 2 | 4)
        if len(segments) == 1:
            head, frames = segments[0]
            for cut in (8, 30, 64, 100, len(frames) // 2):
                yield f"seed-{name}-cut-{cut}", packed(1, [(head, frames[:-cut])], 4)
            yield f"seed-{name}-mark", packed(1 | 2, segments, 1 | 2) + struct.pack("<HB", 4096, 1)
            yield f"seed-{name}-garbled", packed(1, [(head, frames[:-20] + b"garbled" + frames[-13:])], 4)


def snapshot():
    def patched(flags, *patches, cut=0):
        return bytes([flags]) + struct.pack("<I", cut) + b"".join(
            struct.pack("<IB", offset, len(data)) + data for offset, data in patches)

    yield "seed-untouched", patched(0)
    yield "seed-image", patched(0, (5000, b"x"))
    yield "seed-cut", patched(2, cut=70000)
    for offset in (8, 12, 16, 32, 40, 48, 56, 64, 68, 72, 88, 96, 104, 112, 120, 128, 200):
        yield f"seed-header-{offset}", patched(1, (offset, b"\1\2\3\4"))
        yield f"seed-header-{offset}-high", patched(1, (offset, b"\xff" * 8))


def load():
    lines = [
        b'{"do":"account/a","command":"Open","data":{"owner":"o","currency":"CZK"}}',
        b'{"do":"account/a","command":"Deposit","data":{"amount":5,"note":"\\u00e9\\n"},"id":"k","if":3,"corr":"c","by":"x"}',
        b'{"command":"Close","do":"account/a"}',
        b' { "do" : "account/a" , "command" : "X" , "data" : { "n" : [1,2.5,{"x":null}], "e":-1e-5 , "big":9223372036854775807 } } ',
        b'{"do":"a/b","command":"C","data":{"a":1,"a":2}}',
        b'{"do":"a/b","command":"C","cause":null,"id":7}',
        b"[]",
        b'{"do":"a/b","command":"C","data":{"n":9223372036854775808}}',
    ]
    for number, line in enumerate(lines):
        yield f"seed-{number}", line


def engine():
    def steps(*rows):
        return b"".join(bytes(row) for row in rows)

    open_two = [(0, 0, 0, 5, 1, 1), (0, 1, 0, 0, 0, 8), (0, 2, 1, 0, 0, 0)]
    money = [(1, 0, 0, 5, 2, 1), (1, 0, 0, 5, 2, 1), (3, 0, 1, 4, 3, 9), (2, 1, 0, 2, 0, 0), (2, 1, 0, 6, 0, 8)]
    yield "seed-plain", steps(*open_two, *money)
    yield "seed-restarts", steps(*open_two, (255, 0, 0, 0, 0, 0), *money, (251, 0, 0, 0, 0, 0), (1, 0, 0, 5, 5, 1), (254, 0, 0, 0, 0, 0), *money)
    yield "seed-snapshots", steps(*open_two, (253, 0, 0, 0, 0, 0), *money, (254, 0, 0, 0, 0, 1), *money, (253, 0, 0, 0, 0, 0), (255, 0, 0, 0, 0, 1), *money)
    yield "seed-overflow", steps(*open_two, (1, 0, 0, 6, 0, 0), (1, 0, 0, 2, 0, 0), (1, 1, 0, 2, 0, 0), (3, 0, 1, 6, 0, 0), (0, 3, 0, 6, 0, 0), (2, 3, 0, 6, 0, 0))
    yield "seed-window", steps(*open_two, *[(1, 0, 0, 2, n, 1) for n in range(1, 90)],
                               *[(1, 0, 0, 2, n, 1) for n in range(30, 90)], (255, 0, 0, 0, 0, 0),
                               *[(1, 0, 0, 2, n, 1) for n in range(20, 90)], (254, 0, 0, 0, 0, 0))
    yield "seed-expected", steps(*open_two, (1, 0, 0, 2, 0, 6 | 16), (1, 0, 0, 2, 0, 6 | 16), (4, 1, 0, 0, 0, 6 | 16), (4, 1, 0, 0, 0, 0), (252, 0, 0, 0, 0, 0))


def replica():
    """Conversations: a step is a number and what follows it; see target_replica.c."""
    def welcome(which, epoch=2):
        return bytes([0, which]) + struct.pack("<H", epoch)

    def frames(data):
        return bytes([1]) + struct.pack("<H", len(data)) + data

    def push(which, number=0, more=(0, 0)):
        return bytes([3, which]) + struct.pack("<H", number) + bytes(more) if which < 128 else bytes([3, which, *more])

    def file(step, kind, size):
        return bytes([step, kind]) + struct.pack("<H", size)

    def lives(data):
        """The standby has had the first life of "lives"; the primary sends the others."""
        at, epochs = 0, 0
        while data[at + 4] != EPOCH_FRAME or epochs == 0:
            epochs += data[at + 4] == EPOCH_FRAME
            at += struct.unpack_from("<I", data, at + 8)[0]
        return data[at:]

    rest = lives(dict(journals())["lives"][0][1])
    for flags in (0, 8):
        yield f"seed-stream-{flags}", bytes([flags]) + welcome(0) + push(0, 5) + frames(rest) + push(128) + push(129) + push(130)
        yield f"seed-forged-{flags}", bytes([flags]) + welcome(0) + frames(forged(rest))
        yield f"seed-handover-{flags}", bytes([flags]) + welcome(0) + frames(rest) + push(131)
        yield f"seed-halves-{flags}", bytes([flags]) + welcome(0) + frames(rest[:64]) + push(129) + frames(rest[64:])
    yield "seed-auth", bytes([2, 9]) + welcome(0) + push(1, 9)
    yield "seed-refused", bytes([2, 8, 1])
    for flags in (0, 1, 4, 8):
        yield f"seed-foreign-{flags}", bytes([flags]) + welcome(3)
        yield f"seed-newer-{flags}", bytes([flags]) + welcome(4)
        yield f"seed-probe-{flags}", bytes([flags]) + welcome(2) + bytes([7, 255, 7, 0, 7, 1, 7, 0])
        yield f"seed-probe-common-{flags}", bytes([flags]) + welcome(2) + bytes([7, 0, 7, 0, 7, 0])
        yield f"seed-copy-{flags}", (bytes([flags]) + welcome(1) + bytes([4, 0, 2]) + file(5, 4, 5000) + file(5, 9, 300) +
                                     file(6, 1, 5000) + file(6, 2, 300))
    yield "seed-raw", bytes([0, 2]) + struct.pack("<HH", 4096, 10) + b"0123456789" + bytes([10, 3]) + b"$1\r"


def answer():
    """What standbys say: see target_answer.c."""
    replicate = b"REPLICATE 1 @h @e @l @c @p 7000 00112233445566778899aabbccddeeff"
    lines = {
        "continue": [replicate, b"REPLACK @l @p", b"REPLACK 4096 0"],
        "beginning": [b"REPLICATE 1 @h 1 4096 0 0 1", b"REPLPROBE @l @c 4096 00", b"REPLPROBE 4096 ff"],
        "new": [b"REPLICATE 1 ? 0 0 0 0 1", b"REPLFILES all", b"REPLFILES tail", b"REPLREAD @s 0 4096", b"REPLREAD @s 4096 100"],
        "foreign": [b"REPLICATE 1 ffffffffffffffffffffffffffffffff 1 4096 0 0 1"],
        "newer": [b"REPLICATE 1 @h 99 @l @c @p 1"],
        "ahead": [b"REPLICATE 1 @h @e 99999999 @c @p 1"],
        "early": [b"REPLFILES all", b"REPLREAD @s 0 1", b"REPLPROBE 1 2", b"REPLACK 1 1"],
        "bad": [b"REPLICATE 2 ? 0 0 0 0 1", b"REPLICATE 1 x 0 0 0 0 1", replicate, replicate, b"REPLREAD ../x 0 1",
                b"REPLREAD @s 0 99999999", b"REPLREAD @s 18446744073709551615 1", b"REPLPROBE 1", b"LATER"],
    }
    for name, said in lines.items():
        for flags in (0, 1):
            yield f"seed-{name}-{flags}", bytes([flags]) + b"\n".join(said) + b"\n"


TARGETS = {"answer": answer, "replica": replica, "resp": resp, "json": json, "payload": payload, "frame": frame, "time": time, "text": text,
           "config": config, "journal": journal, "snapshot": snapshot,
           "load": load, "engine": engine}


def main(words):
    for name in words or TARGETS:
        folder = os.path.join(HERE, "corpus", name)
        os.makedirs(folder, exist_ok=True)
        count = 0
        for seed, data in TARGETS[name]():
            with open(os.path.join(folder, seed), "wb") as handle:
                handle.write(data)
            count += 1
        print(f"{name}: {count} seeds")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
