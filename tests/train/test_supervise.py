import io
import subprocess
import sys

import pytest

from train.supervise import CHILD, LOST, cluster, coordinator_of, explain, is_wanted, relay

ABORT = """\
F1121 10:40:59.683010 6227 client.h:80] Terminating process because the JAX distributed service \
detected fatal errors. This most likely indicates that another task died. absl::Status: {status}
*** Check failure stack trace: ***
    @     0x7fb3fe440634  absl::lts_20260107::log_internal::LogMessage::SendToLog()
"""
NEVER_MET = ABORT.format(status="DEADLINE_EXCEEDED: \n\nRPC: /xla.CoordinationService/RegisterTask")
GONE = ABORT.format(status="UNAVAILABLE: Socket closed")
SILENT = ABORT.format(
    status="UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):\n1\n3\nThe"
)
POLLED = "E1121 10:42:12 6467 coordination_service.cc:1549] an error:\nof several\nlines\n"


@pytest.mark.parametrize(
    ("arguments", "environment", "wanted"),
    [
        (["run", "a.py", "--coordinator", "h:1"], {}, True),
        (["run", "a.py", "--coordinator=h:1"], {}, True),
        (["run", "a.py", "--workdir", "w"], {}, False),
        (["run", "a.py", "--coordinator", "h:1", "--help"], {}, False),
        (["run", "a.py", "--coordinator", "h:1"], {CHILD: "1"}, False),
        (["run", "a.py"], {"SLURM_NTASKS": "8", "SLURM_STEP_NODELIST": "n[1-2]"}, True),
        (["run", "a.py"], {"SLURM_NTASKS": "1", "SLURM_STEP_NODELIST": "n1"}, False),
        (["run", "a.py"], {"SLURM_NTASKS": "8"}, False),  # in a batch script, outside of srun
        (["run", "a.py"], {"TPU_WORKER_HOSTNAMES": "a,b"}, True),
        (["run", "a.py"], {"TPU_WORKER_HOSTNAMES": "a"}, False),
    ],
)
def test_who_is_supervised(arguments, environment, wanted):
    assert is_wanted(arguments, environment) is wanted


def test_clusters_by_name():
    assert cluster({"OMPI_COMM_WORLD_SIZE": "2"}) == "Open MPI"
    assert cluster({"MEGASCALE_NUM_SLICES": "2"}) == "Cloud TPU"
    assert cluster({}) == ""


def test_the_trace_stays_here_and_all_else_goes_on():
    out = io.StringIO()
    text = f"a warning\n{POLLED}error: ours\n{GONE}"
    reason = relay(text.splitlines(keepends=True), out)
    assert out.getvalue() == "a warning\nerror: ours\n"
    assert "Socket closed" in reason and "0x7fb" not in reason


@pytest.mark.parametrize(
    ("text", "message", "status"),
    [
        (NEVER_MET, "did not all meet at h:1 within --start-timeout", 2),
        (GONE, "process 0 (h:1), which coordinates the run, died", LOST),
        (SILENT, "process 1, 3 died or hangs", LOST),
    ],
)
def test_what_the_runtime_says_becomes_a_line(text, message, status):
    reason = relay(text.splitlines(keepends=True), io.StringIO())
    line, found = explain(reason, coordinator_of(["run", "--coordinator", "h:1", "--of", "2"]))
    assert message in line and "\n" not in line and found == status


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137, "SIGKILL (out of m"),
        ("import os; os.write(2, b'JAX distributed service detected fatal errors: UNAVAILABLE\\n');"
         "os.abort()", LOST, "process 0 (the coordinator)"),
        ("import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)", 143, ""),
    ],
)  # fmt: skip
def test_the_child_decides_how_it_ends(code, status, said):
    script = (
        "import os, sys; from train.supervise import CHILD, supervise\n"
        f"if CHILD not in os.environ: sys.exit(supervise())\n{code}"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == status, done.stderr
    assert said in done.stderr and len(done.stderr.splitlines()) <= 1
