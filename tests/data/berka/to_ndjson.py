#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# Converts the Berka transactions into the NDJSON of `memimage load`: an Open before the first movement of each
# account, then a Deposit or Withdraw per row, in the order of the file. Leans on the Python standard library only.
"""Convert the Berka bank transactions to the NDJSON of `memimage load`."""

import argparse
import csv
import json
import lzma
import os
import sys
from contextlib import ExitStack

HERE = os.path.dirname(os.path.abspath(__file__))
OVERDRAFT = 600000
BATCH_LINES = 20000


class Row:
    """One transaction: what the bank states, as integers of hellers."""

    __slots__ = ("transaction", "account", "operation", "movement", "balance")

    def __init__(self, record):
        self.transaction = record["transaction_id"]
        self.account = record["account_id"]
        self.operation = record["operation"]
        self.movement = int(record["movement"])
        self.balance = int(record["balance"])


def rows(path=None, limit=None):
    """Yields the Rows of the file (default: the one beside this script), at most `limit` of them."""
    path = path or os.path.join(HERE, "transactions.csv.xz")
    opener = lzma.open if path.endswith(".xz") else open
    with opener(path, "rt", encoding="ascii", newline="") as handle:
        for number, record in enumerate(csv.DictReader(handle)):
            if limit is not None and number >= limit:
                return
            yield Row(record)


def check(path=None):
    """Proves that the movements really give the bank's balances. Returns (rows, accounts, lowest balance)."""
    balances = {}
    transactions = set()
    count = 0
    lowest = 0
    for row in rows(path):
        count += 1
        if row.movement == 0:
            raise ValueError(f"row {count}: a movement of zero")
        if row.transaction in transactions:
            raise ValueError(f"row {count}: transaction {row.transaction} stands twice")
        transactions.add(row.transaction)
        balance = balances.get(row.account, 0) + row.movement
        if balance != row.balance:
            raise ValueError(f"row {count}: account {row.account} comes to {balance}, the bank says {row.balance}")
        balances[row.account] = balance
        lowest = min(lowest, balance)
    if lowest < -OVERDRAFT:
        raise ValueError(f"the lowest balance {lowest} is below the overdraft")
    return count, len(balances), lowest


def suffixes(repeat):
    """The suffixes of the copies: none for a single one."""
    return [""] if repeat == 1 else [f".{copy}" for copy in range(repeat)]


def line_open(account, suffix, options):
    key = f',"id":"b-open-{account}{suffix}"' if options.ids else ""
    return (
        f'{{"do":"account/{account}{suffix}","command":"Open",'
        f'"data":{{"owner":"berka","currency":"CZK","overdraft":{OVERDRAFT}}}{key}}}\n'
    )


def line_movement(row, suffix, options):
    key = f',"id":"b-{row.transaction}{suffix}"' if options.ids else ""
    note = f',"note":{json.dumps(row.operation)}' if options.notes and row.operation else ""
    command = "Deposit" if row.movement > 0 else "Withdraw"
    return (
        f'{{"do":"account/{row.account}{suffix}","command":"{command}",'
        f'"data":{{"amount":{abs(row.movement)}{note}}}{key}}}\n'
    )


class Balances:
    """Writes what the bank expects: every balance on the way (account, version, balance) and the last ones."""

    def __init__(self, handle):
        self.handle = handle
        self.last = {}
        self.versions = {}

    def add(self, row, endings):
        version = self.versions.get(row.account, 1) + 1
        self.versions[row.account] = version
        self.last[row.account] = row.balance
        if self.handle:
            self.handle.writelines(f"{row.account}{ending}\t{version}\t{row.balance}\n" for ending in endings)


def convert(options, output, balances_handle):
    """Writes the lines; returns the last balance per account."""
    endings = suffixes(options.repeat)
    balances = Balances(balances_handle)
    lines = []
    for row in rows(options.input, options.limit):
        if row.account not in balances.last:
            lines.extend(line_open(row.account, ending, options) for ending in endings)
        lines.extend(line_movement(row, ending, options) for ending in endings)
        balances.add(row, endings)
        if len(lines) >= BATCH_LINES:
            output.write("".join(lines))
            lines.clear()
    output.write("".join(lines))
    return {f"{account}{ending}": balance for account, balance in balances.last.items() for ending in endings}


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", metavar="FILE", help="CSV, plain or .xz (default: the file beside this script)")
    parser.add_argument("--output", metavar="FILE", help="default: standard output")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="N copies of each row: ids 2378.0, 2378.1 ...")
    parser.add_argument("--limit", type=int, metavar="ROWS", help="only the first ROWS transactions")
    parser.add_argument("--ids", action="store_true", help="add idempotency keys")
    parser.add_argument("--notes", action="store_true", help="add the bank's name of the operation as note")
    parser.add_argument("--balances", metavar="FILE", help="write account, version, balance after each row (TSV)")
    parser.add_argument("--last", metavar="FILE", help="write the last balance per account (JSON)")
    parser.add_argument("--check", action="store_true", help="only prove that the bank's balances chain")
    options = parser.parse_args(argv)
    if options.repeat < 1 or (options.limit is not None and options.limit < 0):
        parser.error("--repeat is at least 1, --limit at least 0")
    return options


def main(argv):
    options = arguments(argv)
    if options.check:
        count, accounts, lowest = check(options.input)
        print(f"{count} rows on {accounts} accounts: every balance is the bank's; the lowest is {lowest}")
        return 0
    with ExitStack() as stack:
        output = stack.enter_context(open(options.output, "w", encoding="ascii")) if options.output else sys.stdout
        balances = stack.enter_context(open(options.balances, "w", encoding="ascii")) if options.balances else None
        last = convert(options, output, balances)
        output.flush()
    if options.last:
        with open(options.last, "w", encoding="ascii") as handle:
            json.dump(last, handle, indent=0)
            handle.write("\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (OSError, ValueError, KeyError, lzma.LZMAError) as error:
        print(f"to_ndjson: {error}", file=sys.stderr)
        sys.exit(1)
