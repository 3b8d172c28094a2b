"""The status page, its JSON and the Prometheus metrics."""
import http.client
import json
import os
import re
import subprocess
import tempfile
import threading

import prometheus
from case import EACH, case
from guest import GuestError
from traffic import tcp_connect, tcp_echo, pattern, udp_answers

CHROMIUM_OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                    "--disable-background-networking", "--disable-component-update",
                    "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage",
                    "--enable-logging=stderr", "--v=0"]


def get(guest, path, method="GET"):
    """Status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", guest.net.tcp[80], timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@case()
def page(t):
    guest = t.user_guest()
    status, headers, body = get(guest, "/")
    assert status == 200 and headers.get_content_type() == "text/html", (status, str(headers))
    assert b"<html" in body.lower() and b"</html>" in body.lower()
    remote = re.findall(rb'(?:src|href)="(?:https?:)?//[^"]*"', body)
    assert not remote, f"not self-contained: {remote}"
    assert get(guest, "/index.html")[0] in (200, 404)


@case()
def stats_json(t):
    guest = t.user_guest()
    udp_answers(guest)
    status, headers, body = get(guest, "/stats.json")
    assert status == 200 and headers.get_content_type() == "application/json", str(headers)
    first = json.loads(body)
    tcp_echo(guest, pattern(100_000))
    second = json.loads(get(guest, "/stats.json")[2])
    for direction in ("rx", "tx"):
        before, after = (s["nics"][0][direction]["packets"] for s in (first, second))
        assert after > before > 0, (direction, before, after)


@case()
def metrics(t):
    guest = t.user_guest()
    udp_answers(guest)
    status, headers, body = get(guest, "/metrics")
    assert status == 200, status
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4"), str(headers)
    families = prometheus.parse(body.decode("utf-8"))
    for family in families.values():
        assert family.help, f"{family.name} has no help text"
        assert family.name.startswith("ringlet_"), family.name
        assert (family.type == "counter") == family.name.endswith("_total"), family.name
    for queue in ("rx", "tx"):
        assert families["ringlet_queue_packets_total"].value(nic="0", queue=queue) > 0
        assert families["ringlet_queue_interrupts_total"].value(nic="0", queue=queue) == 0
    assert families["ringlet_nic_link_up"].value(nic="0") == 1


@case()
def not_found(t):
    guest = t.user_guest()
    for path in ("/nothing", "/stats.json/", "/../../etc/passwd", "/metrics2", "/" + "x" * 2000):
        assert get(guest, path)[0] == 404, path
    assert get(guest, "/stats.json")[0] == 200


@case()
def curl(t):
    t.need_program("curl")
    guest = t.user_guest()
    for path in ("/", "/stats.json", "/metrics"):
        url = f"http://127.0.0.1:{guest.net.tcp[80]}{path}"
        done = subprocess.run(["curl", "-sS", "--fail", "--max-time", "10", "--noproxy", "*", url],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              timeout=20)
        assert done.returncode == 0 and done.stdout, done.stderr


@case(accel=EACH)
def parallel(t):
    """Several clients at once each get a whole, well-formed answer."""
    guest = t.user_guest()
    failures = []

    def client():
        try:
            for _ in range(10):
                json.loads(get(guest, "/stats.json")[2])
                prometheus.parse(get(guest, "/metrics")[2].decode())
        except Exception as error:  # noted here, judged by the test's own thread
            failures.append(error)
    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


MALFORMED = {
    "method-only": b"GET",
    "no-end": b"GET / HTTP/1.0\r\n",
    "empty": b"\r\n\r\n",
    "unknown-method": b"FROB / HTTP/1.1\r\n\r\n",
    "too-long": b"GET /" + b"a" * 20000 + b" HTTP/1.0\r\n\r\n",
    "binary": b"\0\xff\xfe" * 100,
}


@case(request=MALFORMED)
def malformed(t, request):
    """Requests that break off or make no sense do not disturb the next one."""
    guest = t.user_guest()
    for _ in range(5):
        with tcp_connect(guest, port=80) as s:
            s.sendall(MALFORMED[request])
    assert get(guest, "/stats.json")[0] == 200


@case(limit=90)
def browser(t):
    """The page in Chromium: its script fills it, and the console stays empty."""
    program = t.need_program("chromium", "chromium-browser", "google-chrome")
    guest = t.user_guest()
    tcp_echo(guest, pattern(1 << 20))
    log, dom = render(program, f"http://127.0.0.1:{guest.net.tcp[80]}/")
    complaints = [line for line in log.splitlines() if ":CONSOLE" in line]
    assert not complaints, complaints
    text = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", dom, flags=re.S)
    mac = guest.wait_event("device")["mac"]
    assert mac in text, f"no device {mac} in the page: {' '.join(text.split())[:300]}"
    numbers = [int(n.replace(",", "")) for n in re.findall(r"\b\d[\d,]*\b", text)]
    assert any(n > 500 for n in numbers), f"no counter in the page: {numbers[:50]}"


def render(program, url):
    """Chromium's log and the document as it is after the page's script ran for some seconds."""
    with tempfile.TemporaryDirectory(prefix="ringlet-e2e-") as folder:
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": folder, "NO_PROXY": "*"}
        done = subprocess.run([program, *CHROMIUM_OPTIONS, f"--user-data-dir={folder}/profile",
                               "--no-proxy-server", "--virtual-time-budget=4000",
                               "--dump-dom", url],
                              env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors="replace", timeout=60,
                              check=False)
    if done.returncode != 0:
        raise GuestError(f"{program}: status {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stderr, done.stdout
