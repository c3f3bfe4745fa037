#!/usr/bin/env bash
# What one GPU does, in one command and under eight minutes: correctness first, then speed and memory. No network is needed.
#
#     bash benchmarks/gpu.sh [--wheels FOLDER] [--out FOLDER] [--only G4,G5] [--dry]
#
# PYTHON names the Python that has torch; --help says how to make the folder of wheels.
cd "$(dirname "$0")/.." || exit 1
exec "${PYTHON:-python3}" -m benchmarks.gpu_lines --gpus 1 "$@"
