"""JSON forms: what other programs and older versions of lvpack rely on."""

from dataclasses import dataclass, field

import pytest

from lvpack_agent.jsonform import from_json, to_json


@dataclass(frozen=True, kw_only=True)
class Part:
    size: int
    where: str | None = None


@dataclass(frozen=True, kw_only=True)
class Whole:
    parts: tuple[Part, ...]
    by_name: dict[str, float] = field(default_factory=dict)
    seen: int = field(default=-1, metadata={"unless": -1})
    spoken: str = field(default="", metadata={"name": "spoken aloud"})
    secret: str = field(default="none", metadata={"json": False})


WHOLE = Whole(
    parts=(Part(size=1), Part(size=2, where="here")), by_name={"a": 1.5}, spoken="yes", secret="told to nobody"
)


def test_a_form_leaves_out_what_its_fields_say() -> None:
    form = to_json(WHOLE)
    assert form == {
        "parts": [{"size": 1, "where": None}, {"size": 2, "where": "here"}],
        "by_name": {"a": 1.5},
        "spoken aloud": "yes",
    }
    assert to_json(Whole(parts=(), seen=0))["seen"] == 0


def test_a_form_is_read_as_what_it_was_made_of() -> None:
    again = from_json(Whole, to_json(WHOLE))
    assert again == Whole(parts=WHOLE.parts, by_name=WHOLE.by_name, spoken="yes")
    assert from_json(Whole, {"parts": [], "by_name": {"a": 2}, "later": "passed over"}).by_name == {"a": 2.0}


@pytest.mark.parametrize(
    ("form", "cause"),
    [
        ([], "expected an object for Whole"),
        ({}, "parts"),
        ({"parts": {}}, "expected a list"),
        ({"parts": [{"size": "1"}]}, "expected int, found '1'"),
        ({"parts": [{"size": True}]}, "expected int, found True"),
        ({"parts": [{"size": 1, "where": 2}]}, "expected str, found 2"),
        ({"parts": [], "by_name": []}, "expected an object"),
        ({"parts": [], "seen": None}, "expected int, found None"),
        ({"parts": [], "seen": -1}, "seen is -1, which no form has"),
    ],
)
def test_data_that_does_not_fit_is_refused(form: object, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        from_json(Whole, form)
