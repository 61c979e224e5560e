"""How a module is called, and which of its results count."""

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, fx, nn

from nestgraph.errors import InteropError
from nestgraph.interop.elements import Elements
from nestgraph.interop.tracing import TensorFact
from nestgraph.interop.values import Foreign
from nestgraph.spec.wording import quoted

Place = str | int
WHOLE = (Tensor, Elements, Foreign, TensorFact)
"""What stands for one result."""

Examples = Tensor | Sequence[Tensor] | Mapping[str, Tensor]
Outputs = Sequence[Place] | Place | None


@dataclass(frozen=True)
class Call:
    """A way to call a module.

    Attributes:
        names: of the parameters of `forward` that tensors are given to; None where they go by place.
        outputs: names or places of the results that count; None for all.
    """

    names: tuple[str, ...] | None = None
    outputs: tuple[Place, ...] | None = None

    def __call__(self, module: nn.Module, *tensors: Tensor) -> Any:
        """The results of a module that count, for tensors in their order, in dictionaries and lists."""
        return self.results(self.returned(module, *tensors))

    def returned(self, module: nn.Module, *tensors: Tensor) -> Any:
        """What a module gives for tensors in their order.

        The forward of one of fx is called itself, as the module would print its source where it fails.
        """
        run = module.forward if isinstance(module, fx.GraphModule) else module
        return run(*tensors) if self.names is None else run(**dict(zip(self.names, tensors, strict=True)))

    def results(self, returned: Any) -> Any:
        """Those that count of what a module returns, in dictionaries and lists.

        Raises:
            InteropError: there is none of a name or at a place.
        """
        if self.outputs is None:
            return _plain(returned)
        return {str(place): _plain(_at(returned, place)) for place in self.outputs}


def left_out(returned: Any) -> list[str]:
    """What of a `ModelOutput` is not among the results unless it is asked for."""
    return [name for name in _entries(returned) if name not in _plain(returned)] if _has_fields(returned) else []


def call_of(module: nn.Module, examples: Examples, outputs: Outputs) -> tuple[Call, list[Any]]:
    """How to call a module with examples, and the examples in the order of its parameters.

    Raises:
        InteropError: it has no parameters of their names.
    """
    one = isinstance(outputs, str | int)
    counting = None if outputs is None else (outputs,) if one else tuple(outputs)
    if isinstance(examples, Tensor):
        return Call(None, counting), [examples]
    if not isinstance(examples, Mapping):
        return Call(None, counting), list(examples)
    known = inspect.signature(module.forward).parameters
    order = [name for name in known if name in examples] + [name for name in examples if name not in known]
    catching = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    if not catching and order[-1:] and order[-1] not in known:
        raise InteropError(
            f"import_module expected example inputs for parameters of {type(module).__name__}.forward "
            f"({', '.join(known)}), got one for {quoted(order[-1])}"
        )
    return Call(tuple(order), counting), [examples[name] for name in order]


def _at(returned: Any, place: Place) -> Any:
    """A result by its name, its place, or names and places with dots between them."""
    for step in [place] if isinstance(place, int) or _has(returned, place) else place.split("."):
        if not _has(returned, step):
            raise InteropError(
                f"import_module expected outputs among {_places(returned)}, got {quoted(place)}: "
                "name one of these, or an entry of one after a dot"
            )
        returned = _entries(returned)[str(step)]
    return returned


def _has(returned: Any, step: Place) -> bool:
    return str(step) in _entries(returned)


def _places(returned: Any) -> list[str]:
    return list(_entries(returned))


def _entries(returned: Any) -> dict[str, Any]:
    """What a result is made of, by name or place."""
    if isinstance(returned, WHOLE):
        return {}
    if isinstance(returned, Mapping):
        return {str(key): value for key, value in cast("Mapping[Any, Any]", returned).items()}
    if dataclasses.is_dataclass(returned) and not isinstance(returned, type):
        return {field.name: getattr(returned, field.name) for field in dataclasses.fields(returned)}
    if isinstance(returned, list | tuple):
        return {str(place): value for place, value in enumerate(cast("Sequence[Any]", returned))}
    return {}


def _has_fields(returned: Any) -> bool:
    """Whether a result is a mapping of declared fields."""
    return isinstance(returned, Mapping) and dataclasses.is_dataclass(cast(object, returned))


def _plain(returned: Any) -> Any:
    """A result as dictionaries and lists. Of a mapping of declared fields (`ModelOutput`), the tensors alone.

    Such a mapping has whatever its model could give: caches, and all values on the way.
    """
    entries = _entries(returned)
    if not entries:
        return returned
    if _has_fields(returned):
        return {name: value for name, value in entries.items() if isinstance(value, WHOLE)}
    parts = {name: _plain(value) for name, value in entries.items()}
    return list(parts.values()) if isinstance(returned, list | tuple) else parts
