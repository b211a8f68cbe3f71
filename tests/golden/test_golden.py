# SPDX-License-Identifier: MIT
# Every released journal and snapshot format keeps loading: the samples in snapshots/ are never regenerated. Each has its
# digest beside it, reached from the snapshot plus tail, and from the whole journal; and each can be served and go on.
"""Golden test of the formats."""

import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "black-box"))

from harness import check, equal, main, memimage, test  # noqa: E402
from ledger import digest, open_account  # noqa: E402

SAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "snapshots")
NAMES = sorted(name for name in os.listdir(SAMPLES) if os.path.isdir(os.path.join(SAMPLES, name)))


def copy_of(t, name):
    target = os.path.join(t.scratch(), "data")
    shutil.copytree(os.path.join(SAMPLES, name), target)
    with open(os.path.join(target, "DIGEST"), encoding="ascii") as handle:
        return target, handle.read().split()


for sample in NAMES:

    @test(f"{sample} restores from its snapshot and from its journal alone")
    def restores(t, name=sample):
        target, wanted = copy_of(t, name)
        status, out, err = memimage("digest", "--dir", target)
        equal((status, out.split()), (0, wanted), f"from the snapshot: {err}")
        equal(err, "", "the snapshot is used, none is skipped")
        status, out, err = memimage("digest", "--dir", target, "--from-scratch")
        equal((status, out.split()), (0, wanted), f"from the journal: {err}")
        equal(memimage("journal", "verify", "--dir", target)[0], 0, "journal verify")

    @test(f"{sample} is served and goes on")
    def served(t, name=sample):
        target, wanted = copy_of(t, name)
        server = t.server(directory=target)
        with server.client() as c:
            equal(list(digest(c)), [int(wanted[0]), wanted[1]], "position and digest")
            equal(open_account(c, "after-the-golden-days"), [1, int(wanted[0]) + 1], "a command")
        server.restart(crash=True)
        with server.client() as c:
            equal(digest(c)[0], int(wanted[0]) + 1, "the position after a crash")


@test("there is at least one sample")
def some(t):
    check(len(NAMES) > 0, "snapshots/ holds a sample")


if __name__ == "__main__":
    sys.exit(main())
