#!/usr/bin/env bash
# Two processes on this machine, each with half of the devices of a mesh of four, over loopback.
#   launch/laptop.sh configs/translate_toy.py runs/two [options of `run` ...]
set -euo pipefail
config=$1 workdir=$2
shift 2
processes=${PROCESSES:-2}
port=$(python -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
export JAX_PLATFORMS=cpu
export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=${DEVICES:-2}"

pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true' INT TERM  # all stop at the same step, after saving
for ((i = 0; i < processes; i++)); do
    python -m train run "$config" --workdir "$workdir" \
        --coordinator "127.0.0.1:$port" --process "$i" --of "$processes" "$@" &
    pids+=($!)
done
status=0
for pid in "${pids[@]}"; do
    while true; do
        ended=0
        wait "$pid" || ended=$?
        kill -0 "$pid" 2>/dev/null || break  # a signal ends the wait, and they are still saving
    done
    ((ended == 0)) || status=$ended
done
exit "$status"
