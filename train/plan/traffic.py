"""Bytes that an instruction moves between HBM and the chip.

Operands in, results out, a fusion as one: what happens inside of it stays on the chip. Of an
operand of which only a slice is read, the slice counts, and of one that is updated in place,
the update: a loop over stacked layers reads one layer a turn, not all of them.
"""

from train.plan.hlo import Computation, Instruction, Module

FREE = (
    *("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "iota", "domain"),
    *("while", "conditional", "call", "partition-id", "replica-id"),
    *("after-all", "add-dependency", "optimization-barrier", "send", "recv"),
)
"""Instructions that move nothing themselves."""
SLICES = ("dynamic-slice", "slice", "gather")
KERNEL = "tpu_custom_call"
"""A Pallas kernel; other custom calls on TPU are notes to the compiler."""


def hbm_bytes(instruction: Instruction, computation: Computation, module: Module) -> int:
    """Read and written by one run of an instruction at the top level of a computation."""
    opcode = instruction.opcode
    operands = [computation.instructions[name] for name in instruction.operands]
    if opcode in FREE or opcode.endswith(("-done", "-update")) or opcode == "async-start":
        return 0
    if opcode == "custom-call" and KERNEL not in instruction.attributes:
        return 0
    if opcode == "fusion":
        return _fusion(instruction, operands, module)
    if opcode in ("copy-start", "slice-start"):  # (destination, source, ...), ((source), slice, ..)
        moved = instruction.shapes[0 if opcode == "copy-start" else 1]
        source = operands[0].shapes[0]
        return moved.hbm_bytes + (moved.bytes if source.hbm_bytes else 0)
    results = instruction.shapes
    if opcode.endswith("-start") and len(results) > len(operands):  # (operands, results, ...)
        results = results[len(operands) : 2 * len(operands)]
    written = sum(shape.hbm_bytes for shape in results)
    if opcode in SLICES:
        return 2 * written
    if opcode in ("dynamic-update-slice", "scatter"):
        update = operands[1 if opcode == "dynamic-update-slice" else 2]
        return 2 * sum(shape.bytes for shape in update.shapes) if written else 0
    return written + sum(shape.hbm_bytes for operand in operands for shape in operand.shapes)


def _fusion(instruction: Instruction, operands: list[Instruction], module: Module) -> int:
    inner = module.computations[instruction.called[0]]
    read = 0
    for number, operand in enumerate(operands):
        whole = sum(shape.hbm_bytes for shape in operand.shapes)
        if whole and number in inner.parameters:
            read += min(whole, _read(inner.parameters[number], inner, module))
    root = inner.root
    if root.opcode == "tuple":
        results = [inner.instructions[name] for name in root.operands]
        pairs = zip(results, instruction.shapes, strict=False)
        return read + sum(
            _written(result, inner, module) for result, shape in pairs if shape.hbm_bytes
        )
    in_hbm = sum(shape.hbm_bytes for shape in instruction.shapes)
    return read + (min(in_hbm, _written(root, inner, module)) if in_hbm else 0)


def _read(value: Instruction, computation: Computation, module: Module) -> int:
    """Bytes of a parameter of a fusion that its users read."""
    whole, total = sum(shape.bytes for shape in value.shapes), 0
    for user in computation.users[value.name]:
        if user.opcode == "tuple" or "chain_id" in user.attributes:
            continue  # passed through, or a collective under way, which is counted where it starts
        if user.opcode in ("bitcast", "reshape"):
            total += _read(user, computation, module)
        elif user.opcode in SLICES and user.operands[0] == value.name:
            total += sum(shape.bytes for shape in user.shapes)
        elif user.opcode == "dynamic-update-slice" and user.operands[0] == value.name:
            continue
        elif user.opcode == "fusion":
            inner = module.computations[user.called[0]]
            number = user.operands.index(value.name)
            in_place = "output_to_operand_aliasing={{}: (0, {})}" in user.attributes
            total += (
                _read(user, computation, module)
                if in_place and number == 0
                else _read(inner.parameters[number], inner, module)
            )
        else:
            return whole
    return min(whole, total)


def _written(value: Instruction, computation: Computation, module: Module) -> int:
    """Bytes of a result of a fusion that it really writes."""
    if value.opcode == "parameter" or "chain_id" in value.attributes:
        return 0
    if value.opcode in ("bitcast", "reshape"):
        return _written(computation.instructions[value.operands[0]], computation, module)
    if value.opcode == "dynamic-update-slice":
        update = computation.instructions[value.operands[1]]
        return sum(shape.bytes for shape in update.shapes)
    if value.opcode == "fusion":
        inner = module.computations[value.called[0]]
        if inner.root.opcode != "tuple":
            return _written(inner.root, inner, module)
    return sum(shape.bytes for shape in value.shapes)
