"""A plan in words: for a terminal, and as a page of Markdown."""

from collections.abc import Sequence

from train.plan.analysis import Plan, Traffic

GIB = 2**30


def gib(number: float) -> str:
    """Bytes in GiB, with three figures that mean something."""
    value = number / GIB
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def headline(plan: Plan) -> str:
    """What is planned, in two lines."""
    axes = " x ".join(f"{axis} {size}" for axis, size in plan.mesh.items() if size > 1)
    chips = f"{plan.chips} chips"
    chips += f" ({plan.devices} devices)" if plan.devices != plan.chips else ""
    return (
        f"{plan.name}: {plan.parameters:,} parameters on {plan.topology}, {chips}, "
        f"{axes or 'one device'}\n"
        f"a step: {plan.rows:,} rows of {plan.length:,} tokens ({plan.tokens:,}) in "
        f"{plan.accumulation} part(s); remat {plan.remat}; compiled in {plan.compile_seconds:.0f} s"
    )


def verdict(plan: Plan) -> str:
    """Whether it fits, and by how much."""
    memory = plan.memory
    if memory.fits:
        free = gib(memory.capacity - memory.peak)
        return f"fits: {gib(memory.peak)} of {gib(memory.capacity)} GiB, {free} free"
    return f"does not fit: needs {gib(memory.peak)} GiB of {gib(memory.capacity)}"


def memory_rows(plan: Plan) -> list[tuple[str, str]]:
    """Parts of a device's memory, in GiB."""
    memory = plan.memory
    return [
        ("parameters", gib(memory.parameters)),
        ("optimiser", gib(memory.optimizer)),
        *([("moving average", gib(memory.average))] if memory.average else []),
        ("batch", gib(memory.batch)),
        ("gradients", gib(memory.gradients)),
        ("activations and other temporaries", gib(memory.activations)),
        ("program and its results", gib(memory.program)),
        ("peak", gib(memory.peak)),
        ("capacity", gib(memory.capacity)),
    ]


def time_rows(plan: Plan) -> list[tuple[str, str, str]]:
    """What, how much of it on a device, seconds at the least."""
    if plan.flops is None or plan.times is None:
        return []
    times = plan.times
    payload = sum(traffic.bytes for traffic in plan.traffic)
    flops = plan.flops.program / plan.devices
    return [
        (
            "compute",
            f"{flops / 1e12:,.3g} TFLOP at {plan.peak_flops / 1e12:,.4g} TFLOP/s",
            f"{times.compute:.4g}",
        ),
        (
            "memory",
            f"{gib(plan.hbm_bytes)} GiB at {plan.memory_bandwidth / 1e9:,.4g} GB/s",
            f"{times.memory:.4g}",
        ),
        ("network", f"{gib(payload)} GiB in collectives", f"{times.network:.4g}"),
    ]


def bound_lines(plan: Plan) -> list[str]:
    """The bound on speed and on MFU, and what was counted how."""
    if plan.flops is None or plan.times is None:
        return []
    times, flops = plan.times, plan.flops
    mfu, apart = plan.mfu(times.bound), plan.mfu(times.in_turn)
    lines = [
        f"bound by {times.binding}: a step takes {times.bound:.4g} s or more, "
        f"{plan.tokens / times.bound:,.0f} tokens/s or fewer"
    ]
    if mfu is not None and apart is not None and flops.model and flops.masked:
        lines += [
            f"MFU at most {mfu:.1%}; {apart:.1%} if nothing overlapped",
            f"the model needs {flops.model:.4g} FLOPs a step ({flops.masked:.4g} with the pairs "
            f"that masks hide); the program does {flops.program:.4g}, "
            f"{flops.program / flops.model:.3f} times as many",
        ]
    if flops.kernels:
        lines.append(
            f"of these, {flops.kernels:.4g} in Pallas kernels, by the formula for their shapes"
        )
    if flops.uncounted_kernels:
        lines.append(f"not counted: kernels {', '.join(flops.uncounted_kernels)}")
    if plan.unknown_loops:
        lines.append(f"{plan.unknown_loops} loop(s) of unknown length are counted once")
    return lines


TRAFFIC_HEAD = ("collective", "axes", "devices", "link", "count", "GiB", "seconds", "most of it")


def traffic_rows(traffic: Sequence[Traffic], limit: int = 12) -> list[tuple[str, ...]]:
    """The longest collectives."""
    return [
        (
            one.kind,
            one.axes,
            f"{one.group}",
            one.links,
            f"{one.count:,.0f}",
            gib(one.bytes),
            f"{one.seconds:.3g}",
            short_source(one.source),
        )
        for one in traffic[:limit]
    ]


def short_source(name: str) -> str:
    """The end of an operation's path, and whether it is of the backward pass."""
    parts = [p for p in name.split("/") if p not in ("while", "body", "closed_call")]
    return ("backward: " if "transpose(" in name else "") + "/".join(parts[-3:])


def table(rows: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    """Columns for a terminal: words to the left, numbers to the right."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    right = [all(row[i][:1].isdigit() for row in rows) for i in range(len(head))]
    return "\n".join(
        "  "
        + "  ".join(
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def markdown_table(rows: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    """The same for a page."""
    right = [all(row[i][:1].isdigit() for row in rows) for i in range(len(head))]
    rule = ["---:" if numeric else "---" for numeric in right]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def terminal(plan: Plan) -> str:
    """All of it for a terminal."""
    parts = [headline(plan), table(memory_rows(plan), ("memory of a device", "GiB")), verdict(plan)]
    if times := time_rows(plan):
        parts.append(table(times, ("a step, on a device", "", "seconds")))
        parts.append("\n".join(bound_lines(plan)))
    if plan.traffic:
        parts.append(table(traffic_rows(plan.traffic), TRAFFIC_HEAD))
    return "\n\n".join(parts)


def page(plan: Plan, command: str, remarks: Sequence[str]) -> str:
    """All of it as a page of Markdown, beside plan.png."""
    parts = [
        f"# {plan.name} on {plan.topology}",
        "Compiled by this command on a machine without a TPU; nothing of it was run.",
        f"```\n{command}\n```",
        headline(plan),
        f"**{verdict(plan)[0].upper()}{verdict(plan)[1:]}.**",
        *remarks,
        "![Memory of a device against its capacity, and the least time of a step](plan.png)",
        markdown_table(memory_rows(plan), ("memory of a device", "GiB")),
    ]
    if times := time_rows(plan):
        parts.append(markdown_table(times, ("a step, on a device", "", "seconds")))
        parts.append("\n".join(f"- {line}" for line in bound_lines(plan)))
    if plan.traffic:
        parts.append(markdown_table(traffic_rows(plan.traffic), TRAFFIC_HEAD))
    return "\n\n".join(parts) + "\n"
