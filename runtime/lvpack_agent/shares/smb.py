"""SMB shares, mounted by the kernel's cifs.

Tested in guests, with a real server: qemu-tests/tests/test_shares.py.
"""

import errno
import fcntl
import os
import re
from contextlib import suppress
from functools import partial
from pathlib import Path

from lvpack_agent.errors import Failed, Refused
from lvpack_agent.printable import quoted
from lvpack_agent.processes import ToolFailed, run
from lvpack_agent.settings.urls import SCHEMES
from lvpack_agent.shares.share import Access, Mount
from lvpack_agent.shares.url import ShareUrl

MOUNT_SECONDS = 90.0
# What the kernel says of a server that is away.
PASSING = frozenset(
    {errno.EAGAIN, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNABORTED, errno.ECONNRESET}
)
# kernel: fs/smb/client/cifs_ioctl.h, CIFS_IOC_SHUTDOWN, _IOR('X', 125, __u32).
_SHUTDOWN = 0x8004587D
# mount.cifs(8) by the number in "mount error(N)", an errno, where that alone does not say what is wrong.
_HINTS = {
    1: "the server does not let this user mount: check its account, and that its password is not out of date",
    2: "check the path of the URL: there is no such share on the server, or no such folder in it",
    6: "check the path of the URL: there is no such share on the server",
    13: "check lvpack.share=user= and domain=, the secret smb, and that this user may use that share",
    95: "the server must speak SMB 3; the other options of lvpack.share must be such as it has",
    126: "check lvpack.share=user= and the secret smb",
}


def mount(url: ShareUrl, folder: Path, access: Access) -> Mount:
    """Mount a share on a folder by SMB 3. Raises Refused if a password or a user is missing, Failed if it fails."""
    options = access.options
    if not options.user:
        raise Refused(
            f"cannot mount share '{url}': nothing says for which user",
            hint="lvpack.share=user=NAME does, and the secret smb has the password",
        )
    password = _password(access, f"the password of {options.user} at {url.host}")
    words = [
        f"{'ro' if access.read_only else 'rw'},nosuid,nodev,noexec",
        # Signed at least: nobody on the way changes what is written. ntlmsspi is NTLMSSP with that.
        "vers=3,sec=ntlmsspi" + (",seal" if options.seal else ""),
        # soft: the kernel says within some ten seconds that the server is away, and the agent asks again (PASSING). By
        # hard its own threads would wait for ever, and nothing ends them (seen with Linux 6.12). An echo each ten
        # seconds: a connection to a server that has gone without a word is made anew within half a minute.
        "soft,echo_interval=10",
        # Each write is the server's when it returns: none is lost in this machine's cache. No lease and no handle
        # outlives its file, for a folder in which one is open cannot be renamed.
        "cache=none,nolease,nohandlecache,closetimeo=0",
        f"uid=0,gid=0,file_mode=0600,dir_mode=0700,username={options.user}",
        *([f"domain={options.domain}"] if options.domain else []),
        *([f"port={url.port}"] if url.port else []),
    ]
    source = f"//{f'[{url.host}]' if ':' in url.host else url.host}{url.path.rstrip('/')}"
    command = ["mount.cifs", source, str(folder), "-o", ",".join(words)]
    try:
        # Not in the arguments and not in a file: mount.cifs reads it from a file in memory (mount.cifs(8), PASSWD_FD).
        run(command, input=password, env={"PASSWD_FD": "0"}, timeout=MOUNT_SECONDS)
    except ToolFailed as failed:
        said = failed.completed.stderr.strip() or failed.completed.stdout.strip()
        number = re.search(r"mount error\((\d+)\)", said)
        raise Failed(
            f"cannot mount share '{url}': {quoted(said.splitlines()[:1])}",
            hint=_HINTS.get(int(number[1]) if number else 0, "dmesg may say more: check the server and its log"),
        ) from None
    sealed = ", encrypted" if options.seal else ", signed"
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # now: later it may wait for the server
    return Mount(
        how=f"SMB 3{sealed}",
        give_up=partial(_give_up, held),
        close=partial(os.close, held),
        passing=PASSING,
        no_journal=SCHEMES["smb"].inplace,
    )


def _password(access: Access, what: str) -> str:
    text = access.secrets.need("smb", what)
    try:
        password = text.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(
            "cannot use secret 'smb': it is not UTF-8", hint="it holds a password, and nothing else"
        ) from None
    return password


def _give_up(folder: int) -> None:
    """Let all later calls to a mounted share fail at once (kernel: fs/smb/client/ioctl.c, cifs_shutdown())."""
    with suppress(OSError):
        fcntl.ioctl(folder, _SHUTDOWN, b"\0\0\0\0")
