"""How things are measured: one process a peer, samples in turns, medians of ratios.

A shared machine slows down and speeds up by the second, so an absolute time says little. Every peer
is built and warmed up in a process of its own; then the parent asks one after the other for one
timed sample, round after round, and reports the median of the ratios within a round. Threads that
wait for each other suffer far more from a neighbour on their processor than others do, so a sample
during which somebody else used the processors is taken again, and does not count if all are.

Run as a module it is such a worker: `python -m benchmarks.harness MODULE PEER SETTINGS WARM_UPS`.
"""

import argparse
import dataclasses
import datetime
import importlib
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("flaxformers_edu", "jax", "jaxlib", "flax", "optax", "torch", "transformers")
PAUSE = 0.3
"""Seconds between samples: threads of the last peer may spin for a while after its work."""
QUIET = 0.05
"""A sample is clean when others used less than this part of its processors' time."""
WARM_UPS = 2
"""Calls before the first timed one."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """One timed call."""

    seconds: float
    others: float
    """Part of the processors' time that other processes used meanwhile."""

    @property
    def clean(self) -> bool:
        """Whether the peer had its processors to itself."""
        return self.others <= QUIET


Samples = dict[str, list[Sample]]


class Worker:
    """A peer in a process of its own, built and warmed up; `sample()` times one more call."""

    def __init__(
        self, module: str, peer: str, settings: Mapping[str, Any], threads: int, warm_ups: int
    ) -> None:
        # Both libraries take their number of threads from the processors they may run on.
        cores = sorted(os.sched_getaffinity(0))[:threads]
        arguments = [module, peer, json.dumps(settings), str(warm_ups)]
        self.peer = peer
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.harness", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
            env=os.environ | {"OMP_NUM_THREADS": str(len(cores))},
        )
        self.seconds_to_start = self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.peer}: its process ended, status {self.process.wait()}")
        return json.loads(line)

    def sample(self) -> Sample:
        """One more sample.

        Raises:
            RuntimeError: the worker has died.
        """
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return Sample(*self._answer())

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.communicate()


def interleave(
    module: str,
    peers: Sequence[str],
    settings: Mapping[str, Any],
    *,
    rounds: int,
    retries: int,
    threads: int,
    fresh: bool,
) -> Samples:
    """`rounds` samples of each peer in turns; each the least disturbed of at most 1 + `retries`.

    With `fresh`, every sample is the first call in a new process, nothing warmed up.
    """
    workers: dict[str, Worker] = {}
    samples: Samples = {peer: [] for peer in peers}

    def sample(peer: str) -> Sample:
        if peer not in workers:
            workers[peer] = Worker(module, peer, settings, threads, 0 if fresh else WARM_UPS)
        time.sleep(PAUSE)
        taken = workers[peer].sample()
        if fresh:
            workers.pop(peer).close()
        return taken

    try:
        for peer in () if fresh else peers:  # before the rounds: compiling disturbs everybody
            workers[peer] = Worker(module, peer, settings, threads, WARM_UPS)
            print(f"  {peer}: ready after {workers[peer].seconds_to_start:.1f} s", file=sys.stderr)
        for number in range(rounds):
            for peer in peers:
                tries = [sample(peer)]
                while not tries[-1].clean and len(tries) <= retries:
                    tries.append(sample(peer))
                samples[peer].append(min(tries, key=lambda one: one.others))
            last = {peer: taken[-1] for peer, taken in samples.items()}
            line = "  ".join(
                f"{p} {one.seconds:.3f}{'' if one.clean else '?'}" for p, one in last.items()
            )
            print(f"  round {number + 1}/{rounds} [s, ? disturbed]: {line}", file=sys.stderr)
    finally:
        for worker in workers.values():
            worker.close()
    return samples


