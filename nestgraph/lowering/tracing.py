"""Tracing by torch.fx that leaves the process alone: the traced module's own parts are watched, not all modules.

torch.fx's tracer replaces `nn.Module.__call__` and `__getattr__` for the whole process while it runs, so a module that
another thread runs meanwhile lands in the trace, and two traces at once spoil each other. Here the parts of the traced
module, which is the caller's own copy (`evaluated`), change their class for the time.
"""

import builtins
import functools
import logging
import os
import threading
import warnings
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

_SYMBOLIC = cast(Any, fx)._symbolic_trace
_LOGS = [logging.getLogger(f"torch.{name}") for name in ("fx.experimental.symbolic_shapes", "_subclasses.fake_tensor")]
_LOCK = threading.RLock()
"""Held while functions of modules are replaced by ones that answer proxies."""
if hasattr(os, "register_at_fork"):  # a forked process neither inherits such functions nor a lock that nobody releases
    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)


class _Watched(nn.Module):
    """What the class of a part has before its own class while the part is traced."""

    __slots__ = ()

    def __init_subclass__(cls, **options: Any) -> None:
        """Make nothing of being a subclass: classes may list those of theirs."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        forward = cast(Any, super()).__call__
        return _tracer(self).call_module(cast(Any, self), forward, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        value = cast(Any, super()).__getattr__(name)
        tracer = _tracer(self)
        return tracer.getattr(name, value, tracer.read)


def _tracer(part: Any) -> "InstanceTracer":
    return part.__dict__["_tracer"]


class InstanceTracer(fx.Tracer):
    """As torch.fx's tracer, but it watches the parts of the root alone. The root is changed: it is a copy."""

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        """The graph of a module's forward."""
        self.root, self.root_module_name = root, type(root).__name__
        self.submodule_paths = {part: path for path, part in root.named_modules()}
        self.graph = fx.Graph(tracer_cls=type(self))
        self.tensor_attrs = dict(_attributes(root))
        self.read: dict[str, fx.Proxy] = {}
        written = cast(Any, type(root)).forward
        forward, args = self.create_args_for_root(written, True, concrete_args)
        with _watching(root, self), _answering_proxies() as self._patcher:
            self._answer_in(written)
            for module in self._autowrap_search:
                _SYMBOLIC._autowrap_check(self._patcher, vars(module), self._autowrap_function_ids)
            self.create_node("output", "output", (self.create_arg(forward(*args)),), {})
        self.submodule_paths = None
        return self.graph

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Trace a submodule."""
        self._answer_in(getattr(m, "forward", None))
        return super().call_module(m, forward, args, kwargs)

    def _answer_in(self, function: Any) -> None:
        """Let functions of `math` that a function's own module has imported by name answer proxies."""
        _SYMBOLIC._autowrap_check(self._patcher, getattr(function, "__globals__", {}), self._autowrap_function_ids)


def _attributes(root: nn.Module) -> Generator[tuple[Any, str]]:
    """The tensors that are plain attributes of modules, and their paths."""
    for path, part in cast("Iterable[tuple[str, nn.Module]]", root.named_modules()):
        held = ((name, value) for name, value in vars(part).items() if isinstance(value, Tensor | torch.ScriptObject))
        yield from ((value, f"{path}.{name}" if path else name) for name, value in held)


@contextmanager
def _watching(root: nn.Module, tracer: InstanceTracer) -> Generator[None]:
    """Let calls and parameters of a module's parts go through a tracer."""
    kinds = {part: type(part) for part in root.modules()}
    watched: dict[type[nn.Module], type[nn.Module]] = {}
    try:
        for part, kind in kinds.items():
            fields = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__slots__": ()}
            if kind not in watched:
                watched[kind] = cast(Any, type(kind))(kind.__name__, (_Watched, kind), fields)
            part.__dict__["_tracer"] = tracer
            part.__class__ = watched[kind]
        yield
    finally:
        for part, kind in kinds.items():
            part.__class__ = kind
            part.__dict__.pop("_tracer", None)


