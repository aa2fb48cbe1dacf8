"""From a command line to a result line: settings, action, report, and what follows."""

import argparse
import os
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import NoReturn

from lvpack_agent import VERSION, actions, places
from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.machine import efi_boot, firmware, kernellog, menu, powerbutton, shells, watchdog
from lvpack_agent.machine.ask import ask
from lvpack_agent.machine.console import Console, command_line, console_devices, set_speeds
from lvpack_agent.machine.ending import Ending
from lvpack_agent.network.options import network_options, network_words
from lvpack_agent.network.up import Network
from lvpack_agent.notify.notices import Notices
from lvpack_agent.outcome import as_ours, disk_errors, say_notes, with_disk_errors
from lvpack_agent.processes import run
from lvpack_agent.report import Report
from lvpack_agent.secret.secrets import Secrets, forget, keep_out_of_core_dumps
from lvpack_agent.session import Session
from lvpack_agent.settings.read import parse, words
from lvpack_agent.settings.table import as_text
from lvpack_agent.settings.values import Settings
from lvpack_agent.undo import Undo

# Stands in places.ONERROR, below what follows, if the run may leave a disk half done.
HALF_DONE = "half done"
FLUSH_SECONDS, LOG_SECONDS = 300.0, 60.0


def reported(
    settings: Settings, network: Network, session: Session, ending: Ending, secrets: Secrets, notices: Notices
) -> Report:
    """Run an action and return its report; every error becomes a report, and so does SIGTERM."""
    before = Counter(disk_errors())
    session.explain = lambda error: with_disk_errors(
        error, tuple(Counter(disk_errors()) - before), settings, session.sources
    )
    session.say(f"firmware: {firmware.firmware()}")
    session.say(f"action: {settings.action}")
    try:
        with ending.heeded(settings.action), session.speaking(), Undo() as undo:
            warn_of_missing_firmware(session)
            # Network cards ask for theirs when they are brought up; that may be why a share cannot be reached.
            undo.callback(warn_of_missing_firmware, session)
            notices.begin(settings, secrets, network, session)
            message = actions.perform(settings, network, session, secrets)
        return session.ended(message)
    except BaseException as error:
        say_notes(error, session)
        return session.stopped(session.explain(as_ours(error, f"finish {settings.action}")))


def warn_of_missing_firmware(session: Session) -> None:
    """Say which firmware the kernel has looked for in vain so far; each file once."""
    for sentence in kernellog.missing_firmware(kernellog.read()):
        if sentence not in session.warnings:
            session.warn(sentence)


def tell(report: Report, console: Console) -> None:
    """Print what a person wants to know, then the result line."""
    console.say("")
    console.say(f"{report.status}: {report.message}")
    if report.hint:
        console.say(f"  {report.hint}")
    console.result(report)


def follow(what: str, console: Console, disk: str = "", *, half_done: bool = False) -> None:
    """Do what lvpack.after or lvpack.onerror says; disk is the one that was packed or restored, "" if none was.

    half_done: a disk of this machine may be, and must not be booted by our doing.
    """
    if what == "reboot" and half_done:
        console.say("the firmware boots what comes first: a disk may be half done")
    elif what == "reboot":
        # A machine that booted from the network first would come back here.
        efi_boot.boot_next(disk, console.say)
    console.say(f"then: {what}")
    time.sleep(0.2)  # the last line is still on its way through the serial port
    if what == "shell":
        shells.on_every_console()
    else:
        end_machine(what)


def end_machine(how: str) -> None:
    """Switch this machine off, start it again, or halt it; how is the word for it."""
    # What must be on a disk was flushed to it. A disk or a share that does not answer must not keep the machine up, so
    # that busybox does not flush once more (-n).
    with suppress(LvpackError):
        run(["sync"], timeout=FLUSH_SECONDS)
    run(["busybox", how, "-n", "-f"])


