"""Flags of XLA for the tests, and for the commands that they start."""

QUICK_TO_COMPILE = (
    "--xla_backend_optimization_level=0"
    " --xla_cpu_use_fusion_emitters=false"
    " --xla_cpu_parallel_codegen_split_count=1"
)
"""Programs of tests are tiny and run a few times: most of the time goes into compiling them.

More than half of that went into polishing machine code. Of the rest, XLA's older way of writing
loops, in one module, saves more than half in tests/models/test_transformer_decoding.py. What XLA
does to the program before that stays the same.
"""
EIGHT_DEVICES = "--xla_force_host_platform_device_count=8"
