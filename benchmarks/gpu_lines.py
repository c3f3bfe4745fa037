"""Lines of benchmarks/gpu.sh and gpus.sh: what is checked and measured on GPUs, in which order, for how long at most.

Wheels, for a machine without a network: on one with it, for the Python of the GPUs (3.12 here), and not torch:

    pip download --no-deps --only-binary :all: --python-version 3.12 --dest wheels hjson pydantic pydantic-core \
        annotated-types typing-inspection hydra-core omegaconf submitit plotext transformers peft tokenizers \
        safetensors huggingface-hub accelerate msgpack py-cpuinfo ninja cloudpickle einops rich markdown-it-py mdurl \
        pygments tiktoken regex jinja2 markupsafe pyyaml psutil tqdm httpx httpcore h11 anyio hf-xet typer-slim
    pip wheel --no-deps --wheel-dir wheels deepspeed==0.19.8 antlr4-python3-runtime==4.9.3

All other packages are that Python's own; where one is missing, G1 says so and nothing else is begun. Results:
OUT/gpu.json, a log for each line, and the table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

from benchmarks.gpu_runner import Line, run_all

ROOT = Path(__file__).parents[1]
ONE_GPU: dict[str, tuple[str, ...]] = {
    "fp32": ("single", "zero1", "zero2", "zero3"),
    "bf16": ("ddp", "zero1", "zero2", "zero3"),
    "fp16": ("ddp", "zero2", "zero3"),
}
SEVERAL = ("ddp", "zero1", "zero2", "zero3", "tensor", "pipeline", "pipeline_zero1", "sequence", "zeropp")
OFFLOADED = ("zero2_offload", "zero3_offload", "zeropp", "zero3_nvme")
SCENARIOS = {
    "resharded": ("G9", "1"),
    "resumed": ("G9", "35"),
    "exported": ("G4", "8, 20"),
    "placed": ("G10", "2, 3, 4"),
    "quantised": ("G8", "13-16"),
}
DRY_MODEL = ("model=opt-tiny", "train.sequence_length=64", "train.micro_batch=2", "parallel=zero2")


def main() -> None:
    """Runs the lines, prints the table, and ends with 1 where a line failed."""
    chosen = _arguments()
    out = Path(chosen.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    environment = _environment(chosen, out)
    lines = one_gpu(out, chosen.dry) if chosen.gpus == 1 else several(out, chosen.gpus, chosen.dry)
    only = chosen.only.split(",") if chosen.only else []
    wanted = [line for line in lines if not only or line.name in only or line.name.split()[0] in only]
    sys.exit(run_all(wanted, out, environment, chosen.seconds))


def one_gpu(out: Path, dry: bool) -> list[Line]:
    """In order: what is cheap and tells most comes first; speed is measured alone, checks run beside each other."""
    return [
        measured("G1 machine", "machine", 60, {"dry": dry}, rows="-", decides=True),
        measured("G2 start", "start", 60, {}, rows="38, 50"),
        measured("G3 attention", "attention", 60, {"dry": dry}, rows="52, 53, 54"),
        *[check(precision, name, dry) for precision, name in _checks(dry)],
        measured("G4 buffers", "buffers", 90, {"dry": dry}, rows="8", ranks=1, beside=True),
        *[scenario(name, out, dry) for name in ("resharded", "resumed", "exported", "placed")],
        *([] if dry else [offload(name) for name in OFFLOADED]),
        *([] if dry else [scenario("quantised", out, dry)]),
        *speeds(dry),
    ]


def several(out: Path, gpus: int, dry: bool) -> list[Line]:
    """What needs more than one: sums over ranks, pipelines, tensor and sequence parallelism; communication's cost."""
    processes = (f"launch.processes={gpus}",)
    strategies = ("zero2", "tensor") if dry else SEVERAL
    opt = DRY_MODEL[:-1] if dry else ("model=opt-1.3b", "train.sequence_length=2048", "train.micro_batch=8")
    shapes: list[tuple[str, dict[str, Any]]] = [("zero2", {}), *([] if dry else _COMMUNICATION)]
    return [
        measured("G1 machine", "machine", 60, {"dry": dry}, rows="-", decides=True),
        *[check("fp32" if dry else "bf16", name, dry, processes) for name in strategies],
        *([] if dry else [check("fp16", name, dry, processes) for name in ("zero2", "pipeline_zero1")]),
        *[
            speed(f"G5 opt {name} {list(spec) or ''}", (*opt, *processes, f"parallel={name}"), dry, gpus, **spec)
            for name, spec in shapes
        ],
    ]


_COMMUNICATION: list[tuple[str, dict[str, Any]]] = [
    ("zero2", {"bf16_sums": True}),
    ("zero2", {"no_overlap": True}),
    ("ddp", {}),
    ("zero1", {}),
    ("zero3", {}),
    ("pipeline_zero1", {}),
]


