"""OpenSSH's ssh, which carries SFTP: started with one key and the host keys that are known, and with nothing else."""

import os
import re
from contextlib import suppress
from pathlib import Path

from lvpack_agent import guarded, processes
from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.printable import quoted
from lvpack_agent.processes import PIPE, Process
from lvpack_agent.settings.urls import SCHEMES
from lvpack_agent.shares.sftp_wire import Wire
from lvpack_agent.shares.share import Access
from lvpack_agent.shares.url import ShareUrl
from lvpack_agent.shares.waiting import Waiting

# A server that says nothing for ALIVE_SECONDS, twice, is gone (ssh_config(5), ServerAliveInterval).
ALIVE_SECONDS, CONNECT_SECONDS, END_SECONDS = 5, 15, 5.0
_SAID_MOST = 64 * 1024


class Ssh:
    """A way to a server: its key and the known host keys are in a folder in memory while the context lasts."""

    def __init__(self, url: ShareUrl, access: Access, folder: Path, waiting: Waiting) -> None:
        """folder is for two small files, and nothing else. Raises Refused if a secret is missing."""
        self._url, self._waiting = url, waiting
        what = f"of {url.host}"
        self._files = {
            "known-hosts": access.secrets.need("known-hosts", f"the host key {what}"),
            "key": access.secrets.need("ssh-key", f"the key for {url.user} at {url.host}"),
        }
        self._folder = folder
        self._process: Process[bytes] | None = None
        self._said = -1

    def __enter__(self) -> "Ssh":
        guarded.wipe_folder(self._folder)  # an agent that was killed leaves its own
        self._folder.mkdir(mode=0o700)
        for name, text in self._files.items():
            # OpenSSH wants a line end behind a key.
            guarded.write(self._folder / name, text.rstrip(b"\n") + b"\n", mode=0o600)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        guarded.wipe_folder(self._folder)

    def connect(self) -> Wire:
        """Start ssh, and return what speaks SFTP by it.

        Raises Gone if there is no way to the server now, Refused if its host key is not the known one, Failed if it
        does not let us in.
        """
        self.end()
        self._said = os.memfd_create("ssh")
        self._process = processes.spawn(self._command(), stdin=PIPE, stdout=PIPE, stderr=self._said)
        assert self._process.stdin and self._process.stdout
        return Wire(self._process.stdout.fileno(), self._process.stdin.fileno(), self._waiting, self._why)

    def end(self) -> None:
        """End the connection, if there is one."""
        if self._process:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                with suppress(OSError):
                    if stream:
                        stream.close()
            os.close(self._said)
            self._process = None

    def _command(self) -> list[str]:
        options = {
            # Neither this machine's files nor an agent: only what was given.
            "IdentityFile": self._folder / "key",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": self._folder / "known-hosts",
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "UpdateHostKeys": "no",
            "BatchMode": "yes",
            "PreferredAuthentications": "publickey",
            "ConnectTimeout": CONNECT_SECONDS,
            "ServerAliveInterval": ALIVE_SECONDS,
            "ServerAliveCountMax": 2,
            "Compression": "no",
            "ClearAllForwardings": "yes",
            "LogLevel": "ERROR",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        url = self._url
        return [
            "ssh",
            "-F",
            "none",
            *words,
            "-p",
            str(url.port or SCHEMES[url.scheme].port),
            "-l",
            url.user,
            "-s",
            "--",
            url.host,
            "sftp",
        ]

    def _why(self) -> str:
        """Return why ssh has ended, in its words. Raises Refused or Failed if it would end again."""
        assert self._process
        with suppress(Exception):
            self._process.wait(END_SECONDS)
        said = os.pread(self._said, _SAID_MOST, 0).decode(errors="replace")
        lines = [line.strip() for line in said.splitlines() if line.strip(" @\r")]
        if error := refusal(said, self._url, lines):
            raise error
        return quoted(lines[-1:])


def refusal(said: str, url: ShareUrl, lines: list[str]) -> LvpackError | None:
    """Return the error that what ssh has said stands for, if another attempt would end alike."""
    server, port = f"{url.host}{f' (port {url.port})' if url.port else ''}", url.port or SCHEMES[url.scheme].port
    if re.search("Host key verification failed|HOST IDENTIFICATION HAS CHANGED|No .* host key is known", said):
        entry = f"[{url.host}]:{url.port}" if url.port and url.port != SCHEMES[url.scheme].port else url.host
        return Refused(
            f"cannot trust server {server}: its host key is not the one in secret 'known-hosts': {quoted(lines[-1:])}",
            hint=f"if it has a new one, make the secret anew (ssh-keyscan -p {port} {url.host}), and "
            f"compare it with the server's own; a line begins with {entry}",
        )
    if re.search("error in libcrypto|invalid format|Load key", said):
        return Refused(
            "cannot use secret 'ssh-key': ssh does not take it for a private key",
            hint="make one with ssh-keygen -t ed25519 -N ''",
        )
    if "Permission denied" in said:
        return Failed(
            f"cannot log in at {server} as {url.user}: {quoted(lines[-1:])}",
            hint="check the user in the URL, secret 'ssh-key', and that its public half is in the server's "
            "authorized_keys",
        )
    if "subsystem request failed" in said:
        return Failed(f"cannot use share '{url}': {quoted(lines[-1:])}", hint="let the server have its subsystem sftp")
    # A name that is not resolved now was so when the share was opened (mounted._reach()).
    return None
