"""Names and layouts of released parameters against ours, as data for both directions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import Tensor

# Expansions of a rule's placeholders; `{any}`, on the released side only: every level or layer, kept once by us.
_PLACEHOLDERS = {
    "any": r"\d+",
    "n": r"\d+",
    "m": r"\d+",
    "part": "stem|branch",
    "branch": "stem|time_branch|freq_branch",
    "p": "weight|bias",
    "qkv": "query|key|value",
}


@dataclass(frozen=True)
class Layout:
    """Conversion of a released tensor to ours, and back."""

    ours: Callable[[Tensor], Tensor]
    released: Callable[[Tensor], Tensor]


SAME = Layout(lambda t: t, lambda t: t)
CHANNELS = Layout(lambda t: t.reshape(-1), lambda t: t[None, :, None])  # [1, D, 1] and [D]
LINEAR = Layout(lambda t: t[..., 0] if t.ndim == 3 else t, lambda t: t[..., None] if t.ndim == 2 else t)  # [O, I, 1]
POSITIONS = Layout(lambda t: t[0, 0], lambda t: t[None, None])  # [1, 1, H, window] and [H, window]
PARTS = Layout(lambda t: t.t().contiguous(), lambda t: t.t().contiguous())  # complex, [2, D] and [D, 2]
PARTS_1 = Layout(lambda t: t[:, :, 0].t().contiguous(), lambda t: t.t()[:, :, None].contiguous())  # [2, D, 1]


@dataclass(frozen=True)
class Rule:
    """A released name and ours with the same placeholders; ours ends in `[{n}]` where it is one element of a vector."""

    released: str
    ours: str
    layout: Layout = SAME

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Pattern of the released names."""
        return _pattern(self.released)

    @cached_property
    def our_pattern(self) -> re.Pattern[str]:
        """Pattern of our names."""
        return _pattern(self.ours)


@dataclass(frozen=True)
class Translation:
    """Our name of a released parameter, which element of ours it is (None: the whole), and its layout."""

    name: str
    element: int | None
    layout: Layout

    def of(self, value: Tensor) -> Tensor:
        """A released value (or gradient) in our layout; an element becomes a scalar."""
        return self.layout.ours(value) if self.element is None else value.reshape(())


@dataclass(frozen=True)
class Spare:
    """A released parameter that no computation reads, one for each `twin` that is read, of which `value` makes it."""

    released: str
    twin: str
    value: Callable[[Tensor], Tensor] = torch.zeros_like


@dataclass(frozen=True)
class KeyTable:
    """All parameters of one released code base."""

    rules: tuple[Rule, ...]
    unused: tuple[str, ...] = ()  # released names that no computation reads, once per level
    spares: tuple[Spare, ...] = ()
    beside: tuple[str, ...] = ()  # how names start of a network that makes the features, which is not kept

    def translate(self, key: str) -> Translation | None:
        """Our name of a released parameter; None if it is unused. Raises KeyError for foreign ones."""
        if key.startswith(self.beside):
            return None
        if any(_pattern(name).fullmatch(key) for name in (*self.unused, *(spare.released for spare in self.spares))):
            return None
        for rule in self.rules:
            match = rule.pattern.fullmatch(key)
            if match:
                name, _, element = rule.ours.format(**match.groupdict()).partition("[")
                return Translation(name, int(element[:-1]) if element else None, rule.layout)
        raise KeyError(key)

    def knows(self, key: str) -> bool:
        """Whether this code base has a parameter of that name."""
        try:
            self.translate(key)
        except KeyError:
            return False
        return True

    def translate_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A released state dictionary in our names and layout; elements become vectors. Raises KeyError."""
        ours: dict[str, Tensor] = {}
        elements: dict[str, dict[int, Tensor]] = {}
        for key, value in state.items():
            translation = self.translate(key)
            if translation is None:
                continue
            if translation.element is not None:
                elements.setdefault(translation.name, {})[translation.element] = translation.of(value)
            else:
                ours[translation.name] = translation.of(value)
        for name, values in elements.items():
            ours[name] = torch.stack([values[index] for index in sorted(values)])
        return ours

    def release_state(self, state: dict[str, Tensor], levels: int) -> dict[str, Tensor]:
        """Our state dictionary in released names and layout, the inverse of `translate_state`.

        Unused parameters are 1 for each level, their value after training. Raises KeyError for a
        parameter that this code base does not have.
        """
        released = {name.format(n=level): torch.ones(()) for name in self.unused for level in range(levels)}
        for name, value in state.items():
            released |= self._release(name, value, range(levels))
        for key, value in list(released.items()):
            for spare in self.spares:
                if match := _pattern(spare.twin).fullmatch(key):
                    released[spare.released.format(**match.groupdict())] = spare.value(value)
        return released

    def _release(self, name: str, value: Tensor, levels: range) -> dict[str, Tensor]:
        released = {}
        for rule in self.rules:
            match = rule.our_pattern.fullmatch(name)
            if match:
                for key in {rule.released.format(**match.groupdict(), any=level) for level in levels}:
                    released[key] = rule.layout.released(value).clone(memory_format=torch.contiguous_format)
            elif rule.ours == f"{name}[{{n}}]":
                released |= {rule.released.format(n=place): element for place, element in enumerate(value.unbind())}
        if not released:
            raise KeyError(name)
        return released

    def reads(self, key: str) -> bool:
        """Whether any computation reads this released parameter. Raises KeyError for a foreign one."""
        return self.translate(key) is not None


@cache
def _pattern(template: str) -> re.Pattern[str]:
    fixed = re.split(r"\{\w+\}", template)
    named = [f"(?P<{name}>{_PLACEHOLDERS[name]})" for name in re.findall(r"\{(\w+)\}", template)]
    return re.compile("".join(re.escape(a) + b for a, b in zip(fixed, [*named, ""], strict=True)))
