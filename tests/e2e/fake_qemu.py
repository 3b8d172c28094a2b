"""Stands in for QEMU in tests of tools/boot-and-ping: a guest on the user network with one fault.

The fault is the word fault=NAME on the guest's command line; `none` is a guest without one.
"""
import http.server
import json
import os
import re
import socket
import socketserver
import sys
import threading
import time

READY = {"event": "ready", "app": "echo", "ip": "10.0.2.15", "ip6": None, "boot_us": 1000}


class TcpEcho(socketserver.BaseRequestHandler):
    def handle(self):
        data = b""
        while part := self.request.recv(65536):
            data += part
        self.request.sendall(damaged("tcp", data))


class UdpEcho(socketserver.BaseRequestHandler):
    count = 0

    def handle(self):
        data, s = self.request
        UdpEcho.count += 1
        if FAULT == "udp-silent" or (FAULT == "udp-lossy" and self.count % 2):
            return
        s.sendto(damaged("udp", data), self.client_address)


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        page = b"Ringlet" if FAULT != "http-other" else b"another server"
        if self.path == "/stats.json":
            page = {"http-text": b"{", "http-empty": b'{"nics":[]}'}.get(
                FAULT, b'{"nics":[{"rx":{"packets":1}}]}')
        self.send_response(500 if FAULT == "http-error" else 200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_):
        pass


def damaged(protocol, data):
    """One byte wrong, one too few, one too many."""
    return {f"{protocol}-wrong": data[:-1] + b"\xaa", f"{protocol}-short": data[:-1],
            f"{protocol}-long": data + b"\0"}.get(FAULT, data)


def serve(kind, port, handler):
    server = kind(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def end(status, goodbye=True):
    """As the guest would: QEMU's own status is 2 * N + 1."""
    if goodbye:
        print(json.dumps({"event": "exit", "status": status}).replace(" ", ""), flush=True)
    os._exit(2 * status + 1)


def on_power_button():
    if FAULT == "deaf":
        return
    if FAULT == "killed":
        os.kill(os.getpid(), 9)
    end(1 if FAULT in ("exit-1", "exit-1-silent") else 0,
        goodbye=FAULT not in ("exit-1-silent", "silent"))


def monitor(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        connection = server.accept()[0]
        stream = connection.makefile("rw", encoding="utf-8")
        answers = [{"QMP": {}}]
        while True:
            for answer in answers:
                stream.write(json.dumps(answer) + "\n")
            stream.flush()
            command = json.loads(stream.readline())["execute"]
            answers = [{"return": {}}]
            if command == "system_powerdown":
                if FAULT == "refuses":
                    answers = [{"error": {"desc": "no"}}]
                else:
                    on_power_button()


def main():
    text = " ".join(sys.argv)
    ports = {(kind, int(guest)): int(port) for kind, port, guest in
             re.findall(r"hostfwd=(tcp|udp):127\.0\.0\.1:(\d+)-:(\d+)", text)}
    path = re.search(r"unix:([^,]*qmp)", text)[1]
    serve(socketserver.ThreadingTCPServer, ports["tcp", 7], TcpEcho)
    serve(socketserver.UDPServer, ports["udp", 7], UdpEcho)
    serve(http.server.ThreadingHTTPServer, ports["tcp", 80], Pages)
    threading.Thread(target=monitor, args=(path,), daemon=True).start()
    while not os.path.exists(path):
        time.sleep(0.01)
    if FAULT == "controls":
        sys.stdout.buffer.write(b"\x1b[2J\x00\xff{\r\n{not json\n{}\n")
    if FAULT == "no-boot-time":
        del READY["boot_us"]
    if FAULT != "never-ready":
        print(json.dumps(READY), flush=True)
    time.sleep(60)


if __name__ == "__main__":
    FAULT = re.search(r"fault=(\S+)", " ".join(sys.argv))[1]
    main()
