import ctypes
import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lvpack_agent.errors import Refused
from lvpack_agent.processes import run
from lvpack_builder.lab import private
from lvpack_builder.lab.nfs import last_words, nfs_share
from lvpack_builder.lab.private import private_network

_OF_THIS_THREAD = Path("/proc/thread-self/ns/net")
# nfs-ganesha 6.5 of Debian 13, without CAP_SYS_RESOURCE; the backtrace is cut.
LOG = """\
27/11/2026 22:08:10 : epoch 6b : vm : nfs-ganesha-15[main] nfs_set_param_from_conf :NFS STARTUP :EVENT :Configuration
27/11/2026 22:08:10 : epoch 6b : vm : nfs-ganesha-15[main] main :MAIN :FATAL :Failed to PR_SET_IO_FLUSHER with EPERM.
27/11/2026 22:08:10 : epoch 6b : vm : nfs-ganesha-15[main] gsh_backtrace :NFS STARTUP :MAJ :stack backtrace follows:
/usr/lib/ganesha/libganesha_nfsd.so.6.5(+0x88256) [0x7fc642088256]
ganesha.nfsd(main+0xb0e) [0x55ea1fe46ede]
ganesha.nfsd(_start+0x21) [0x55ea1fe47211]
"""


def test_the_fatal_error_is_quoted_and_not_the_backtrace() -> None:
    assert last_words(LOG).endswith("Failed to PR_SET_IO_FLUSHER with EPERM.")
    assert "; " not in last_words(LOG)
    assert last_words("one\ntwo\nthree\nfour\n") == "two; three; four"
    assert last_words("") == "it said nothing"


@pytest.mark.starts_processes
@pytest.mark.timeout(60)
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ganesha.nfsd"), reason="needs root and nfs-ganesha")
@pytest.mark.parametrize("version", [4, 3])
def test_only_what_runs_inside_reaches_the_share(tmp_path: Path, version: int) -> None:
    """It gives every client root's rights over the folder: no other user of this machine may talk to it."""
    outside = os.open(_OF_THIS_THREAD, os.O_RDONLY)
    nobody = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{outside}", "--setuid=65534", "--setgid=65534"]
    try:
        with nfs_share(tmp_path, version=version) as share:
            talk = f"exec 3<>/dev/tcp/127.0.0.1/{share.port}"
            assert "refused" in run([*nobody, "bash", "-c", talk], ok=(1,)).stderr
            listening = run([*nobody, "cat", "/proc/net/tcp", "/proc/net/tcp6"]).stdout
            assert f":{share.port:04X} " not in listening
            run(["bash", "-c", talk])
            with nfs_share(tmp_path) as second:
                run(["bash", "-c", f"{talk}; exec 4<>/dev/tcp/127.0.0.1/{second.port}"])
            with ThreadPoolExecutor() as pool:
                pool.submit(run, ["bash", "-c", talk]).result()
            inside = _OF_THIS_THREAD.stat().st_ino
        assert _OF_THIS_THREAD.stat().st_ino == os.fstat(outside).st_ino
        with private_network():
            assert _OF_THIS_THREAD.stat().st_ino == inside, "guests of a server that is gone go on with the next one"
        with private_network(fresh=True):
            assert _OF_THIS_THREAD.stat().st_ino not in (inside, os.fstat(outside).st_ino)
    finally:
        os.close(outside)


@pytest.mark.starts_processes
def test_a_share_that_everybody_could_reach_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_: int) -> int:
        ctypes.set_errno(errno.EPERM)
        return -1

    monkeypatch.setattr(private, "_unshare", forbidden)
    monkeypatch.setattr(private, "_kept", [])
    with pytest.raises(Refused, match="Operation not permitted") as refused, nfs_share(tmp_path):
        pass
    assert "root" in refused.value.hint
