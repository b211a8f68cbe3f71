# SPDX-License-Identifier: MIT
# A small RESP2/RESP3 client for the black-box tests: blocking with deadlines, pipelining, push messages, and every
# RESP3 type told apart, so that a test can see exactly what came over the wire. Python standard library only.
"""RESP2/RESP3 client of the black-box tests."""

import collections
import math
import socket
import time


class RespError(Exception):
    """An error reply: `code` is its first word, `text` all of it."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text
        self.code = text.split(" ", 1)[0]

    def __eq__(self, other):
        return isinstance(other, RespError) and self.text == other.text

    def __hash__(self):
        return hash(self.text)


class ProtocolError(Exception):
    """The server sent what no RESP server may send."""


class Closed(Exception):
    """The server closed the connection."""


class Simple(str):
    """A simple string (+OK), to be told from a bulk string."""


class Verbatim(str):
    """A RESP3 verbatim string; `form` is its three letters."""

    form = "txt"


class Push(list):
    """A RESP3 push message."""


class Set(list):
    """A RESP3 set, in the order in which it came."""


def encode(*words):
    """One command as a RESP array of bulk strings."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode("utf-8", "surrogateescape")
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


class Client:
    """One connection. `call` raises error replies, `ask` returns them as RespError objects."""

    def __init__(self, port=None, host="127.0.0.1", path=None, timeout=20.0):
        self.timeout = timeout
        if path is not None:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(timeout)
            self.socket.connect(path)
        else:
            self.socket = socket.create_connection((host, port), timeout=timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.used = 0
        self.pushes = collections.deque()
        self.attributes = []

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.socket.close()

    # Sending

    def send_raw(self, data):
        self.socket.settimeout(self.timeout)
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed(str(error)) from error

    def send(self, *words):
        self.send_raw(encode(*words))

    # Receiving

    def _fill(self, deadline):
        if self.used > 1 << 16:
            del self.buffer[: self.used]
            self.used = 0
        self.socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError as error:
            raise Closed(str(error)) from error
        if not data:
            raise Closed("end of stream")
        self.buffer += data

    def _line(self, deadline):
        while True:
            end = self.buffer.find(b"\r\n", self.used)
            if end >= 0:
                line = bytes(self.buffer[self.used : end])
                self.used = end + 2
                return line
            self._fill(deadline)

    def _bytes(self, size, deadline):
        while len(self.buffer) - self.used < size + 2:
            self._fill(deadline)
        data = bytes(self.buffer[self.used : self.used + size])
        if self.buffer[self.used + size : self.used + size + 2] != b"\r\n":
            raise ProtocolError("a bulk string without CRLF at its end")
        self.used += size + 2
        return data.decode("utf-8", "surrogateescape")

    def _size(self, text):
        size = int(text)
        if size < -1:
            raise ProtocolError(f"a size of {size}")
        return size

    def _value(self, deadline):
        line = self._line(deadline)
        if not line:
            raise ProtocolError("an empty line")
        kind = line[:1]
        text = line[1:].decode("utf-8", "surrogateescape")
        reader = _READERS.get(kind)
        if reader is None:
            raise ProtocolError(f"unknown type {line[:80]!r}")
        return reader(self, text, deadline)

    def _bulk(self, text, deadline):
        size = self._size(text)
        return None if size < 0 else self._bytes(size, deadline)

    def _verbatim(self, text, deadline):
        data = self._bytes(self._size(text), deadline)
        value = Verbatim(data[4:])
        value.form = data[:3]
        return value

    def _blob_error(self, text, deadline):
        return RespError(self._bytes(self._size(text), deadline))

    def _list(self, text, deadline, kind=list):
        size = self._size(text)
        return None if size < 0 else kind(self._value(deadline) for _ in range(size))

    def _map(self, text, deadline):
        return {_key(self._value(deadline)): self._value(deadline) for _ in range(self._size(text))}

    def _attribute(self, text, deadline):
        self.attributes.append(self._map(text, deadline))
        return self._value(deadline)

    def read(self, timeout=None):
        """The next reply; push messages on the way go to `pushes`."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            value = self._value(deadline)
            if not isinstance(value, Push):
                return value
            self.pushes.append(value)

    def read_push(self, timeout=None):
        """The next push message, whether it came already or not."""
        if self.pushes:
            return self.pushes.popleft()
        value = self._value(time.monotonic() + (self.timeout if timeout is None else timeout))
        if not isinstance(value, Push):
            raise ProtocolError(f"a reply where a push was awaited: {value!r}")
        return value

    def read_all(self, count, timeout=None):
        return [self.read(timeout) for _ in range(count)]

    def read_until_closed(self, timeout=None):
        """All replies until the server closes; raises TimeoutError when it does not."""
        replies = []
        while True:
            try:
                replies.append(self.read(timeout))
            except Closed:
                return replies

    # Both

    def ask(self, *words, timeout=None):
        self.send(*words)
        return self.read(timeout)

    def call(self, *words, timeout=None):
        reply = self.ask(*words, timeout=timeout)
        if isinstance(reply, RespError):
            raise reply
        return reply

    def ask_raw(self, *words):
        """Sends a command and returns the first line of the reply as it came, without CRLF."""
        self.send(*words)
        return self._line(time.monotonic() + self.timeout)

    def pipeline(self, commands, window=512):
        """Sends many commands ((word, ...) each) with at most `window` unanswered; returns all replies."""
        commands = list(commands)
        replies = []
        for start in range(0, len(commands), window):
            part = commands[start : start + window]
            self.send_raw(b"".join(encode(*words) for words in part))
            replies.extend(self.read_all(len(part)))
        return replies

    def hello(self, version):
        return self.call("HELLO", version)


def _key(value):
    return tuple(value) if isinstance(value, list) else value


def _double(text):
    return math.inf if text == "inf" else -math.inf if text == "-inf" else float(text)


_READERS = {
    b"+": lambda client, text, deadline: Simple(text),
    b"-": lambda client, text, deadline: RespError(text),
    b":": lambda client, text, deadline: int(text),
    b"$": lambda client, text, deadline: client._bulk(text, deadline),
    b"*": lambda client, text, deadline: client._list(text, deadline),
    b"_": lambda client, text, deadline: None,
    b",": lambda client, text, deadline: _double(text),
    b"#": lambda client, text, deadline: {"t": True, "f": False}[text],
    b"!": lambda client, text, deadline: client._blob_error(text, deadline),
    b"=": lambda client, text, deadline: client._verbatim(text, deadline),
    b"(": lambda client, text, deadline: int(text),
    b"~": lambda client, text, deadline: client._list(text, deadline, Set),
    b"%": lambda client, text, deadline: client._map(text, deadline),
    b">": lambda client, text, deadline: client._list(text, deadline, Push),
    b"|": lambda client, text, deadline: client._attribute(text, deadline),
}
