# SPDX-License-Identifier: MIT
# A model of somebody else: memimage installed into a directory of its own, examples/cart built against the installed
# headers by the command that its first lines give, served by the installed binary, and used through the wire.
"""Black-box test of models built outside the tree."""

import json
import os
import re
import shutil
import subprocess
import sys

from harness import BINARY, ROOT, Skip, check, command, equal, main, rejected, test
from ledger import digest

BUILD = os.path.dirname(BINARY)
EXAMPLE = os.path.join(ROOT, "examples", "cart", "cart.c")


class Installed:
    """memimage in a directory of its own, and the cart built against it there."""

    def __init__(self, t):
        for tool in ("meson", "pkg-config", "cc"):
            if shutil.which(tool) is None:
                raise Skip(f"{tool} is not installed")
        self.root = os.path.join(t.scratch(), "root")
        status, out, err = command("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", self.root)
        equal(status, 0, f"meson install: {out}{err}")
        self.binary = self.find("memimage", "bin")
        description = os.path.dirname(self.find("memimage.pc", "pkgconfig"))
        self.env = {"PKG_CONFIG_PATH": description, "PKG_CONFIG_SYSROOT_DIR": self.root,
                    "PATH": os.path.dirname(self.binary) + os.pathsep + os.environ["PATH"]}
        self.folder = t.scratch()

    def find(self, name, folder):
        for place, _, names in os.walk(self.root):
            if name in names and os.path.basename(place) == folder:
                return os.path.join(place, name)
        raise AssertionError(f"nothing called {name} was installed")

    def shell(self, text):
        """A command as an outsider types it, in a folder that holds a copy of the example and nothing of the tree."""
        done = subprocess.run(["sh", "-ec", text], cwd=self.folder, env=dict(os.environ, **self.env), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
        equal(done.returncode, 0, f"{text}\n{done.stdout}")
        return done.stdout

    def cart(self, replace=()):
        """Builds the example, with some of its text replaced, and returns the shared object's path."""
        with open(EXAMPLE, encoding="utf-8") as handle:
            text = handle.read()
        line = re.search(r"^//\s+(cc .*) && memimage serve --model \./cart\.so$", text, re.MULTILINE)
        check(line, "the example's first lines say how to build and serve it")
        for old, new in replace:
            check(old in text, f"the example holds {old!r}")
            text = text.replace(old, new)
        with open(os.path.join(self.folder, "cart.c"), "w", encoding="utf-8") as handle:
            handle.write(text)
        equal(self.shell(line.group(1) + " -std=c11 -pedantic -Wall -Wextra -Werror"), "", "what the compiler says")
        return os.path.join(self.folder, "cart.so")

    def serve(self, t, model, directory=None):
        server = t.new_server(directory=directory, args=("--model", model), binary=self.binary)
        return server.start()


def query(client):
    return json.loads(client.call("QUERY", "cart", "InCarts"))


@test("the cart is built against the installed headers, served by --model, and lives through kill -9 and a snapshot")
def cart(t):
    installed = Installed(t)
    model = installed.cart()
    server = installed.serve(t, model)
    with server.client() as c:
        equal(c.call("DO", "cart/ann", "Add", "item", "tea", "count", 3), [1, 1], "three of tea")
        equal(c.call("DO", "cart/ann", "Add", "item", "milk"), [2, 2], "the default is one piece")
        equal(c.call("DO", "cart/bob", "Add", '{"item":"tea","count":2}'), [1, 3], "as JSON")
        equal(json.loads(c.call("GET", "cart/ann")), {"items": {"tea": 3, "milk": 1}, "checked_out": False}, "the cart")
        equal(query(c), {"tea": 5, "milk": 1}, "what is in all carts")
        rejected(c.ask("DO", "cart/ann", "Remove", "item", "tea", "count", 4), "NOT_IN_CART")
        rejected(c.ask("DO", "cart/ann", "Add", "item", "tea", "count", 998), "TOO_MANY")
        rejected(c.ask("DO", "cart/eve", "CheckOut"), "EMPTY")
        check(c.ask("DO", "cart/ann", "Add", "item", "").text.startswith("BADARG"), "an item has a name")
        equal(c.call("DO", "cart/ann", "Remove", "item", "tea", "count", 3), [3, 4], "all tea out again")
        equal(json.loads(c.call("GET", "cart/ann"))["items"], {"milk": 1}, "an item of which there is none is gone")
        equal(c.call("DO", "cart/bob", "CheckOut", "@id", "order-1"), [2, 5], "bob checks out")
        equal(c.call("DO", "cart/bob", "CheckOut", "@id", "order-1"), [2, 5], "the same, asked twice")
        rejected(c.ask("DO", "cart/bob", "Add", "item", "tea"), "CHECKED_OUT")
        equal(query(c), {"milk": 1}, "an order is in no cart")
        live = digest(c)
    server.restart(crash=True)
    with server.client() as c:
        equal(digest(c), live, "the digest after kill -9")
        equal(query(c), {"milk": 1}, "the projection after kill -9")
        equal(c.call("SNAPSHOT"), 5, "a snapshot, made by a process of its own with the same model")
        equal(c.call("DO", "cart/ann", "Add", "item", "jam", "count", 7), [4, 6], "life goes on")
        live = digest(c)
    server.restart()
    with server.client() as c:
        check("events_replayed=1 " in server.stderr(), f"the snapshot is used: {server.stderr()}")
        equal(digest(c), live, "the digest after a start from the snapshot")
        equal(query(c), {"milk": 1, "jam": 7}, "the projection after a start from the snapshot")
    equal(server.stop(), 0, "exit status")
    out = installed.shell(f"memimage digest --from-scratch --model ./cart.so --dir '{server.directory}'")
    equal(out.split(), [str(live[0]), live[1]], "memimage digest --from-scratch")


@test("a model built for another version of the interface is refused with a sentence, and nothing is begun")
def other_abi(t):
    installed = Installed(t)
    model = installed.cart([("MIM_MODEL_ABI, 1", "MIM_MODEL_ABI + 1, 1")])
    directory = os.path.join(t.scratch(), "data")
    status, _, err = command(installed.binary, "serve", "--model", model, "--dir", directory, "--port", "0")
    equal(status, 1, "exit status")
    check("built for interface version 2, this program has 1" in err, err)
    check(not os.path.exists(os.path.join(directory, "journal")), "no journal was begun")


@test("a file that is no model, or none at all, is refused with a sentence")
def no_model(t):
    installed = Installed(t)
    model = installed.cart([("MIM_MODEL_EXPORT(model)", "const void *unused = &model;")])
    for path, words in ((model, "MIM_MODEL_EXPORT"), ("./nowhere.so", "no such file"), (EXAMPLE + "/", "no such file"),
                        (os.path.join(ROOT, "README.md"), "README.md"), ("shop", "no built-in model")):
        status, _, err = command(installed.binary, "digest", "--model", path, "--dir", t.scratch())
        equal(status, 1, f"exit status for {path}")
        check(words in err, f"{path}: {err}")


@test("every function that the installed headers declare is there for a model, and in the library")
def complete(t):
    installed = Installed(t)
    declared = {"model.h": [], "memimage.h": []}
    for header, names in declared.items():
        with open(installed.find(header, "memimage"), encoding="utf-8") as handle:
            names += re.findall(r"^MIM_PUBLIC [^;{]*?\b(mim_\w+|memimage_\w+)\(", handle.read(), re.MULTILINE)
        check(len(names) > 8, f"{header} declares functions")
    library = os.path.join(os.path.dirname(os.path.dirname(installed.find("memimage.pc", "pkgconfig"))),
                           "libmemimage.so")
    for path, names in ((installed.binary, declared["model.h"]), (library, sum(declared.values(), []))):
        status, out, err = command("nm", "-D", "--defined-only", path)
        equal(status, 0, err)
        defined = {line.split()[-1] for line in out.splitlines()}
        equal([name for name in names if name not in defined], [], f"declared, but not in {os.path.basename(path)}")


if __name__ == "__main__":
    sys.exit(main())
