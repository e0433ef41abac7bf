"""What a program does in one run: loops with their trip counts, fusions and calls opened.

XLA's own cost analysis counts the body of a loop once, whatever its length.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass

from train.plan.flops import PRODUCTS, product_flops
from train.plan.groups import Group, groups_of
from train.plan.hlo import Computation, Instruction, Module
from train.plan.kernels import Kernel, kernel_of
from train.plan.traffic import hbm_bytes

COLLECTIVES = (
    "all-gather",
    "reduce-scatter",
    "all-reduce",
    "all-to-all",
    "collective-permute",
)


@dataclass(frozen=True)
class Collective:
    """A collective, and how often it runs."""

    kind: str
    bytes: int
    """A chip's payload: the gathered array, or the one that is reduced, exchanged or sent."""
    groups: tuple[Group, ...]
    source: str
    """The operation of the model that it serves, as JAX names it."""
    count: float = 1


@dataclass(frozen=True)
class Costs:
    """Of one run, on one device."""

    flops: float = 0
    """Of matrix products in the open: 2 for a multiply-add."""
    hbm_bytes: float = 0
    """Between HBM and the chip."""
    collectives: tuple[Collective, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    """Pallas kernels, whose products the program does not show."""
    unknown_loops: int = 0
    """Loops of unknown length, counted once."""

    def __add__(self, other: "Costs") -> "Costs":
        """Both, one after the other."""
        return Costs(*(a + b for a, b in zip(_values(self), _values(other), strict=True)))

    def times(self, count: float) -> "Costs":
        """So many runs."""

        def repeated(items: tuple) -> tuple:
            return tuple(dataclasses.replace(item, count=item.count * count) for item in items)

        return Costs(
            self.flops * count,
            self.hbm_bytes * count,
            repeated(self.collectives),
            repeated(self.kernels),
            self.unknown_loops,
        )


def _values(costs: Costs) -> tuple:
    return tuple(getattr(costs, field.name) for field in dataclasses.fields(costs))


def program_costs(module: Module, num_devices: int) -> Costs:
    """Costs of the entry computation on one of `num_devices`."""
    repeats = _parts_under_way(module)
    known: dict[tuple[str, bool], Costs] = {}

    def of_computation(name: str, fused: bool) -> Costs:
        if (name, fused) not in known:
            computation = module.computations[name]
            total = Costs()
            for instruction in computation.instructions.values():
                total += of_instruction(instruction, computation, fused)
            known[name, fused] = total
        return known[name, fused]

    def of_instruction(instruction: Instruction, computation: Computation, fused: bool) -> Costs:
        opcode = instruction.opcode
        moved = 0 if fused else hbm_bytes(instruction, computation, module)
        if opcode == "while":
            trips = trip_count(instruction, computation, module)
            body = of_computation(instruction.called[0], fused)
            return body.times(trips or 1) + Costs(unknown_loops=int(trips is None))
        if opcode == "conditional":
            branches = [of_computation(name, fused) for name in instruction.called]
            return max(branches, key=lambda costs: (costs.flops, costs.hbm_bytes))
        if opcode in ("call", "async-start"):
            return sum((of_computation(n, fused) for n in instruction.called), Costs())
        if opcode == "fusion":
            return of_computation(instruction.called[0], True) + Costs(hbm_bytes=moved)
        if opcode in PRODUCTS:
            return Costs(flops=product_flops(instruction, computation), hbm_bytes=moved)
        if opcode == "custom-call" and (kernel := kernel_of(instruction)):
            return Costs(hbm_bytes=moved, kernels=(kernel,))
        if opcode == "send" and "xla_megascale_runtime" in instruction.attributes:
            return Costs(collectives=(_across_slices(instruction, computation, num_devices),))
        if opcode.removesuffix("-start") in COLLECTIVES and instruction.name not in repeats:
            found = _collective(instruction, computation, num_devices)
            return Costs(hbm_bytes=moved, collectives=(found,))
        return Costs(hbm_bytes=moved)

    return of_computation(module.entry.name, False)


def _parts_under_way(module: Module) -> set[str]:
    """Names of collectives that only carry on what another began.

    On TPU a collective may run beside several fusions, in each of which it appears again under
    the same chain_id.
    """
    seen: set[str] = set()
    repeats: set[str] = set()
    for computation in module.computations.values():
        for instruction in computation.instructions.values():
            chain = instruction.attribute(r'chain_id="(\d+)"')
            if chain is not None:
                (repeats if chain in seen else set()).add(instruction.name)
                seen.add(chain)
    return repeats


def _collective(instruction: Instruction, computation: Computation, num_devices: int) -> Collective:
    kind = instruction.opcode.removesuffix("-start")
    groups = groups_of(instruction, num_devices)
    operands = [computation.instructions[name] for name in instruction.operands]
    size = sum(shape.bytes for operand in operands for shape in operand.shapes)
    if kind == "all-gather":
        size *= len(groups[0])
    if kind == "all-reduce" and computation.name.startswith("all-reduce-scatter"):
        kind = "reduce-scatter"  # TPU's fusion of a sum and the slice that each device keeps
    source = instruction.attribute(r'op_name="([^"]*)"') or ""
    return Collective(kind, size, groups, source)


def _across_slices(
    instruction: Instruction, computation: Computation, num_devices: int
) -> Collective:
    """A collective between slices, which the compiler leaves to the hosts: what a chip sends.

    Chips at the same place in their slices form a group; `{1,2}x{0:3}` are two slices.
    """
    kind = instruction.attribute(r'megascale_transfer_type="(\w+)"') or ""
    target = instruction.attribute(r'megascale_target="\{([\d,:]+)\}') or ""
    slices = 0
    for part in target.split(","):
        first, _, last = part.partition(":")
        slices += int(last or first) - int(first) + 1
    each = num_devices // slices
    groups = tuple(tuple(range(i, each * slices, each)) for i in range(each))
    sent = computation.instructions[instruction.operands[0]]
    size = sum(shape.bytes for shape in sent.shapes) * (slices if kind == "ALL_GATHER" else 1)
    source = instruction.attribute(r'op_name="([^"]*)"') or ""
    return Collective(kind.lower().replace("_", "-"), size, groups, source)


def trip_count(loop: Instruction, computation: Computation, module: Module) -> int | None:
    """How often a loop's body runs; None where the program does not say.

    XLA notes it, or the condition compares a counter with a constant. The counter may rise by more
    than one: of a product whose parts are sent round while others are multiplied, each run of the
    body does two.
    """
    if noted := loop.attribute(r'known_trip_count":\{"n":"(\d+)"'):
        return int(noted)
    condition = module.computations[loop.attribute(r"condition=%?([\w.\-]+)") or ""]
    ends = [
        i
        for i in condition.instructions.values()
        if re.fullmatch(r"-?\d+", i.argument) and i.opcode == "constant"
    ]
    compare = _comparison(condition, module)
    if len(ends) != 1 or compare not in ("LT", "LE"):
        return None
    distance = int(ends[0].argument) + (compare == "LE") - _start(loop, computation, condition)
    return -(-distance // _stride(loop, condition, module))


def _comparison(condition: Computation, module: Module) -> str | None:
    root = condition.root
    while root.opcode in ("fusion", "call"):
        root = module.computations[root.called[0]].root
    return root.attribute(r"direction=(\w+)") if root.opcode == "compare" else None


def _start(loop: Instruction, computation: Computation, condition: Computation) -> int:
    """The counter's first value: a constant in the loop's initial tuple, or 0."""
    first = _counter(computation.instructions[loop.operands[0]], computation, condition)
    return _number(first) or 0


def _stride(loop: Instruction, condition: Computation, module: Module) -> int:
    """By how much the body raises the counter: the constant that it adds, or 1."""
    body = module.computations[loop.attribute(r"body=%?([\w.\-]+)") or ""]
    after = _counter(body.root, body, condition)
    if after is None or after.opcode != "add":
        return 1
    added = (_number(body.instructions[name]) for name in after.operands)
    return max((1, *(number for number in added if number is not None)))


def _counter(
    state: Instruction, computation: Computation, condition: Computation
) -> Instruction | None:
    """What the state of a loop, a tuple, has at the place that the condition reads first."""
    read = (i for i in condition.instructions.values() if i.opcode == "get-tuple-element")
    element = next(read, None)
    if element is None or state.opcode != "tuple":
        return None
    instructions: Mapping[str, Instruction] = computation.instructions
    found = instructions[state.operands[int(element.attribute(r"index=(\d+)") or 0)]]
    while found.opcode in ("copy", "bitcast"):
        found = instructions[found.operands[0]]
    return found


def _number(instruction: Instruction | None) -> int | None:
    """The value of a constant of one whole number; None of anything else."""
    if instruction is None or instruction.opcode != "constant":
        return None
    return int(instruction.argument) if re.fullmatch(r"-?\d+", instruction.argument) else None
