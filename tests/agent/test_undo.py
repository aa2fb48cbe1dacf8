import pytest

from lvpack_agent.errors import Failed
from lvpack_agent.undo import Undo


def _fail() -> None:
    raise Failed("cannot unmount")


def test_undo_that_fails_does_not_hide_the_cause() -> None:
    done: list[str] = []
    with pytest.raises(Failed, match="cannot dump") as caught, Undo() as undo:
        undo.callback(done.append, "first in, last out")
        undo.callback(_fail)
        raise Failed("cannot dump")
    assert caught.value.__notes__ == ["cannot unmount"]
    assert done == ["first in, last out"]


def test_undo_that_fails_after_success_is_an_error() -> None:
    with pytest.raises(Failed, match="cannot unmount"), Undo() as undo:
        undo.callback(_fail)