class _Patcher(_SYMBOLIC._Patcher):
    """As torch.fx's, but what it puts in the place of a function is that function in all threads but the one it is of.

    torch.fx's own looks for proxies in whatever anybody calls the function with, and takes it apart and together again.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def here(self, function: Callable[..., Any], otherwise: Callable[..., Any]) -> Callable[..., Any]:
        """A function in this patcher's thread, and another one in others."""

        @functools.wraps(otherwise)
        def chosen(*args: Any, **kwargs: Any) -> Any:
            return (function if threading.get_ident() == self._thread else otherwise)(*args, **kwargs)

        return chosen

    def patch(
        self, frame_dict: dict[str, Any], name: str, new_fn: Callable[..., Any], deduplicate: bool = True
    ) -> None:
        """Replace a global of a module until the end of the context."""
        original = frame_dict[name] if name in frame_dict else getattr(builtins, name)
        super().patch(frame_dict, name, self.here(new_fn, original), deduplicate)

    def patch_method(self, cls: type, name: str, new_fn: Callable[..., Any], deduplicate: bool = True) -> None:
        """Replace a method of a class until the end of the context."""
        super().patch_method(cls, name, self.here(new_fn, getattr(cls, name)), deduplicate)


@contextmanager
def _answering_proxies() -> Generator[_Patcher]:
    """Let whatever was given to `fx.wrap`, custom autograd functions and what is added answer proxies for a while.

    They do so in this thread alone. A custom autograd function refuses: its forward would come over without its
    backward.
    """
    patcher = _Patcher()
    with _LOCK, patcher, _refusing_functions(patcher, lambda leaf: isinstance(leaf, fx.Proxy)):
        _SYMBOLIC._patch_wrapped_functions(patcher)
        yield patcher


@contextmanager
def _refusing_functions(patcher: _Patcher, traced: Callable[[Any], bool]) -> Generator[None]:
    """Let custom autograd functions refuse what is traced, in the thread of a patcher."""
    function = cast(Any, torch.autograd.Function)
    original = function.__dict__["apply"]

    def apply(cls: type, *args: Any, **kwargs: Any) -> Any:
        if any(map(traced, (*args, *kwargs.values()))):
            raise TypeError(f"the custom autograd function {cls.__name__} has a backward of its own")
        return original.__func__(cls, *args, **kwargs)

    function.apply = classmethod(patcher.here(apply, original.__func__))
    try:
        yield
    finally:
        function.apply = original


@contextmanager
def exporting() -> Generator[None]:
    """Let this thread call torch.export, as far as can be without others seeing it.

    What its tracer replaces for the whole process, such as `nn.Module.__call__`, is itself in other threads; other
    traces and forks wait. Custom autograd functions refuse tensors. Why something cannot be exported an error tells
    alone, not a log.
    """
    thread = threading.get_ident()

    def elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != thread

    with _LOCK, _refusing_functions(_Patcher(), lambda leaf: isinstance(leaf, Tensor)), _without_advice():
        original = _SYMBOLIC._Patcher
        _SYMBOLIC._Patcher = _Patcher
        for log in _LOGS:
            log.addFilter(elsewhere)
        try:
            yield
        finally:
            for log in _LOGS:
                log.removeFilter(elsewhere)
            _SYMBOLIC._Patcher = original


@contextmanager
def _without_advice() -> Generator[None]:
    """Without the warning for who writes exported programs to files that modules hold tensors as plain attributes.

    It is one more filter for the time, which leaves alone what other threads do with filters meanwhile.
    """
    warnings.filterwarnings("ignore", message="The tensor attributes? .* assigned during export", category=UserWarning)
    filters = cast("list[Any]", warnings.filters)
    ours = filters[0]
    try:
        yield
    finally:
        if ours in filters:
            filters.remove(ours)
