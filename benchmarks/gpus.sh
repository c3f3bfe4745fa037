#!/usr/bin/env bash
# What two and more GPUs of one machine do, as benchmarks/gpu.sh does for one: bash benchmarks/gpus.sh [--gpus 8] [...]
cd "$(dirname "$0")/.." || exit 1
exec "${PYTHON:-python3}" -m benchmarks.gpu_lines --gpus 2 "$@"
