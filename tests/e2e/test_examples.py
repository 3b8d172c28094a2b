"""docs/examples: what can be judged without the programs that the files are for."""
import glob
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from xml.etree import ElementTree

import prometheus
from case import Skip, case
from guest import IMAGE, ROOT
from test_http import get
from tool import environment, tool

FOLDER = os.path.join(ROOT, "docs", "examples")
DOMAINS = sorted(os.path.basename(path) for path in glob.glob(os.path.join(FOLDER, "*.xml")))
YAML = ["github-actions.yml", "gitlab-ci.yml", "kubevirt.yaml", "prometheus.yml"]
CI = ["github-actions.yml", "gitlab-ci.yml"]


def read(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as f:
        return f.read()


@case(accel=None)
def heads(t):
    """Each file begins with what it is, and says what was not run."""
    names = os.listdir(FOLDER)
    assert len(names) >= 12, names
    for name in names:
        text = read(name)
        assert re.match(r"<!--\n|# |#!/bin/sh\n# |\{\n \"description\": ", text), name
        assert re.search(r"\bnot run\b", text[:1500], re.I), name
    with open(os.path.join(ROOT, "docs", "manual.md"), encoding="utf-8") as f:
        manual = f.read()
    for name in names:
        assert f"examples/{name}" in manual, f"{name} is not in the manual"


# ---- libvirt ----

def validate(path):
    return subprocess.run(["virt-xml-validate", path, "domain"], text=True, check=False, timeout=20,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)


def need_validator(t):
    t.need_program("virt-xml-validate")
    t.need_program("xmllint")


@case(accel=None, domain=DOMAINS)
def libvirt(t, domain):
    need_validator(t)
    done = validate(os.path.join(FOLDER, domain))
    assert done.returncode == 0, done.stdout


MISTAKES = {"number": ("<vcpu>1<", "<vcpu>one<"), "value": ("'vhostuser'", "'vhostwho'"),
            "model": ("<panic model='isa'/>", "<panic model='usa'/>"),
            "element": ("<access mode='shared'/>", "<acces/>")}


@case(accel=None, mistake=list(MISTAKES))
def libvirt_mistakes(t, mistake):
    """The validation is real: it refuses a domain with one mistake."""
    need_validator(t)
    text = read("libvirt-vhost-user.xml")
    before, after = MISTAKES[mistake]
    assert before in text, before
    folder = t.stack.enter_context(tempfile.TemporaryDirectory(prefix="ringlet-e2e-"))
    path = os.path.join(folder, "domain.xml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text.replace(before, after))
    assert validate(path).returncode != 0, mistake


@case(accel=None)
def libvirt_words(t):
    """The configuration in each domain is one that a guest takes."""
    for domain in DOMAINS:
        root = ElementTree.fromstring(read(domain))
        words = root.findtext("os/cmdline")
        if words is None:
            entry = root.findtext("sysinfo/oemStrings/entry")
            assert entry.startswith("ringlet:"), entry
            words = entry.removeprefix("ringlet:")
        check_words(words, domain)


def check_words(words, where):
    """A run of one second: a key or value that is wrong would end it with status 2."""
    done = subprocess.run([tool("run-guest"), "--image", IMAGE, "--args",
                           f"{words} seconds=1"], env=environment(), text=True, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=30)
    assert done.returncode == 0, (where, words, done.stdout[-300:])


@case(accel=None, script=["cloud-hypervisor.sh", "firecracker.sh"])
def scripts(t, script):
    """The shell takes the script, and its words are ones that a guest takes."""
    subprocess.run(["sh", "-n", os.path.join(FOLDER, script)], check=True, timeout=10)
    words = re.search(r"--cmdline '([^']*)'|\"boot_args\": \"([^\"]*)\"", read(script))
    check_words(words[1] or words[2], script)


@case(accel=None)
def firecracker_file(t):
    """The configuration that the script writes is JSON with the tap's name in it."""
    folder = t.stack.enter_context(tempfile.TemporaryDirectory(prefix="ringlet-e2e-"))
    fake = os.path.join(folder, "firecracker")
    with open(fake, "w", encoding="utf-8") as f:
        f.write('#!/bin/sh\n[ "$1 $2" = "--no-api --config-file" ] && cat "$3"\n')
    os.chmod(fake, 0o755)
    done = subprocess.run([os.path.join(FOLDER, "firecracker.sh"), "tap7"], text=True, check=True,
                          env={"PATH": f"{folder}:{os.environ['PATH']}"}, stdout=subprocess.PIPE,
                          timeout=10)
    assert json.loads(done.stdout)["network-interfaces"][0]["host_dev_name"] == "tap7", done.stdout


# ---- YAML ----

def parse_yaml(text):
    """By Python's yaml where it is; it is not among what Ringlet needs."""
    done = subprocess.run([sys.executable, "-c", "import json, sys, yaml\n"
                           "json.dump(yaml.safe_load(sys.stdin), sys.stdout)"],
                          input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=20, check=False)
    if "No module named 'yaml'" in done.stderr:
        raise Skip("Python has no module yaml")
    assert done.returncode == 0, done.stderr[-300:]
    # YAML 1.1 reads the key `on` as true.
    return json.loads(done.stdout)


@case(accel=None, name=YAML)
def yaml(t, name):
    assert isinstance(parse_yaml(read(name)), dict), name


@case(accel=None, name=CI)
def ci(t, name):
    """The boot-and-ping command of the example passes here, and the targets that it makes exist."""
    text = read(name)
    if "--net tap" in text:
        t.need_namespace()
        t.need_program("ping")
    commands = re.findall(r"^ *- (?:run: )?(tools/boot-and-ping .*)$", text, re.M)
    assert len(commands) == 1, commands
    words = shlex.split(commands[0])
    folder = t.stack.enter_context(tempfile.TemporaryDirectory(prefix="ringlet-e2e-"))
    report = os.path.join(folder, "report.xml")
    words[words.index("--junit") + 1] = report
    done = subprocess.run([os.path.join(ROOT, words[0]), *words[1:], "--image", IMAGE], text=True,
                          env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=50, check=False)
    assert done.returncode == 0, done.stdout
    assert ElementTree.parse(report).getroot().find("testsuite").get("failures") == "0"
    subprocess.run(["make", "-n", "-C", ROOT, "kernel"], check=True, timeout=50,
                   stdout=subprocess.DEVNULL)
    subprocess.run([tool("deps"), "--list", "run"], check=True, timeout=20,
                   stdout=subprocess.DEVNULL)


@case(accel=None)
def containerdisk(t):
    """The Dockerfile adds a file that make image makes, from the folder that its command names."""
    text = read("containerdisk.Dockerfile")
    assert re.search(r"^ADD --chown=107:107 ringlet\.qcow2 /disk/$", text, re.M), text
    assert re.search(r"docker build .* -f docs/examples/containerdisk\.Dockerfile build$", text, re.M)


# ---- Grafana ----

@case()
def grafana(t):
    """Each metric that the dashboard asks for is one that a guest serves, with the labels it uses."""
    guest = t.user_guest()
    families = prometheus.parse(get(guest, "/metrics")[2].decode())
    dashboard = json.loads(read("grafana.json"))
    panels = dashboard["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    expressions += [dashboard["templating"]["list"][1]["query"]["query"]]
    used = {name for text in expressions for name in re.findall(r"ringlet_\w+", text)}
    assert len(used) >= 20 and used <= set(families), used - set(families)
    for panel in panels:
        for target in panel["targets"]:
            names = re.findall(r"ringlet_\w+", target["expr"])
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) - {"instance"}
            known = [{k for k, _ in pairs} for name in names for _, pairs in families[name].samples]
            assert all(labels <= each for each in known), (target, known)
            if "rate(" in target["expr"]:
                assert all(families[name].type == "counter" for name in names), target
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels]
    assert len({p["id"] for p in panels}) == len(panels) == len(set(places)), places
