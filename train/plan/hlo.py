"""Optimised HLO, as XLA prints it, read into computations, instructions and shapes.

Only what counting needs: types, operands, and the attributes as text.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

_BITS = {"pred": 8, "token": 0, "opaque": 0}
_LEAF = re.compile(r"([a-z][a-z0-9]*)\[([0-9,<= ]*)\](\{[^{}]*\})?")
_HEAD = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")
_NAME = re.compile(r"%([\w.\-]+)")
HBM = 0


@dataclass(frozen=True)
class Shape:
    """An array's type, and the memory it lies in (0 is HBM; others are on the chip or the host)."""

    dtype: str
    dims: tuple[int, ...]
    space: int = HBM

    @property
    def bytes(self) -> int:
        """Its size without padding."""
        width = re.search(r"\d+", self.dtype)
        bits = _BITS.get(self.dtype, int(width[0]) if width else 0)
        return math.prod(self.dims) * bits // 8

    @property
    def hbm_bytes(self) -> int:
        """Its size where it lies in HBM, else 0."""
        return self.bytes if self.space == HBM else 0


@dataclass(frozen=True)
class Instruction:
    """`%name = shapes opcode(operands), attributes`."""

    name: str
    opcode: str
    shapes: tuple[Shape, ...]
    """Leaves of its type, tuples flattened."""
    operands: tuple[str, ...]
    argument: str
    """What stands between the parentheses: a constant's value, a parameter's number."""
    attributes: str
    is_root: bool

    def attribute(self, pattern: str) -> str | None:
        """The first group of a pattern in the attributes."""
        found = re.search(pattern, self.attributes)
        return found[1] if found else None

    @cached_property
    def called(self) -> tuple[str, ...]:
        """Computations named in the attributes that this instruction runs, in their order."""
        names = re.findall(r"(?:calls|body|to_apply)=%?([\w.\-]+)", self.attributes)
        for group in re.findall(
            r"(?:branch_computations|called_computations)=\{([^}]*)\}", self.attributes
        ):
            names += _NAME.findall(group)
        names += re.findall(r"(?:true_computation|false_computation)=%?([\w.\-]+)", self.attributes)
        return tuple(names)


@dataclass
class Computation:
    """A function of the program: instructions in order."""

    name: str
    instructions: dict[str, Instruction] = field(default_factory=dict)

    @property
    def root(self) -> Instruction:
        """What it returns."""
        return next(i for i in self.instructions.values() if i.is_root)

    @cached_property
    def users(self) -> Mapping[str, Sequence[Instruction]]:
        """Who reads each instruction."""
        found: dict[str, list[Instruction]] = {name: [] for name in self.instructions}
        for instruction in self.instructions.values():
            for name in dict.fromkeys(instruction.operands):
                found[name].append(instruction)
        return found

    @cached_property
    def parameters(self) -> Mapping[int, Instruction]:
        """Parameters by their number."""
        return {int(i.argument): i for i in self.instructions.values() if i.opcode == "parameter"}


@dataclass(frozen=True)
class Module:
    """A program."""

    computations: Mapping[str, Computation]
    entry: Computation


def parse(text: str) -> Module:
    """Reads what `compiled.as_text()` returns.

    Raises ValueError where the text has no entry computation.
    """
    computations: dict[str, Computation] = {}
    entry = current = None
    # Notes of a kernel are printed over several lines.
    for line in re.sub(r'\n(?="|\}\})', " ", text).splitlines():
        if current is None or not line.startswith(" "):
            head = _HEAD.match(line)
            if head:
                current = computations[head[1]] = Computation(head[1])
                entry = current if line.startswith("ENTRY") else entry
        elif begin := _INSTRUCTION.match(line):
            instruction = _instruction(line[begin.end() :], begin[2], bool(begin[1]))
            current.instructions[instruction.name] = instruction
    if entry is None:
        raise ValueError("this is no HLO module: it has no ENTRY")
    return Module(computations, entry)


def _instruction(text: str, name: str, is_root: bool) -> Instruction:
    end = _closing(text) if text.startswith("(") else text.index(" ")
    kind, rest = text[:end], text[end:].lstrip()
    opcode, _, rest = rest.partition("(")
    end = _closing("(" + rest) - 1
    argument, attributes = rest[: end - 1], rest[end:]
    operands = () if opcode in ("constant", "parameter") else tuple(_NAME.findall(argument))
    return Instruction(name, opcode, shapes(kind), operands, argument, attributes, is_root)


def shapes(text: str) -> tuple[Shape, ...]:
    """The leaves of a type: `(f32[2,3]{1,0:S(1)}, s32[])`."""
    return tuple(
        Shape(dtype, tuple(int(n.strip("<= ")) for n in dims.split(",") if n), _space(layout))
        for dtype, dims, layout in _LEAF.findall(text)
    )


def _space(layout: str) -> int:
    found = re.search(r"S\((\d+)\)", layout)
    return int(found[1]) if found else HBM


def _closing(text: str) -> int:
    """Just behind the parenthesis that closes the first character."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return i + 1
    raise ValueError(f"unbalanced parentheses: {text[:80]}")
