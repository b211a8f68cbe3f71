# SPDX-License-Identifier: MIT
# Sums up meson's test logs for ./test: each TAP line of a test counts, a test that crashed, timed out or broke its plan
# counts as one failure more. Prints a table, what failed and what it had to say, and the last line "N passed, N failed".
"""Usage: summary.py TITLE=testlog.json ..."""

import json
import os
import re
import sys

TAP_LINE = re.compile(r"^(ok|not ok)\b\s*\d*\s*-?\s*([^#]*)(#\s*(?:SKIP|skip)\b.*)?", re.MULTILINE)
GOOD = ("OK", "SKIP", "EXPECTEDFAIL")
REASON_LINES = 25  # of what a failed line of TAP has to say: the end of it is kept


def failed_lines(output):
    """Each "not ok" with the end of the comments behind it."""
    found, reason = [], None
    for line in output.splitlines():
        tap = TAP_LINE.match(line)
        if tap:
            reason = []
            if tap.group(1) == "not ok":
                found.append((tap.group(2).strip(), reason))
        elif reason is not None and line.startswith("#"):
            reason.append("    " + line)
    return ["\n".join([name, *reason[-REASON_LINES:]]) for name, reason in found]


def count_test(entry):
    """(passed, skipped, failures as sentences) of one test of the log."""
    output = entry.get("stdout") or ""
    lines = TAP_LINE.findall(output)
    good = entry["result"] in GOOD
    if not lines:
        if entry["result"] == "SKIP":
            return 0, 1, []
        return (1, 0, []) if good else (0, 0, [entry["result"].lower()])
    skipped = sum(1 for status, _, skip in lines if status == "ok" and skip)
    passed = sum(1 for status, _, skip in lines if status == "ok" and not skip)
    failures = failed_lines(output)
    if not good and not failures:
        failures.append(f"{entry['result'].lower()}, exit status {entry.get('returncode')}")
    return passed, skipped, failures


def read_log(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as handle:
        return [json.loads(line) for line in handle if line.strip()]


def main(words):
    passed = failed = 0
    problems = []
    print("\n== summary")
    for word in words:
        title, _, path = word.rpartition("=")
        here = [0, 0, 0]
        entries = read_log(path)
        for entry in entries:
            good, skipped, failures = count_test(entry)
            here = [here[0] + good, here[1] + skipped, here[2] + len(failures)]
            problems.extend(f"{title}: {entry['name']}: {failure}" for failure in failures)
        if not entries and not title.startswith("thread"):
            problems.append(f"{title}: no test ran")
            here[2] += 1
        print(f"{title}: {len(entries)} programs, {here[0]} passed, {here[1]} skipped, {here[2]} failed")
        passed, failed = passed + here[0], failed + here[2]
    for problem in problems:
        print(f"FAILED {problem}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
