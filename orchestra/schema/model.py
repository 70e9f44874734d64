"""A pydantic model of a target_schema, so that a client writes `result.competitors[0].name` and an editor believes it.

Leaves are checked as everywhere else, so for shorthand the model takes exactly what its JSON Schema takes; for a JSON
Schema of the caller's own, never more.
Datetimes and urls stay the strings they came as: a value must remain equal to the one its source is quoted for.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import partial
from types import new_class
from typing import Annotated, Any, TypeAlias, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, RootModel, Strict, create_model, model_validator
from pydantic import Field as PydanticField
from pydantic.functional_validators import ModelWrapValidatorHandler

from orchestra.schema.shapes import AnyShape, DictOf, Enum, Field, ListOf, Nullable, Record, Scalar, Shape
from orchestra.schema.values import coerce

Check: TypeAlias = Callable[[Any], str]
"""What is wrong with a whole document beyond its types, or an empty string."""

_PYTHON: dict[str, Any] = {"int": int, "bool": bool, "float": float, "str": str, "datetime": str, "url": str}
_TAKEN = frozenset(dir(BaseModel)) | frozenset(keyword.kwlist)


def build_model(shape: Record | DictOf, check: Check, name: str = "Result") -> type[BaseModel]:
    """A model class for the root of a schema. `check` runs on the raw data after the types fit."""
    if isinstance(shape, DictOf):
        root: Any = RootModel[_type(shape, name)]
        return create_model(name, __base__=root, __validators__=_validators(check))
    return _model(shape, name, check)


def attribute_names(names: list[str]) -> list[str]:
    """A Python attribute for each key, itself where it can be, distinct and never one that pydantic or Python owns."""
    used: set[str] = set()
    result: list[str] = []
    for name in names:
        safe = _safe(name)
        number = 2
        while safe in used or (safe != name and safe in names):
            safe, number = f"{_safe(name).rstrip('_0123456789')}_{number}", number + 1
        used.add(safe)
        result.append(safe)
    return result


def _safe(name: str) -> str:
    plain = unicodedata.normalize("NFKC", name)
    plain = re.sub(r"\W", "_", plain).lstrip("_")
    if not plain or not plain.isidentifier():
        plain = f"field_{plain}"
    return f"{plain}_" if plain in _TAKEN or plain.startswith("model_") else plain


def _model(shape: Record, name: str, check: Check | None) -> type[BaseModel]:
    attributes = attribute_names([field.name for field in shape.fields])
    fields = {
        attribute: _field(field, f"{name}{_camel(field.name)}")
        for attribute, field in zip(attributes, shape.fields, strict=True)
    }
    base = _base(shape.extra, name)
    return create_model(name, __base__=base, __validators__=_validators(check), **fields)


def _base(extra: Shape | None, name: str) -> type[BaseModel]:
    config = ConfigDict(extra="forbid" if extra is None else "allow", protected_namespaces=(), frozen=True)
    namespace: dict[str, Any] = {"model_config": config, "__module__": __name__}
    if extra is not None and not isinstance(extra, AnyShape):
        namespace["__annotations__"] = {"__pydantic_extra__": dict[str, _type(extra, f"{name}Extra")]}
    return cast(
        "type[BaseModel]", new_class(f"{name}Base", (BaseModel,), exec_body=lambda body: body.update(namespace))
    )


def _validators(check: Check | None) -> dict[str, Any]:
    if check is None:
        return {}

    def whole(_: type[BaseModel], data: Any, handler: ModelWrapValidatorHandler[BaseModel]) -> BaseModel:
        result = handler(data)
        if isinstance(data, Mapping) and (wrong := check(cast("Any", data))):
            raise ValueError(wrong)
        return result

    return {"whole": cast("Any", model_validator(mode="wrap"))(classmethod(cast("Any", whole)))}


def _field(field: Field, name: str) -> Any:
    info: Any = PydanticField(alias=field.name, description=field.description or None)
    if not field.required:
        info = PydanticField(default=None, alias=field.name, description=field.description or None)
    return (_type(field.shape, name), info)


def _type(shape: Shape, name: str) -> Any:
    match shape:
        case AnyShape():
            return Any
        case Scalar(kind):
            return Annotated[_PYTHON[kind], BeforeValidator(partial(coerce, shape=shape))]
        case Enum():
            return Annotated[Any, BeforeValidator(partial(coerce, shape=shape))]
        case Nullable(inner):
            return _type(inner, name) | None if isinstance(inner, Record) else _or_none(_type(inner, name))
        case ListOf(item):
            return Annotated[list[_type(item, f"{name}Item")], Strict()]
        case DictOf(value):
            return Annotated[dict[str, _type(value, f"{name}Value")], Strict()]
        case Record():
            return _model(shape, name, None)


def _or_none(inner: Any) -> Any:
    return inner | None


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in re.split(r"\W+|_", name)[:4])[:40]
