"""What ended a run, said once."""

from lvpack_agent.errors import Failed
from lvpack_agent.outcome import say_notes
from lvpack_agent.session import Session


def test_what_failed_while_cleaning_up_is_said_of_an_error_that_was_raised_anew() -> None:
    said: list[str] = []
    first = Failed("cannot merge")
    first.add_note("cannot unmount")
    try:
        raise Failed("cannot merge", hint="the next boot goes on") from first
    except Failed as error:
        for _ in range(2):
            say_notes(error, Session(action="backup", out=said.append))
    assert said == ["while cleaning up: cannot unmount"]
