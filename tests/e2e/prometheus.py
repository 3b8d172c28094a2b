"""A strict parser of the Prometheus text exposition format, version 0.0.4.

Stricter than Prometheus itself: it wants HELP and TYPE in front of every metric, and reports what
a scraper would silently accept or drop. parse() returns families by name, or raises FormatError
with the line's number.
"""
import math
import re

METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|NaN|[+-]Inf")
TIMESTAMP = re.compile(r"-?[0-9]+")
TYPES = ("counter", "gauge", "histogram", "summary", "untyped")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}


class FormatError(Exception):
    """The text breaks the format."""


class Family:
    """A metric: its type, its help text, and its samples as {labels: value}."""

    def __init__(self, name):
        self.name = name
        self.type = None
        self.help = None
        self.samples = {}  # (sample name, sorted label pairs) -> value
        self.closed = False  # another family's lines came after

    def value(self, **labels):
        """The value of the one sample that has at least those labels."""
        found = [v for (_, pairs), v in self.samples.items()
                 if set(labels.items()) <= set(pairs)]
        if len(found) != 1:
            raise FormatError(f"{self.name}: {len(found)} samples have the labels {labels}")
        return found[0]


def parse(text):
    """Families by name."""
    if not text.endswith("\n"):
        raise FormatError("the last line has no line feed at its end")
    families = {}
    last = None
    for number, line in enumerate(text[:-1].split("\n"), 1):
        try:
            family = _line(line, families)
        except FormatError as error:
            raise FormatError(f"line {number}: {error}: {line!r}") from None
        if family is None:
            continue
        if last not in (None, family):
            last.closed = True
        last = family
    for family in families.values():
        if not family.samples:
            raise FormatError(f"{family.name}: no sample")
    return families


def _line(line, families):
    """Takes one line; returns the family that it belongs to, None for blank lines and comments."""
    if "\r" in line or "\0" in line:
        raise FormatError("control character")
    if line.strip(" \t") == "":
        return None
    if line.startswith("#"):
        return _comment(line, families)
    return _sample(line, families)


def _open_family(name, families):
    family = families.setdefault(name, Family(name))
    if family.closed:
        raise FormatError(f"the lines of {name} are not together")
    return family


def _comment(line, families):
    match = re.fullmatch(r"# (HELP|TYPE) ([^ ]+)( (.*))?", line)
    if match is None:
        if re.match(r"#[ \t]*(HELP|TYPE)\b", line):
            raise FormatError("not '# HELP name text' or '# TYPE name type'")
        return None
    keyword, name, rest = match[1], match[2], match[4]
    if not METRIC_NAME.fullmatch(name):
        raise FormatError("bad metric name")
    family = _open_family(name, families)
    if family.samples:
        raise FormatError(f"{keyword} after the first sample")
    if keyword == "HELP":
        if family.help is not None:
            raise FormatError("second HELP")
        family.help = _unescape(rest or "", {"\\": "\\", "n": "\n"})
    else:
        if family.type is not None:
            raise FormatError("second TYPE")
        if rest not in TYPES:
            raise FormatError("unknown type")
        family.type = rest
    return family


def _unescape(text, known):
    def replace(match):
        if match[1] not in known:
            raise FormatError(f"bad escape {match[0]!r}")
        return known[match[1]]
    return re.sub(r"\\(.?)", replace, text)


def _sample(line, families):
    match = METRIC_NAME.match(line)
    if match is None:
        raise FormatError("bad metric name")
    name, rest = match[0], line[match.end():]
    labels, rest = _labels(rest) if rest.startswith("{") else ((), rest)
    fields = rest.split()
    if not rest.startswith((" ", "\t")) and labels == ():
        raise FormatError("no space after the name")
    if len(fields) not in (1, 2) or not NUMBER.fullmatch(fields[0]):
        raise FormatError("bad value")
    if len(fields) == 2 and not TIMESTAMP.fullmatch(fields[1]):
        raise FormatError("bad timestamp")
    family = _family_of(name, labels, families)
    if (name, labels) in family.samples:
        raise FormatError("the same sample twice")
    value = float(fields[0])
    if family.type == "counter" and (math.isnan(value) or value < 0):
        raise FormatError("a counter that is no count")
    family.samples[name, labels] = value
    return family


def _labels(rest):
    """Label pairs, sorted, and what follows the closing brace."""
    pairs = {}
    at = 1
    while not rest.startswith("}", at):
        match = re.compile(r'\s*([^=\s]+)="((?:[^"\\]|\\.)*)"\s*(,?)').match(rest, at)
        if match is None:
            raise FormatError("bad labels")
        name, comma = match[1], match[3]
        if not LABEL_NAME.fullmatch(name) or name.startswith("__"):
            raise FormatError(f"bad label name {name!r}")
        if name in pairs:
            raise FormatError(f"label {name} twice")
        pairs[name] = _unescape(match[2], {"\\": "\\", '"': '"', "n": "\n"})
        at = match.end()
        if not comma and not rest.startswith("}", at):
            raise FormatError("bad labels")
    return tuple(sorted(pairs.items())), rest[at + 1:]


def _family_of(name, labels, families):
    """The family announced for a sample; parts of histograms and summaries have suffixes."""
    if name in families and families[name].type not in SUFFIXES:
        family = families[name]
    else:
        family = next((f for f in families.values() if f.type in SUFFIXES
                       and any(name == f.name + s for s in SUFFIXES[f.type])), None)
    if family is None or family.type is None or family.help is None:
        raise FormatError("no HELP and TYPE before it")
    if name.endswith("_bucket") and family.type == "histogram" and "le" not in dict(labels):
        raise FormatError("bucket without le")
    if family.closed:
        raise FormatError(f"the lines of {family.name} are not together")
    return family
