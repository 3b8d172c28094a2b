#!/usr/bin/env python3
"""docs/conformance.md against the tree: what its tables name exists, and its counts are right.

With --write the counts are put right first.
"""
import collections
import re
import sys

PAGE = "docs/conformance.md"
STATUSES = ("met", "not used", "by choice", "open")
LEVELS = ("MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY", "IMPLIED")
COLUMNS = "| id | level | rule | status | where | test |"
NAME = re.compile(r"`([^`]+)`")

problems = []


def complain(line, text):
    problems.append(f"{PAGE}:{line}: {text}")


def content(path, cache={}):
    if path not in cache:
        try:
            with open(path, encoding="utf-8") as file:
                cache[path] = file.read()
        except OSError:
            cache[path] = None
    return cache[path]


def check_where(line, name):
    """FILE:NAME, in drivers/ unless the file says another folder; a function, macro or table."""
    path, _, symbol = name.partition(":")
    path = path if "/" in path else f"drivers/{path}"
    text = content(path)
    if text is None:
        complain(line, f"{path} does not exist")
    elif not re.search(rf"^(#define {symbol}\b|[\w}}][^;#\n]*\b{symbol}[(\[])", text, re.MULTILINE):
        complain(line, f"{path} defines no {symbol}")


def check_test(line, name):
    """FILE.c:CASE of tests/unit, where the case must be run, or TOPIC/NAME as tests/e2e/run prints it."""
    if ":" in name:
        file, case = name.split(":")
        path = f"tests/unit/{file}"
        found = len(re.findall(rf"\b{case}\b", content(path) or "")) >= 2
    else:
        topic, _, case = name.partition("/")
        path = f"tests/e2e/test_{topic}.py"
        found = re.search(rf"^@case\([^@]*?\)\ndef {case}\(", content(path) or "", re.MULTILINE)
    if not found:
        complain(line, f"{path} has no case {case}")


def check_row(line, cells, seen):
    if len(cells) != 6:
        complain(line, f"a row of {len(cells)} cells")
        return None
    ident, level, rule, status, where, test = cells
    status, _, reason = status.partition(": ")
    if ident in seen:
        complain(line, f"{ident}: a second time")
    seen.add(ident)
    if status not in STATUSES or level not in LEVELS or not rule:
        complain(line, f"{ident}: level {level!r}, status {status!r}")
    if status in ("by choice", "open") and not reason:
        complain(line, f"{ident}: {status} without a reason")
    if not NAME.search(where):
        complain(line, f"{ident}: where?")
    if not NAME.search(test) and not (test.startswith("-") and (test[1:].strip() or reason)):
        complain(line, f"{ident}: neither a test nor a reason why there is none")
    for name in NAME.findall(where):
        check_where(line, name)
    for name in NAME.findall(test):
        check_test(line, name)
    return status


def check_text(line, words):
    for name in NAME.findall(words):
        if re.fullmatch(r"test_\w+\.c:\w+", name):
            check_test(line, name)
        elif re.fullmatch(r"[\w/]+\.[ch]:\w+", name):
            check_where(line, name)


def read_page(text):
    """Checks every line. Returns how many rows of each area have which status."""
    counts, area, seen = collections.OrderedDict(), None, set()
    in_table = False
    for line, words in enumerate(text.splitlines(), 1):
        if words.startswith("#"):
            area = words.lstrip("# ")
        in_table = in_table and words.startswith("|")
        if words == COLUMNS:
            in_table = True
            counts[area] = collections.Counter()
        elif not in_table:
            check_text(line, words)
        elif not words.startswith("|--"):
            status = check_row(line, [cell.strip() for cell in words.strip("|").split("|")], seen)
            counts[area][status] += 1
    return counts


def count_table(counts):
    total = sum(counts.values(), collections.Counter())
    lines = ["| area | " + " | ".join(STATUSES) + " | all |", "|---" * (len(STATUSES) + 2) + "|"]
    for area, count in [*counts.items(), ("all", total)]:
        numbers = [count[status] for status in STATUSES]
        lines.append(f"| {area} | " + " | ".join(map(str, [*numbers, sum(numbers)])) + " |")
    return "\n".join(lines) + "\n"


def main():
    text = content(PAGE)
    if text is None:
        sys.exit(f"{PAGE} does not exist")
    counts = read_page(text)
    old = re.search(r"^\| area \| met .*?\n(?=\n)", text, re.MULTILINE | re.DOTALL)
    if old is None:
        problems.append(f"{PAGE}: no table of counts")
    elif old[0] != count_table(counts):
        if "--write" in sys.argv[1:]:
            with open(PAGE, "w", encoding="utf-8") as file:
                file.write(text.replace(old[0], count_table(counts)))
        else:
            problems.append(f"{PAGE}: the counts are not those of the tables; "
                            "tests/check_conformance.py --write puts them right")
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"conformance: ok, {sum(sum(c.values()) for c in counts.values())} rules")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