def compare(
    name: str,
    cases: Mapping[str, Mapping[str, Any]],
    peers: Sequence[str] | Mapping[str, Sequence[str]],
    *,
    baseline: str,
    unit: str,
    units_a_sample: Callable[[Mapping[str, Any]], float],
    options: argparse.Namespace,
    fresh: bool = False,
) -> None:
    """Measures the PEERS of benchmarks.NAME on each case and writes results/NAME-DEVICE.json.

    peers: their names; by case where not all are measured on each.
    """
    found: dict[str, Any] = {}
    for case, settings in cases.items():
        print(f"{name}, {case}:", file=sys.stderr)
        samples = interleave(
            f"benchmarks.{name}",
            peers[case] if isinstance(peers, Mapping) else peers,
            settings,
            rounds=options.rounds,
            retries=options.retries,
            threads=options.threads,
            fresh=fresh,
        )
        units = units_a_sample(settings)
        results = {
            peer: _summary(taken, samples[baseline], units) for peer, taken in samples.items()
        }
        found[case] = {"settings": settings, "peers": results}
        for peer, values in results.items():
            low, high = values["range_of_ratios"]
            print(
                f"  {peer:>20}: {values['per_second']:.4g} {unit}/s, {values['ratio']:.2f} of "
                f"{baseline} ({low:.2f} to {high:.2f}, {values['clean_rounds']} clean rounds)",
                file=sys.stderr,
            )
    write(name, options.threads, {"baseline": baseline, "unit": unit, "cases": found})


def _summary(samples: Sequence[Sample], baseline: Sequence[Sample], units: float) -> dict[str, Any]:
    """Medians over the rounds in which both were left alone; over all rounds if there are none."""
    rounds = list(zip(baseline, samples, strict=True))
    clean = [(base, own) for base, own in rounds if base.clean and own.clean]
    ratios = sorted(base.seconds / own.seconds for base, own in clean or rounds)
    return {
        "per_second": units / statistics.median(own.seconds for _, own in clean or rounds),
        "ratio": statistics.median(ratios),
        "range_of_ratios": [ratios[0], ratios[-1]],
        "clean_rounds": len(clean),
        "samples": [dataclasses.asdict(sample) for sample in samples],
    }


def write(name: str, threads: int, content: Mapping[str, Any]) -> None:
    """Writes results/NAME-DEVICE.json: where and when, with which versions, and the content.

    Cases that were measured before, in the same surroundings, stay where there are no newer ones.
    """

    def version(package: str) -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "absent"

    about = {
        "name": name,
        "device": device_name(),
        "threads": threads,
        "python": sys.version.split()[0],
        "versions": {package: version(package) for package in PACKAGES},
    }
    device = "-".join("".join(c if c.isalnum() else " " for c in about["device"]).split())
    path = RESULTS / f"{name}-{device}.json"
    path.parent.mkdir(exist_ok=True)
    before = json.loads(path.read_text()) if path.exists() else {}
    if "cases" in content and all(before.get(key) == value for key, value in about.items()):
        content = {**content, "cases": {**before["cases"], **content["cases"]}}
    dated = {**about, "date": datetime.date.today().isoformat(), **content}
    path.write_text(json.dumps(dated, indent=1) + "\n")
    print(f"wrote {path}", file=sys.stderr)


def device_name() -> str:
    """The processor's model and how many of them there are."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()} x {os.cpu_count()}"
    return f"CPU x {os.cpu_count()}"


def parser(description: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """The options that all benchmarks share."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=rounds, help=f"default: {rounds}")
    options.add_argument("--retries", type=int, default=3, help="of a disturbed sample; default: 3")
    options.add_argument("--threads", type=int, default=2, help="processors to use; default: 2")
    return options


def serve(module: str, peer: str, settings: Mapping[str, Any], warm_ups: int) -> None:
    """The worker's side: builds the peer, warms it up, then one sample for each line on stdin."""
    start = time.perf_counter()
    answers, sys.stdout = sys.stdout, sys.stderr
    run = importlib.import_module(module).PEERS[peer](**settings)
    for _ in range(warm_ups):
        run()
    print(json.dumps(time.perf_counter() - start), file=answers, flush=True)
    cores = os.sched_getaffinity(0)
    for _ in sys.stdin:
        start, own, everyone = time.perf_counter(), time.process_time(), _busy_seconds(cores)
        run()
        seconds = time.perf_counter() - start
        own, everyone = time.process_time() - own, _busy_seconds(cores) - everyone
        others = max(0.0, everyone - own) / (seconds * len(cores))
        print(json.dumps([seconds, others]), file=answers, flush=True)


def _busy_seconds(cores: Collection[int]) -> float:
    """Seconds since boot that these processors worked, for whomever (Linux)."""
    lines = Path("/proc/stat").read_text().splitlines()
    fields = {line.split()[0]: line.split()[1:] for line in lines}
    # user, nice, system, idle, iowait, irq, softirq, steal: all but the two that wait.
    ticks = sum(int(fields[f"cpu{core}"][i]) for core in cores for i in (0, 1, 2, 5, 6, 7))
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4]))
