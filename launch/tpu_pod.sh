#!/usr/bin/env bash
# A Cloud TPU slice of several hosts: the same command on every host. Run it where gcloud is set up.
#   TPU=my-slice ZONE=us-east5-a launch/tpu_pod.sh configs/transformer_base_wmt14.py gs-mount/wmt14 ...
# The checkout lies in ~/flaxformers_edu on every host, with its virtual environment
# (`pip install -e '.[tpu]'`); the folder of the run is on a file system that all hosts share.
set -euo pipefail
config=$1 workdir=$2
shift 2
options=${*:+$(printf ' %q' "$@")}

# --coordinator auto: jax asks the machine's metadata who the other hosts are.
gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --worker=all --command "
    cd ~/flaxformers_edu && . .venv/bin/activate &&
    python -m train run $(printf '%q' "$config") --workdir $(printf '%q' "$workdir") \
        --coordinator auto$options"
