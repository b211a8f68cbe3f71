# SPDX-License-Identifier: MIT
# The bugs that tests/mutation plants have a place to be planted in: each of their texts stands once in its file.
"""Every planted bug fits the code as it is."""

import os
import sys

from tap import ROOT, read, report

sys.path.insert(0, os.path.join(ROOT, "tests", "mutation"))
from mutations import MUTATIONS  # noqa: E402


def misfits():
    return [f"{mutation['name']}: {read(mutation['file']).count(mutation['find'])} places in {mutation['file']}"
            for mutation in MUTATIONS if read(mutation["file"]).count(mutation["find"]) != 1]


if __name__ == "__main__":
    sys.exit(report([("every planted bug has its one place", misfits())]))