def speeds(dry: bool) -> list[Line]:
    """opt-1.3b and a Llama of 8B, with random weights, in bf16 and packed; what it costs to be padded; the rival."""
    if dry:
        padded = (*DRY_MODEL, "data.packing=false")
        return [speed("G5 tiny zero2", DRY_MODEL, dry), speed("G6 tiny padded", padded, dry)]
    opt = ("model=opt-1.3b", "train.sequence_length=2048", "train.micro_batch=8")
    llama = ("model=llama-3.1-8b", "train.master_weights=false", "parallel=zero2")
    short = (*llama, "train.sequence_length=2048", "train.micro_batch=4", "train.gradient_checkpointing=true")
    long = (*llama, "train.sequence_length=8192", "train.micro_batch=1", "train.gradient_checkpointing=true")
    few = (*opt, "model.num_layers=8", "parallel=zero2")
    return [
        *[speed(f"G5 opt-1.3b {name}", (*opt, f"parallel={name}"), dry) for name in ("zero2", "zero3", "single")],
        speed("G5 llama-8b 2048", short, dry),
        speed("G5 llama-8b 8192", long, dry),
        speed("G6 packed", few, dry, watched=True),
        speed("G6 padded", (*few, "data.packing=false"), dry, watched=True),
        measured("G5 TRL opt-1.3b", "rival", 90, {"model": "opt-1.3b", "length": 2048, "micro": 8}, needs="trl"),
        speed("G5 opt-1.3b zero1", (*opt, "parallel=zero1"), dry),
    ]


def speed(name: str, overrides: tuple[str, ...], dry: bool, ranks: int = 1, **spec: Any) -> Line:
    """Steps of a strategy: useful tokens/s, their share of the matmul rate, memory beside the plan's."""
    precision = "train.precision=bf16"
    settings = ["data=demo", "data.tokenizer=demo", "model.init=random", precision, *overrides]
    spec |= {"overrides": settings, "dry": dry}
    return measured(name, "steps", 90, spec, rows="32-34, 40, 42, 43, 54-60", ranks=ranks)


def measured(name: str, function: str, seconds: float, spec: dict[str, Any], **settings: Any) -> Line:
    """A function of benchmarks/gpu_measures.py, in processes of its own."""
    return Line(name, seconds, [sys.executable, "-m", "benchmarks.gpu_measures", function], spec=spec, **settings)


def scenario(name: str, out: Path, dry: bool) -> Line:
    """A function of benchmarks/gpu_scenarios.py: runs of train.py that are interrupted, resumed, refused."""
    number, rows = SCENARIOS[name]
    command = [sys.executable, "-m", "benchmarks.gpu_scenarios", name]
    needs, spec = "bitsandbytes" if name == "quantised" else "", {"out": str(out), "dry": dry}
    return Line(f"{number} {name}", 150, command, spec=spec, rows=rows, beside=True, needs=needs)


def check(precision: str, strategy: str, dry: bool, overrides: tuple[str, ...] = ()) -> Line:
    """`tunefleet check`: twenty steps of tiny models against a plain loop."""
    command = [sys.executable, "-m", "tunefleet", "check", f"parallel={strategy}", f"train.precision={precision}"]
    rows = "17, 18, 22, 25, 30" if overrides else "17, 18"
    return Line(f"G4 {strategy} {precision}", 150, [*command, *overrides], rows=rows, beside=True)


def offload(strategy: str) -> Line:
    """The same for what DeepSpeed builds C++ or CUDA code for."""
    needs = {"zeropp": "nvcc", "zero3_nvme": "libaio.h nvcc"}.get(strategy, "")
    extra = ("parallel.nvme_path=/tmp", "checkpoint.at_end=false") if strategy == "zero3_nvme" else ()
    line = check("bf16", strategy, False, extra)
    return Line(line.name.replace("G4", "G7"), 240, line.command, rows="9-12, 42", beside=True, needs=needs)


def _checks(dry: bool) -> list[tuple[str, str]]:
    if dry:
        return [("fp32", "zero2")]
    return [(precision, name) for precision, names in ONE_GPU.items() for name in names]


def _environment(chosen: argparse.Namespace, out: Path) -> dict[str, str]:
    """That of every line: the wheels behind the source, and no GPU where the run is dry."""
    path, site = [str(ROOT / "src"), str(ROOT)], out / "site"
    if chosen.wheels:
        unpack(Path(chosen.wheels), site)
        path.append(str(site))
    dry = {"CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "PATIENCE": "6"}
    programs = os.pathsep.join([str(site / "bin"), os.environ.get("PATH", "")])
    paths = {"PYTHONPATH": os.pathsep.join(path), "PATH": programs, "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **(dry if chosen.dry else {}), **paths}


def unpack(wheels: Path, site: Path) -> None:
    """Puts the packages of all wheels in `wheels` into `site`, and their programs into `site`/bin, without pip."""
    shutil.rmtree(site, ignore_errors=True)
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    (site / "bin").mkdir(parents=True, exist_ok=True)
    for program in site.glob("*.data/scripts/*"):
        copy = Path(shutil.copy(program, site / "bin"))
        copy.chmod(0o755)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=1, help="1: gpu.sh; more: gpus.sh with as many")
    parser.add_argument("--wheels", help="a folder of wheels of what this Python lacks")
    parser.add_argument("--out", default="outputs/gpu", help="where results and logs go")
    parser.add_argument("--only", help="lines by number or by name: G4,G5")
    parser.add_argument("--seconds", type=float, default=470, help="of all lines together")
    parser.add_argument("--dry", action="store_true", help="tiny sizes on the CPU, to find mistakes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
