"""A real server of S3, for tests: OpenStack Swift with its s3api, one disk, one user, on loopback."""

import http.client
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.processes import DEVNULL, Process, run, spawn
from lvpack_agent.shares.s3_sign import Signer
from lvpack_builder.lab import nfs
from lvpack_builder.lab.private import private_network
from lvpack_builder.lab.relay import LOOPBACK

ACCESS, SECRET, BUCKET, REGION = "test:tester", "open-Sesame", "sets", "here"

_PROXY = """
[DEFAULT]
bind_ip = {address}
bind_port = {port}
swift_dir = {state}
user = swift
workers = 0
log_level = WARNING
[pipeline:main]
pipeline = catch_errors cache s3api tempauth bulk slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = {address}:{memcached}
[filter:s3api]
use = egg:swift#s3api
location = {region}
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
_STORAGE = """
[DEFAULT]
bind_ip = {address}
bind_port = {port}
swift_dir = {state}
devices = {state}/srv
mount_check = false
user = swift
workers = 0
log_level = WARNING
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
START_SECONDS = 120.0
_HASH = "[swift-hash]\nswift_hash_path_suffix = lvpack\n"


@dataclass(slots=True)
class Swift:
    """The server; it can be ended and started again."""

    port: int
    state: Path
    processes: "dict[str, Process[bytes]]" = field(default_factory=dict)

    def start(self, name: str = "proxy") -> None:
        command = [f"swift-{name}-server", f"{self.state}/{name}.conf"]
        with (self.state / f"{name}.log").open("ab") as log:
            self.processes[name] = spawn(command, stdout=log.fileno(), stderr=log.fileno(), new_session=True)
        deadline = time.monotonic() + START_SECONDS
        while name == "proxy":
            try:
                socket.create_connection((LOOPBACK, self.port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    said = (self.state / "proxy.log").read_text(errors="replace")
                    raise Failed(f"cannot start Swift: {said[-1000:]}", hint="see bindep.txt") from None
                time.sleep(0.2)

    def make_bucket(self, name: str = BUCKET) -> None:
        """Make a bucket, as soon as the servers behind the proxy take it."""
        deadline = time.monotonic() + START_SECONDS
        while (status := self._put(f"/{name}")) >= 300:
            if status != 503 or time.monotonic() > deadline:
                raise Failed(f"cannot make bucket '{name}': {status}", hint=f"see {self.state}/proxy.log")
            time.sleep(0.5)

    def _put(self, path: str) -> int:
        host = f"{LOOPBACK}:{self.port}"
        signer = Signer(access=ACCESS, secret=SECRET, region=REGION)
        connection = http.client.HTTPConnection(host, timeout=START_SECONDS)
        try:
            connection.request("PUT", path, headers=signer.headers("PUT", path, {}, b"", host, time.time()))
            return connection.getresponse().status
        finally:
            connection.close()

    def kill(self, name: str = "proxy") -> None:
        process = self.processes.pop(name)
        run(["pkill", f"-{signal.SIGKILL.value}", "--session", str(process.pid)], ok=(0, 1))
        process.wait()


@contextmanager
def swift() -> Iterator[Swift]:
    """Serve S3, without a bucket, in a network of its own as nfs_share() does."""
    with ExitStack() as undo:
        undo.enter_context(private_network())
        state = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="lvpack-swift-", dir="/var/tmp")))
        server = Swift(nfs.free_port(LOOPBACK), state)
        memcached = nfs.free_port(LOOPBACK)
        process = spawn(
            ["memcached", "-u", "nobody", "-l", LOOPBACK, "-p", str(memcached)], stdout=DEVNULL, stderr=DEVNULL
        )
        undo.callback(process.wait)
        undo.callback(process.kill)
        (state / "srv/disk").mkdir(parents=True)
        words = {"address": LOOPBACK, "state": state, "secret": SECRET, "region": REGION}
        text = _PROXY.format(**words, port=server.port, memcached=memcached)
        (state / "proxy.conf").write_text(text)
        for kind in ("account", "container", "object"):
            port = nfs.free_port(LOOPBACK)
            (state / f"{kind}.conf").write_text(_STORAGE.format(**words, port=port, kind=kind))
            builder = ["swift-ring-builder", f"{state}/{kind}.builder"]
            run([*builder, "create", "4", "1", "0"])
            run([*builder, "add", f"r1z1-{LOOPBACK}:{port}/disk", "1"])
            run([*builder, "rebalance"], ok=(0, 1))
        (state / "swift.conf").write_text(_HASH)
        for path in (state, *state.rglob("*")):
            shutil.chown(path, "swift", "swift")
        os.environ["SWIFT_CONF_FILE"] = f"{state}/swift.conf"
        for name in ("account", "container", "object", "proxy"):
            server.start(name)
            undo.callback(server.kill, name)
        yield server