def main(arguments: list[str]) -> int:
    """Take the options from the kernel command line (or --cmdline) and run to the end.

    Whatever happens, one result line is printed, and then what lvpack.after or lvpack.onerror asks for is done. If even
    that fails, this returns or raises, and start-agent does it.
    """
    session = Session(action="", out=print)
    try:
        options = _parser().parse_args(arguments)
    except Refused as refused:
        tell(session.stopped(refused), Console.of_this_machine(None))
        return 2
    boots = options.cmdline is None
    console = Console.of_this_machine(places.LOG if options.died is None else None)
    session.out, session.logged = console.say, console.logged

    def of_run(how: str) -> Secrets:
        return Secrets(how, console.say, lambda what: ask(what, console_devices(), console.say))

    keep_out_of_core_dumps()
    guards, ending, notices = watchdog.Guards(console.say), Ending(), Notices(of_run)
    session.is_ending = ending.is_waiting
    asked, settings = "", None
    try:
        asked = command_line() if boots else os.fsencode(options.cmdline).decode(errors="backslashreplace")
        places.RUN.mkdir(parents=True, exist_ok=True)
        if boots:
            set_speeds(asked)
        console.say(f"lvpack {VERSION}")
        if boots:
            powerbutton.listen(lambda: ending.ask() if ending.is_running else end_machine("poweroff"))
        if options.died is not None:
            raise _died(options.died)
        # The network is this machine's, so its options hold for --cmdline too if that has none of its own.
        network = notices.network = Network(network_options(network_words(words(asked)) or words(command_line())))
        settings = parse(words(asked), lambda known: actions.fetch(known, network, console.say, of_run(known.secrets)))
        if boots:
            _leave_word(settings)
        if settings is None:
            menu.on_every_console()
            return 0
        if settings.action == "shell":
            console.say("a root shell on every console; `poweroff` ends it")
            shells.on_every_console()
            return 0
        session.action, session.name = settings.action, settings.name
        if settings.may_leave_half_done:
            guards.disarm()
        elif boots and settings.onerror != "shell":
            guards.arm()
        report = reported(settings, network, session, ending, of_run(settings.secrets), notices)
    except BaseException as error:
        report = session.stopped(as_ours(error, "start"))
    notices.prepare(settings, asked, is_killed=options.died is not None)
    forget()
    with suppress(LvpackError):  # it starts again, what it was told to do or not
        guards.disarm()
    if options.died is not None:
        _leave_log(session, report)
    tell(report, console)
    if boots:
        onerror = settings.onerror if settings else _asked_onerror(asked)
        follows = settings.after if settings and report.status == "ok" else onerror
        with suppress(OSError):
            places.SAID.write_text(f"{follows}\n")
    notices.end(report, console.say)  # whoever ends this agent while it waits finds what follows
    if boots:
        half_done = report.status != "ok" and _may_be_half_done(settings, asked)
        follow(follows, console, session.disk, half_done=half_done)
    return 0 if report.status == "ok" else 1


def _leave_log(session: Session, report: Report) -> None:
    """Leave the log of an agent that was killed on its share, if that takes it within LOG_SECONDS.

    Nobody watches the share any more, so that whoever writes to one that is out waits for ever.
    """
    from lvpack_agent.backup.failed_log import leave_of_killed

    def leave() -> None:
        with suppress(Exception):  # the result has to be said
            leave_of_killed(session, report)

    thread = threading.Thread(target=leave, name="log", daemon=True)
    thread.start()
    thread.join(LOG_SECONDS)
    if thread.is_alive():
        session.say("warning: cannot leave the log of this run on the share: it does not answer")


def _leave_word(settings: Settings | None) -> None:
    """Write down what start-agent does if this agent ends early; the menu and the shells have no result to print."""
    has_result = settings is not None and settings.action != "shell"
    with suppress(OSError):
        (places.ONERROR if has_result else places.SAID).write_text(
            f"{settings.onerror if settings and has_result else 'shell'}\n"
            + (f"{HALF_DONE}\n" if settings and settings.may_leave_half_done else "")
        )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refused(f"cannot use the arguments of the agent: {message}", hint=self.format_usage().strip())


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python3 -m lvpack_agent",
        epilog=f"options on the kernel command line, or in WORDS:\n{as_text()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cmdline", help="take the options from here instead of /proc/cmdline, and stop at the result")
    parser.add_argument("--died", type=int, metavar="STATUS", help="say that the agent before this one ended with it")
    return parser


def _died(status: int) -> Failed:
    """Return the error for an agent that ended without a result; status as a shell gives it (128 + signal)."""
    try:
        how = f"it was killed by {signal.Signals(status - 128).name}"
    except ValueError:
        how = f"it ended with {status}"
    return Failed(
        f"cannot finish: the agent could not say its result, {how}",
        hint="a backup's source is untouched, except in place, where the next boot with the same options goes on; a "
        "restore's target is unusable. If memory ran out (dmesg says so), give the machine more",
    )


def _may_be_half_done(settings: Settings | None, command_line: str) -> bool:
    """Return whether this boot, or an earlier one, may have left a disk that must not be booted by itself."""
    if settings:
        return settings.may_leave_half_done
    with suppress(OSError):  # of an agent that was killed
        return HALF_DONE in places.ONERROR.read_text().splitlines()
    return any(word in command_line for word in ("restore", "inplace", "lvpack.config"))


def _asked_onerror(command_line: str) -> str:
    """Return lvpack.onerror of an agent that was killed, or of a command line that is otherwise wrong."""
    with suppress(OSError, IndexError):  # lvpack.config may have it
        return places.ONERROR.read_text().splitlines()[0]
    try:
        settings = parse(["lvpack.action=plan", *(w for w in words(command_line) if w.startswith("lvpack.onerror="))])
    except LvpackError:
        settings = None
    return settings.onerror if settings else "shell"
