"""NFS shares, mounted.

Tested in guests, with a real server: qemu-tests/tests/test_bad_input.py, test_main_job.py.
"""

import secrets
from contextlib import suppress
from functools import partial
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.printable import quoted
from lvpack_agent.processes import ToolFailed, run
from lvpack_agent.shares.share import Access, Mount
from lvpack_agent.shares.url import ShareUrl

MOUNT_SECONDS = 90.0

MOUNTINFO = Path("/proc/self/mountinfo")
CLIENT_ID = Path("/sys/module/nfs/parameters/nfs4_unique_id")
SERVERS = Path("/sys/fs/nfs")


def _introduce() -> None:
    """Let NFS 4 servers tell this boot from others.

    They know a client by its host name, which is the same in every live image; one that comes in another's name ends
    what that one has open (RFC 8881, 2.4; kernel: Documentation/filesystems/nfs/client-identifier.rst).
    """
    run(["modprobe", "nfs"], ok=(0, 1))  # if there is no such module, mount says so
    with suppress(OSError):
        if not CLIENT_ID.read_text().strip():
            CLIENT_ID.write_text(secrets.token_hex(8))


def mount(url: ShareUrl, folder: Path, access: Access) -> Mount:
    """Mount a share on a folder by the newest version of NFS that works. Raises Failed if none does."""
    # hard: nothing fails while the server is away; patience.Watch has the deadline. timeo, in tenths of a second, and
    # retrans say after what time a connection that is silent is made anew: a minute (nfs(5)).
    # Nothing of a share is ever run, and no device of it opened: whoever may write there must gain nothing by it.
    common = f"nosuid,nodev,noexec,hard,timeo=150,retrans=3,retry=0,{'ro' if access.read_only else 'rw'}"
    port = f",port={url.port}" if url.port else ""
    # NFS 3 finds ports by rpcbind; a URL with a port is for servers that serve MOUNT there too. Nothing is locked.
    # NFS 4.2 is left out on purpose: its READ_PLUS was seen to read zeros for data from nfs-ganesha 4.3.
    attempts = {
        "4.1": f"vers=4.1{port}",
        "4.0": f"vers=4.0{port}",
        "3": f"vers=3,nolock,proto=tcp,mountproto=tcp{port}{port.replace(',port', ',mountport')}",
    }
    _introduce()
    causes = []
    source = f"{f'[{url.host}]' if ':' in url.host else url.host}:{url.path}"
    for version, options in attempts.items():
        try:
            # Not by mount(8): at the deadline it would leave behind the program that it starts for this.
            run(["mount.nfs", source, str(folder), "-o", f"{common},{options}"], timeout=MOUNT_SECONDS)
            return Mount(how=f"NFS {version}", give_up=partial(_give_up, device_number(folder)))
        except ToolFailed as failed:
            causes.append(f"NFS {version}: {quoted(failed.completed.stderr.strip().splitlines()[-1:])}")
        except Failed:  # the next version would not be answered either
            causes.append(f"NFS {version}: the server does not answer")
            break
    raise Failed(
        f"cannot mount share '{url}': {'; '.join(causes)}",
        hint="check that the server exports this path to this machine",
    )


def _give_up(number: str) -> None:
    """Tell the kernel to give up the server of a filesystem (fs/nfs/sysfs.c, shutdown_store(); Linux 6.5 and later)."""
    with suppress(OSError):
        (SERVERS / number / "shutdown").write_text("1")


def device_number(folder: Path) -> str:
    """Return the number of the filesystem that is mounted on a folder, MAJOR:MINOR. The server is not asked.

    Raises Failed if there is none (proc_pid_mountinfo(5)).
    """
    mounts = [line.split() for line in MOUNTINFO.read_text().splitlines()]
    found = [fields[2] for fields in mounts if fields[4] == str(folder)]
    if not found:
        raise Failed(f"cannot find the share at '{folder}': the kernel has nothing mounted there")
    return found[-1]
