"""SIGTERM ends a run as an error does."""

import signal
import sys
import threading
import time

import pytest

from lvpack_agent.errors import Ended
from lvpack_agent.machine.ending import Ending
from lvpack_agent.processes import run


def test_it_is_an_error_that_names_the_action_and_cleaning_up_is_not_disturbed() -> None:
    ending, done = Ending(), False
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Ended, match="cannot finish backup") as failed, ending.heeded("backup"):
        assert ending.is_running and not ending.is_waiting()
        try:
            ending.ask()
            time.sleep(5)
        finally:
            ending.ask()
            time.sleep(0.01)
            done = True
            assert ending.is_waiting(), "the share is to be given up, also if another thread waits for it"
    assert done and failed.value.hint and not ending.is_running
    assert signal.getsignal(signal.SIGTERM) == before


# In a process of its own: a signal that one thread does not take goes to any other.
DEAF = """
import signal, threading
from lvpack_agent.machine.ending import Ending
ending, heard = Ending(), []
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # as one that waits in the kernel
assert not ending.is_waiting()
ending.ask()
other = threading.Thread(target=lambda: heard.append(ending.is_waiting()))
other.start()
other.join()
signal.sigwait([signal.SIGTERM])
print(heard, ending.is_waiting())
"""


@pytest.mark.starts_processes
def test_other_threads_know_of_a_signal_that_the_main_thread_does_not_see() -> None:
    assert run([sys.executable, "-c", DEAF]).stdout == "[True] False\n"


@pytest.mark.starts_processes
def test_a_program_that_runs_is_ended() -> None:
    ending, begun = Ending(), time.monotonic()
    threading.Timer(0.3, ending.ask).start()
    with pytest.raises(Ended, match="told to end"), ending.heeded("restore"):
        run(["sleep", "60"])
    assert time.monotonic() - begun < 10
