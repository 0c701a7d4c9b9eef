"""Bodies of Platform API calls, judged by a model of what they may be."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from telecine.errors import BadRequest

Model = TypeVar("Model", bound=BaseModel)


def parsed(model: type[Model], document: dict[str, Any]) -> Model:
    """Raises BadRequest, which says where and why."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        told = "; ".join(f"{_place(each['loc'])}: {each['msg']}" for each in problems[:5])
        raise BadRequest(told) from None


def _place(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(step)[:200] for step in loc)
