"""Flags of XLA for the tests, and for the commands that they start."""

QUICK_TO_COMPILE = "--xla_backend_optimization_level=0"
"""Programs of tests are tiny and run a few times: most of the time goes into compiling them, and
more than half of that into polishing machine code. What XLA does to the program stays the same."""
EIGHT_DEVICES = "--xla_force_host_platform_device_count=8"
