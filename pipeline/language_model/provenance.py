"""Which sums a forward pass forms: every tensor as a linear combination of what was added up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

Terms = dict[int, float]

_ADDS = frozenset({"add", "add_", "__add__", "__radd__", "__iadd__"})
_SUBTRACTS = frozenset({"sub", "sub_", "__sub__", "__isub__"})
_MULTIPLIES = frozenset({"mul", "mul_", "multiply", "__mul__", "__rmul__", "__imul__"})
_DIVIDES = frozenset({"div", "div_", "true_divide", "__truediv__", "__itruediv__"})
_SHAPES = frozenset({"view", "view_as", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze"})
_CASTS = frozenset({"to", "type", "type_as", "float", "half", "bfloat16", "double"})
_SAME_VALUES = _SHAPES | _CASTS | {"contiguous", "clone", "detach", "requires_grad_"}


@dataclass(frozen=True)
class Point:
    """A tensor as it was at one moment of the pass, however it is written into later.

    edge: its place in the gradient graph, None for a constant.
    """

    shape: torch.Size
    dtype: torch.dtype
    device: torch.device
    edge: GradientEdge | None

    @classmethod
    def of(cls, tensor: Tensor) -> Point:
        """The point where a tensor is now."""
        edge = get_gradient_edge(tensor) if tensor.requires_grad else None
        return cls(tensor.shape, tensor.dtype, tensor.device, edge)


class Provenance(TorchFunctionMode):
    """While active, writes every tensor as a sum of coefficients times atoms.

    Additions and multiplications by a number are followed; what any other operation makes is a
    new atom. Reshapes and casts leave the combination as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.atoms: list[Point] = []
        self.sums: list[tuple[Point, Terms]] = []
        self._terms: dict[int, Terms] = {}
        self._alive: list[Tensor] = []

    def terms(self, tensor: Tensor) -> Terms:
        """The combination that a tensor stands for; an unknown tensor becomes an atom."""
        if id(tensor) not in self._terms:
            self.mark(tensor)
        return self._terms[id(tensor)]

    def mark(self, tensor: Tensor) -> int:
        """Make a tensor a new atom, whatever it was; its number."""
        self.atoms.append(Point.of(tensor))
        self._note(tensor, {len(self.atoms) - 1: 1.0})
        return len(self.atoms) - 1

    def _note(self, tensor: Tensor, terms: Terms) -> None:
        self._alive.append(tensor)
        self._terms[id(tensor)] = terms

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        terms = self._followed(name, args, kwargs)
        result = func(*args, **kwargs)
        if terms is not None and _is_float(result):
            self._note(result, terms)
            if len(terms) > 1 and result.requires_grad:
                self.sums.append((Point.of(result), terms))
        elif args and _writes(name):
            self._terms.pop(id(args[0]), None)
        return result

    def _followed(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Terms | None:
        if not args or not _is_float(args[0]):
            return self._scaled(args[1], args[0]) if self._swapped(name, args) else None
        first = args[0]
        if name in _SAME_VALUES or (name == "dropout" and not _training(args, kwargs)):
            return self.terms(first)
        other = args[1] if len(args) > 1 else kwargs.get("other")
        if name in _ADDS or name in _SUBTRACTS:
            if not _is_float(other) or other.shape != first.shape:
                return None
            factor = kwargs.get("alpha", 1) * (1.0 if name in _ADDS else -1.0)
            return _sum(self.terms(first), self.terms(other), factor)
        if name in _MULTIPLIES:
            return self._scaled(first, other) or (
                self._scaled(other, first) if _is_float(other) else None
            )
        if name in _DIVIDES and (number := _number(other)):
            return self._scaled(first, 1.0 / number)
        return None

    @staticmethod
    def _swapped(name: str, args: tuple[Any, ...]) -> bool:
        return name in _MULTIPLIES and len(args) == 2 and _is_float(args[1])

    def _scaled(self, tensor: Tensor, by: Any) -> Terms | None:
        number = _number(by)
        if number is None or tensor.numel() == 1:
            return None
        return {atom: number * factor for atom, factor in self.terms(tensor).items()}


def proportional(left: Terms, right: Terms) -> float | None:
    """The number c with left = c * right, None where there is none."""
    left = {atom: value for atom, value in left.items() if value}
    right = {atom: value for atom, value in right.items() if value}
    if not left or left.keys() != right.keys():
        return None
    ratios = [left[atom] / right[atom] for atom in left]
    return ratios[0] if max(ratios) - min(ratios) <= 1e-6 * abs(ratios[0]) else None


def _writes(name: str) -> bool:
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or name == "__setitem__" or (name.startswith("__i") and name != "__invert__")


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _number(value: Any) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if _is_float(value) and value.numel() == 1:
        return float(value.detach())
    return None


def _training(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return bool(args[2] if len(args) > 2 else kwargs.get("training", kwargs.get("train", True)))


def _sum(left: Terms, right: Terms, factor: float) -> Terms:
    total = dict(left)
    for atom, coefficient in right.items():
        total[atom] = total.get(atom, 0.0) + factor * coefficient
    return total
