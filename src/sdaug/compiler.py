"""Start-up without torch's compiler.

`torch._dynamo` takes as long to load as the rest of torch. Nothing is compiled here by default, yet torchvision and
transformers import it for functions that are never called, and diffusers and each optimizer for decorators that keep
something from being compiled. These few names get stand-ins; whatever asks for more (`torch.compile` does) gets the
real one.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGE = "torch._dynamo"
STAND_INS = tuple(f"{PACKAGE}{name}" for name in ("", ".utils", ".eval_frame", "._trace_wrapped_higher_order_op"))


class _Postponed(ModuleType):
    """A module that the real one replaces when an attribute is asked for that is not here."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python asks these of every module
            raise AttributeError(name)
        _load_compiler()
        return getattr(importlib.import_module(self.__name__), name)


class _Finder(MetaPathFinder, Loader):
    """Loads the real compiler as soon as one of its modules is imported that has no stand-in."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG002
        if not name.startswith(f"{PACKAGE}.") or not isinstance(sys.modules.get(PACKAGE), _Postponed):
            return None
        _load_compiler()
        importlib.import_module(name)
        return ModuleSpec(name, self, loader_state=sys.modules[name].__spec__)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to execute; the import system has only put our specification in place of its own."""
        if module.__spec__ is not None:
            module.__spec__ = module.__spec__.loader_state


def postpone_compiler() -> None:
    """Put stand-ins in the compiler's place, unless it has been loaded already."""
    if PACKAGE in sys.modules:
        return
    package, utils, eval_frame, tracing = (_Postponed(name) for name in STAND_INS)
    vars(utils).update(is_compile_supported=lambda _: False)
    vars(eval_frame).update(OptimizedModule=type("OptimizedModule", (), {}))  # what nothing is an instance of
    vars(tracing).update(TransformGetItemToIndex=_real_when_called(tracing.__name__, "TransformGetItemToIndex"))
    vars(package).update(
        __path__=[],
        utils=utils,
        eval_frame=eval_frame,
        disable=_as_it_is,
        allow_in_graph=_as_it_is,
        assume_constant_result=_as_it_is,
        graph_break=lambda: None,
    )
    sys.modules.update({module.__name__: module for module in (package, utils, eval_frame, tracing)})
    sys.meta_path.insert(0, _Finder())


def _load_compiler() -> None:
    for name in STAND_INS:
        if isinstance(sys.modules.get(name), _Postponed):
            del sys.modules[name]
    importlib.import_module(PACKAGE)


def _as_it_is(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Callable[..., Any]:
    """A decorator that changes nothing, with or without brackets."""
    return function or _as_it_is


def _real_when_called(module: str, name: str) -> Callable[..., Any]:
    """A class or function of the compiler that loads it when it is called first."""

    def call(*arguments: Any, **named: Any) -> Any:
        _load_compiler()
        return getattr(importlib.import_module(module), name)(*arguments, **named)

    return call
