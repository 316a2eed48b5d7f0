"""Steady load on an address: clients that count every request that fails.

What counts as failed: everything that is not a 200 with a body, with one exception. A keep-alive client that finds an idle connection closed, without a
byte of an answer, asks once more on a new one, as RFC 9110 section 9.2.2 and RFC 9112 section 9.3.1 let it for GET. These are counted and printed.
A first request on a new connection is never repeated."""
import http.client
import re
import socket
import subprocess
import threading
import time

RATE = 200


class Connection(http.client.HTTPConnection):
    """Knows its port also when it cannot connect or is closed: whoever asks why needs it."""

    def connect(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect((self.host, self.port))
        finally:
            self.from_port = self.sock.getsockname()[1]


class Load:
    """Clients that together ask at a little over RATE, whatever the answers take; what a client missed it makes up for."""

    def __init__(self, address, keep_alive, clients=8):
        self.address, self.keep_alive = address, keep_alive
        self.interval = clients / (RATE * 1.15)
        self.stop_now = False
        self.done, self.again, self.failures, self.versions = 0, 0, [], set()
        self.lock = threading.Lock()
        self.started = time.monotonic()
        self.threads = [threading.Thread(target=self.client, args=(i / clients,), daemon=True) for i in range(clients)]
        for t in self.threads:
            t.start()

    def ask(self, connection):
        connection.request("GET", "/", headers={} if self.keep_alive else {"Connection": "close"})
        r = connection.getresponse()
        body = r.read().decode()
        if r.status != 200 or not body:
            raise AssertionError(f"status {r.status}, body {body!r}")
        return body, self.keep_alive and not r.will_close

    @staticmethod
    def whereabouts(connection):
        """How far a request came that was never answered: what its socket, the packet filter and the link to its endpoint know."""
        port = connection.from_port

        def told(*command):
            try:
                return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout.strip()
            except (OSError, subprocess.TimeoutExpired) as e:
                return repr(e)

        flows = told("conntrack", "-L", "-p", "tcp", "--sport", str(port))
        ends = {source for source in re.findall(r"src=(\S+)", flows)}
        links = "; ".join(line for line in told("ip", "neigh").splitlines() if line.split()[0] in ends)
        return f"from port {port}; socket: {told('ss', '-Htnoi', f'sport = :{port}') or 'none'}; flow: {flows or 'none'}; neighbours: {links or 'none'}"

    def client(self, offset):
        try:
            self.run(offset)
        except BaseException as e:  # noqa: BLE001 - a load with fewer clients than promised is none
            with self.lock:
                self.failures.append(f"{time.monotonic() - self.started:.3f} s: a client ended: {e!r}")

    def run(self, offset):
        connection, used = None, False
        due = self.started + offset * self.interval
        while not self.stop_now:
            time.sleep(max(0.0, due - time.monotonic()))
            due += self.interval
            again, error, body, keep = 0, None, None, False
            while True:
                if connection is None:
                    connection, used = Connection(self.address, 80, timeout=5), False
                try:
                    body, keep = self.ask(connection)
                except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as e:
                    connection.close()
                    connection = None
                    if used and not again:
                        again = 1
                        continue
                    error = e
                except TimeoutError as e:
                    error = TimeoutError(f"{e}; {self.whereabouts(connection)}")
                except Exception as e:  # noqa: BLE001 - every failure counts
                    error = e
                break
            if connection is not None and (error or not keep):
                connection.close()
                connection = None
            used = True
            with self.lock:
                self.done += 1
                self.again += again
                if error is not None:
                    self.failures.append(f"{time.monotonic() - self.started:.3f} s: {error!r}")
                else:
                    self.versions.add(body)
        if connection is not None:
            connection.close()

    def stop(self):
        self.stop_now = True
        for t in self.threads:
            t.join(10)
        self.rate = self.done / (time.monotonic() - self.started)
