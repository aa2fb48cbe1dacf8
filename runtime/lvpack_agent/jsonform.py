"""JSON forms of the frozen dataclasses: Layout, Plan, Report and what they hold."""

import dataclasses
import reprlib
import types
import typing
from typing import Any, TypeVar

from lvpack_agent.sizes import LIMIT

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Return a value in a form that json.dumps() takes.

    The metadata of a dataclass field can change its form: {"json": False} leaves the field out, {"unless": VALUE}
    leaves it out while it has that value, {"name": NAME} gives it another name in JSON.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = ((field, getattr(value, field.name)) for field in _fields(type(value)))
        return {_name(f): to_json(v) for f, v in found if "unless" not in f.metadata or v != f.metadata["unless"]}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    return value


def from_json(kind: type[T], data: Any) -> T:
    """Return an instance of a dataclass from its JSON form. Raises ValueError if the data does not fit its types."""
    return typing.cast(T, _read(kind, data))


def checked(value: T) -> T:
    """Return a dataclass whose values came from elsewhere. Raises ValueError if one is not of its field's type."""
    return from_json(type(value), to_json(value))


def _read(kind: Any, data: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(kind)
        if data is None and type(None) in options:
            return None
        return _read(next(o for o in options if o is not type(None)), data)
    if origin is tuple:
        item = typing.get_args(kind)[0]
        if not isinstance(data, list):
            raise ValueError(f"expected a list, found {reprlib.repr(data)}")
        return tuple(_read(item, d) for d in data)
    if origin is dict:
        item = typing.get_args(kind)[1]
        if not isinstance(data, dict):
            raise ValueError(f"expected an object, found {reprlib.repr(data)}")
        return {key: _read(item, d) for key, d in data.items()}
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(typing.cast(type, kind), data)
    if kind is Any or kind is object:
        return data
    if kind is float and isinstance(data, int) and not isinstance(data, bool) and -LIMIT <= data < LIMIT:
        return float(data)
    if not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
        raise ValueError(f"expected {kind.__name__}, found {reprlib.repr(data)}")
    # No count of bytes, seconds or sectors is larger; json.loads() also reads NaN and Infinity.
    if isinstance(data, int | float) and not -LIMIT <= data < LIMIT:
        raise ValueError(f"expected {kind.__name__}, found one that is too large")
    return data


def _read_dataclass(kind: type, data: Any) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"expected an object for {kind.__name__}, found {reprlib.repr(data)}")
    hints = typing.get_type_hints(kind)
    values = {f.name: _read(hints[f.name], data[_name(f)]) for f in _fields(kind) if _name(f) in data}
    for field in _fields(kind):
        if "unless" in field.metadata and values.get(field.name) == field.metadata["unless"]:
            raise ValueError(f"{kind.__name__}: {_name(field)} is {field.metadata['unless']}, which no form has")
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{kind.__name__}: {error}") from None


def _fields(kind: type) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(kind) if field.metadata.get("json", True)]


def _name(field: dataclasses.Field[Any]) -> str:
    return str(field.metadata.get("name", field.name))
