"""Receivers of a run, by TLS and with a URL that is a secret, beside one that never answers: from within the guest."""

import json
import secrets
import shlex
from pathlib import Path

import pytest

from lab.receiver import receiving, silent
from lab.runs import Lab
from lab.sharing import sharing
from lvpack_agent.processes import run
from lvpack_agent.report import RESULT_MARK
from lvpack_agent.sizes import MIB
from lvpack_builder.lab.nfs import HOST_FROM_GUEST
from lvpack_builder.lab.private import private_network
from lvpack_builder.lab.qemu import create_disk

pytestmark = [pytest.mark.saved_guest, pytest.mark.timeout(1800)]


def stick(folder: Path) -> Path:
    path = create_disk(folder / "stick.img", 128 * MIB)
    run(["mkfs.ext4", "-q", "-L", "STICK", path])
    return path


@pytest.mark.full
def test_a_backup_tells_its_receivers_and_none_that_is_dead_matters(lab: Lab) -> None:
    """The share is a stick, so that nothing else brings the network up."""
    keys = lab.folder / "keys"
    keys.mkdir()
    token = secrets.token_hex(16)
    with private_network(), receiving(keys) as server, silent() as dead, sharing(lab, [stick(lab.folder)]) as guest:
        url = f"https://{HOST_FROM_GUEST}:{server.port}/hook/{token}"
        report = guest.run(
            "lvpack.action=backup",
            "lvpack.name=one",
            "lvpack.disk=/dev/vda",
            "lvpack.target=file://STICK",
            f"lvpack.notify=http://{HOST_FROM_GUEST}:{dead}/dead",
            "lvpack.notify=secret:notify",
            f"lvpack.notify=get+https://{HOST_FROM_GUEST}:{server.port}/ping/{{status}}?name={{name}}",
            notify=url,
            ca=server.ca.decode(),
        )
        assert report.status == "ok", report
        assert [w for w in report.warnings if "cannot tell" in w] == [
            f"cannot tell {HOST_FROM_GUEST} that the run begins: it does not answer"
        ]
        got = server.wait(4)
        assert sorted(request.path for request in got) == sorted(
            [*[f"/hook/{token}"] * 2, "/ping/started?name=one", "/ping/ok?name=one"]
        )
        [began, ended] = [request.event for request in got if request.event]
        assert (began["event"], began["action"], began["name"]) == ("started", "backup", "one")
        line = json.loads(report.line().removeprefix(RESULT_MARK))
        assert {key: ended[key] for key in line} == line
        assert ended["event"] == "result" and ended["machine"] == began["machine"]
        # The agent still waits for the dead one; the last of the others is said last.
        guest.console.expect(f"told {HOST_FROM_GUEST} the result", 60)
        log = guest.must("cat /run/lvpack/agent.log", 60)
        assert f"warning: cannot tell {HOST_FROM_GUEST} the result: it does not answer" in log
        assert "notify: told secret:notify the result" in log
        # The brackets keep the pattern from being found in what looks for it.
        pattern = shlex.quote(f"[{token[0]}]{token[1:]}")
        where = "/run /root /tmp /etc /var $(ls -d /proc/[0-9]*/cmdline /proc/[0-9]*/environ)"
        assert guest.must(f"grep -ral -e {pattern} {where} 2> /dev/null || true").strip() == ""
        guest.must("mkdir -p /run/at && mount -o ro LABEL=STICK /run/at")
        assert guest.must(f"grep -rl -e {pattern} /run/at || true").strip() == ""
