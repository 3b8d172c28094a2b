"""Results of checks: a line for each as it ends, JUnit XML at the end; for boot-and-ping."""
import http.client
import re
import subprocess
import time
from xml.etree import ElementTree

EXIT_FAILED = 1
EXIT_QEMU_FAILED = 125
SUITE = "ringlet.boot-and-ping"


class CheckFailed(Exception):
    """The guest or the network did something else than it should."""


class CheckSkipped(Exception):
    """The check makes no sense here."""


class QemuFailed(Exception):
    """QEMU ended, and not because the guest did."""


class Report:
    """Runs checks, prints a line for each, and writes JUnit XML."""

    def __init__(self):
        self._suite = ElementTree.Element("testsuite", name=SUITE)
        self._suite.set("timestamp", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        self._started = time.monotonic()
        self.counts = {"passed": 0, "failure": 0, "error": 0, "skipped": 0}

    def run(self, name, check, console):
        """True when it passed or was skipped. Lines printed meanwhile belong to the check."""
        started, first = time.monotonic(), len(console)
        outcome, text = "passed", ""
        try:
            text = check()
        except CheckSkipped as skipped:
            outcome, text = "skipped", str(skipped)
        except QemuFailed as error:
            outcome, text = "error", str(error)
        except (CheckFailed, OSError, ValueError, LookupError, TypeError, http.client.HTTPException,
                subprocess.TimeoutExpired) as error:
            # What the guest sends may be anything: an answer that cannot be read is a failure.
            kind = "" if isinstance(error, CheckFailed) else f"{type(error).__name__}: "
            outcome, text = "failure", kind + str(error)
        self.add(name, outcome, text, time.monotonic() - started, console[first:])
        return outcome in ("passed", "skipped")

    def add(self, name, outcome, text, seconds=0.0, console=()):
        self.counts[outcome] += 1
        shown = {"passed": "ok  ", "skipped": "skip"}.get(outcome, "FAIL")
        print(f"{shown} {name}" + (f": {text}" if text else "") +
              (f" ({seconds:.2f} s)" if outcome != "skipped" else ""), flush=True)
        case = ElementTree.SubElement(self._suite, "testcase", name=name, time=f"{seconds:.3f}",
                                      classname=SUITE)
        if outcome != "passed":
            ElementTree.SubElement(case, outcome, message=for_xml(text))
        ElementTree.SubElement(case, "system-out").text = for_xml(
            "\n".join([text] * (outcome == "passed") + list(console)))

    def write(self, path):
        suite, counts = self._suite, self.counts
        for name, count in (("tests", sum(counts.values())), ("failures", counts["failure"]),
                            ("errors", counts["error"]), ("skipped", counts["skipped"])):
            suite.set(name, str(count))
        suite.set("time", f"{time.monotonic() - self._started:.3f}")
        root = ElementTree.Element("testsuites")
        root.append(suite)
        ElementTree.indent(root)
        ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)

    def status(self):
        if self.counts["error"]:
            return EXIT_QEMU_FAILED
        return EXIT_FAILED if self.counts["failure"] else 0


def for_xml(text):
    """XML 1.0 has no way to write most control characters, and a console may print them."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
