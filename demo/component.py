"""Components of our own."""

from abc import ABCMeta
from typing import Any

from gradio.component_meta import ComponentMeta, updateable


class WithoutStub(ComponentMeta):
    """Gradio's metaclass, except that defining a class writes no `.pyi` file beside its source."""

    def __new__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> type:
        if "__init__" in attrs:
            attrs["__init__"] = updateable(attrs["__init__"])  # type: ignore[no-untyped-call]
        return ABCMeta.__new__(cls, name, bases, attrs)
