"""The menu that comes up when no lvpack option is given: nothing is touched until somebody chooses."""

import time
from pathlib import Path

from lvpack_agent.errors import LvpackError
from lvpack_agent.machine import shells
from lvpack_agent.machine.console import Console, on_each
from lvpack_agent.processes import run

TEXT = """
lvpack: no lvpack.* option on the kernel command line, so nothing was touched.

  1  show what would be done with this server (lvpack.action=plan; nothing is written)
  2  shell
  3  reboot
  4  power off
"""
AGENT = ["python3", "-m", "lvpack_agent", "--cmdline"]


def choose(answer: str, device: Path) -> None:
    """Do what was chosen on one console."""
    if answer == "1":
        run([*AGENT, "lvpack.action=plan"], ok=(0, 1))  # it prints to every console itself
    elif answer == "2":
        shells.shell_on(device)
    elif answer in ("3", "4"):
        run(["busybox", "reboot" if answer == "3" else "poweroff", "-f"])


def on_every_console() -> None:
    """Show the menu on every console until the machine is switched off."""

    def serve(device: Path) -> None:
        screen = Console((device,), None)

        def ask() -> None:
            for line in [*TEXT.split("\n"), "your choice, then Enter:"]:
                screen.say(line)

        while True:
            try:
                with device.open("r", encoding="utf-8", errors="replace") as keyboard:
                    ask()
                    while answer := keyboard.readline():
                        try:
                            choose(answer.strip(), device)
                        except LvpackError as error:
                            screen.say(error.message)
                        ask()
            except OSError:
                return  # no hardware behind this console
            time.sleep(1)  # hung up, or Ctrl-D

    on_each(serve)
