# SPDX-License-Identifier: MIT
# One fuzz target for a moment, as a test: the whole corpus, then some executions of new inputs (libFuzzer) or of changed
# ones (replay_main.c). The corpus is left as it is. A crashing input is kept and named.
"""Usage: smoke.py [--libfuzzer] [--mutations=N] FUZZ-PROGRAM CORPUS"""

import os
import subprocess
import sys
import tempfile

SECONDS = int(os.environ.get("FUZZ_SECONDS", "1"))


def main(words):
    libfuzzer = "--libfuzzer" in words
    mutations = next((word[1:] for word in words if word.startswith("--mutations=")), "-mutations=50")
    program, corpus = (word for word in words if not word.startswith("--"))
    with tempfile.TemporaryDirectory(prefix="memimage-fuzz-") as scratch:
        options = [mutations, corpus]
        if libfuzzer:
            kept = os.path.join(tempfile.gettempdir(), f"memimage-{os.path.basename(program)}-")
            options = ["-entropic=0", f"-max_total_time={SECONDS}", "-timeout=30", "-rss_limit_mb=4096", "-print_final_stats=1",
                       "-verbosity=0", f"-artifact_prefix={kept}", scratch, corpus]
        # libFuzzer's 77 would be "skipped" to meson.
        return 1 if subprocess.run([program, *options], stdin=subprocess.DEVNULL, check=False).returncode else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
