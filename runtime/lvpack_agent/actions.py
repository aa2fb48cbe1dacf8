"""What each lvpack.action runs.

The rooms of an action are imported when it begins: a backup does without those of a restore and of in-place mode.

Tested in guests: qemu-tests/tests/test_main_job.py runs each action.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from lvpack_agent import places
from lvpack_agent.devices.lsblk import AUTO
from lvpack_agent.errors import Failed
from lvpack_agent.network.up import Network
from lvpack_agent.session import Session
from lvpack_agent.settings.values import Settings
from lvpack_agent.shares.mounted import mounted
from lvpack_agent.shares.share import Access, Secrets
from lvpack_agent.shares.url import parse_url
from lvpack_agent.sizes import MIB
from lvpack_agent.undo import Undo

# A file of options: the kernel command line, which holds as much, has 4 KiB at most; the rest is comments.
CONFIG_MOST = MIB
# How long a share is waited for that should have the options: lvpack.patience may stand there.
CONFIG_SECONDS = 60.0


def perform(settings: Settings, network: Network, session: Session, secrets: Secrets) -> str:
    """Do what lvpack.action says; return the closing message."""
    match settings.action:
        case "restore":
            from lvpack_agent.restore.restore import restore

            return restore(settings, network, session, _access(settings, secrets, read_only=True), places.RUN)
        case "verify":
            return verify(settings, network, session, secrets)
        case "plan" if settings.source:
            from lvpack_agent.restore.restore import only_plan as plan_of_restore

            return plan_of_restore(settings, network, session, _access(settings, secrets, read_only=True), places.RUN)
        case "plan":
            from lvpack_agent.overlay.pack import only_plan

            return only_plan(settings, session, places.RUN)
        case _:
            return backup(settings, network, session, secrets)


def _access(settings: Settings, secrets: Secrets, *, read_only: bool) -> Access:
    return Access(
        options=settings.share,
        secrets=secrets,
        patience=settings.patience,
        read_only=read_only,
        disks=settings.disk,
        rate=settings.rate,
        set_time=partial(time.clock_settime, time.CLOCK_REALTIME),
    )


def backup(settings: Settings, network: Network, session: Session, secrets: Secrets) -> str:
    """Pack the server's disks into an image set, in the mode that is asked for; return the closing message."""
    from lvpack_agent.backup.failed_log import left_if_bad
    from lvpack_agent.backup.job import Job

    if settings.mode == "inplace":
        from lvpack_agent.inplace.pack import pack
    else:
        from lvpack_agent.overlay.pack import pack_in_overlay as pack
    with Undo() as undo:
        with session.phase("share"):
            url, access = parse_url(settings.target), _access(settings, secrets, read_only=False)
            share = undo.enter_context(mounted(url, places.SHARE, network, session, access))
        job = Job(settings=settings, session=session, shared=share, folder=places.RUN)
        undo.enter_context(left_if_bad(job))
        return pack(job)


def verify(settings: Settings, network: Network, session: Session, secrets: Secrets) -> str:
    """Check the image set that lvpack.source names; return the closing message."""
    from lvpack_agent.image import check, losses

    url, session.name = parse_url(settings.source).parent()
    access = _access(settings, secrets, read_only=True)
    with session.phase("verify"), mounted(url, places.SHARE, network, session, access) as share:
        manifest = check.check_set(share.folder / session.name, session.say, share.source)
        if missing := losses.summary(manifest.unreadable):
            session.warn(missing)
    return f"image set {session.name} is complete and unchanged"


def fetch(settings: Settings, network: Network, say: Callable[[str], None], secrets: Secrets) -> str:
    """Return the text of the file that lvpack.config names. Raises Failed if it cannot be read."""
    url, name = parse_url(settings.config).parent()
    access = replace(_access(settings, secrets, read_only=True), patience=CONFIG_SECONDS, disks=AUTO)
    session = Session(action="", out=say)
    at = places.RUN / "config"
    with session.speaking(), mounted(url, at, network, session, access) as share:
        try:
            return share.text(name, CONFIG_MOST).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            cause = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise Failed(
                f"cannot read '{settings.config}': {cause}", hint="check lvpack.config and the file on the share"
            ) from None
