"""What benchmarks/gpu.sh measures in a process of its own: the machine, the start, attention, buffers, and steps."""

from __future__ import annotations

import itertools
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.gpu_steps import rival, steps
from benchmarks.gpu_tools import (
    GIB,
    line_of,
    matmul_tflops,
    milliseconds,
    plan_of,
    single_rank,
    this_device,
    version_of,
)


def main() -> None:
    """Calls the function that is named, and writes what rank 0 measured."""
    result = FUNCTIONS[sys.argv[1]](json.loads(os.environ["SPEC"]))
    if os.environ.get("RANK", "0") == "0":
        Path(os.environ["RESULT"]).write_text(json.dumps(result))
    sys.stdout.flush()
    os._exit(0)


def machine(spec: dict[str, Any]) -> dict[str, Any]:
    """Versions, the GPU, and what it reaches in products of large matrices; that all packages are there."""
    import torch

    import tunefleet.runs.train  # noqa: F401

    packages = ("deepspeed", "transformers", "peft", "bitsandbytes", "trl", "liger-kernel", "flash-attn")
    result: dict[str, Any] = {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
    }
    result |= {name: version for name in packages if (version := version_of(name))}
    result |= {"nvcc": line_of(["nvcc", "-V"], -2), "cores": len(os.sched_getaffinity(0))}
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        result |= {"gpu": gpu.name, "gpus": torch.cuda.device_count(), "capability": f"{gpu.major}.{gpu.minor}"}
        result |= {"memory_gib": gpu.total_memory / GIB, "cudnn": torch.backends.cudnn.version()}  # type: ignore[no-untyped-call]
        result["driver"] = line_of(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], 0)
    elif not spec["dry"]:
        raise SystemExit("torch sees no GPU")
    return {**result, "matmul_tflops": matmul_tflops()}


def start(spec: dict[str, Any]) -> dict[str, Any]:
    """Seconds of imports, of joining a group of one, and of the look for compilers that is left out on GPUs."""
    began = time.perf_counter()
    single_rank()
    from tunefleet.engine.group import join
    from tunefleet.libraries import deepspeed_private

    imported = time.perf_counter()
    import deepspeed

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        group = join()
        group.barrier()
    joined = time.perf_counter()
    probed = "__compatible_ops__" in vars(deepspeed.ops)
    assert probed == (group.device.type == "cpu"), "compilers were looked for on a GPU"
    deepspeed_private.skip_shm_extension("gloo")
    looked = time.perf_counter()
    seconds = {"imports_s": imported - began, "join_s": joined - imported, "probe_s": looked - joined}
    return {**seconds, "warnings": len(caught)}


def attention(spec: dict[str, Any]) -> dict[str, Any]:
    """Which kernel torch takes for a causal mask and for one of ours, and its milliseconds forward and backward."""
    lengths, sizes = ((64, 63), (16,)) if spec["dry"] else ((1024, 1023), (64, 128, 256))
    cases = itertools.product(sizes, lengths, (False, True), (False, True))
    kernels = {
        f"{size} x {length}{' gqa' * gqa}{' mask' * masked}": _kernel(size, length, gqa, masked)
        for size, length, gqa, masked in cases
    }
    return {"kernels": kernels, "masked": kernels[f"{sizes[-1]} x {lengths[0]} mask"]}


def _kernel(size: int, length: int, gqa: bool, masked: bool) -> str:
    """Of heads of `size`; or why there is none."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    settings: dict[str, Any] = {"device": this_device(), "dtype": torch.bfloat16}
    shapes = [(4, 4 if gqa and part else 16, length, size) for part in range(3)]
    q, k, v = (torch.randn(shape, requires_grad=True, **settings) for shape in shapes)
    mask = torch.zeros(4, 1, length, length, **settings) if masked else None
    asked: dict[str, Any] = {"attn_mask": mask, "is_causal": not masked, "enable_gqa": gqa}

    def act() -> None:
        scaled_dot_product_attention(q, k, v, **asked).sum().backward()  # type: ignore[no-untyped-call]

    try:
        choice = ("math", "flash", "efficient", "cudnn")[max(0, torch._fused_sdp_choice(q, k, v, **asked))]
        return f"{choice} {milliseconds(act):.2f} ms"
    except RuntimeError as error:
        return str(error).splitlines()[0]


def buffers(spec: dict[str, Any]) -> dict[str, Any]:
    """Whether every buffer and shard of ZeRO-3 is on the device, of families whose buffers are read there; a step."""
    plan = plan_of(["data=demo", "model=opt-tiny", "parallel=zero3", "train.precision=fp32", "train.micro_batch=1"])
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from tunefleet.engine.group import join
    from tunefleet.plan.families.architecture import Architecture
    from tunefleet.runs import trajectory

    group, counts = join(), {}
    sizes = {"vocab_size": 97, "hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": 64}
    shapes: dict[str, dict[str, Any]] = {
        "llama": {"intermediate_size": 48, "num_hidden_layers": 2},
        "xglm": {"d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 48},
        "gpt_neo": {"num_layers": 2, "attention_types": [[["global", "local"], 1]], "num_heads": 4},
    }
    for family, shape in shapes.items():
        config = AutoConfig.for_model(family, **{**sizes, **shape})
        plan = replace(plan, sources=replace(plan.sources, architecture=Architecture(config.to_dict())))
        engine = trajectory.engine(plan, group, AutoModelForCausalLM.from_config(config))
        devices = {buffer.device.type for buffer in engine.model.buffers()}
        assert devices <= {group.device.type}, (family, devices)
        result = engine.train_step(trajectory.batches(plan, group.rank).take(plan.batch.accumulation))
        assert math.isfinite(result.loss), (family, result)
        counts[family] = sum(1 for _ in engine.model.buffers())
        engine.close()
    assert not torch.cuda.is_available() or group.device.type == "cuda"
    return counts


FUNCTIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "machine": machine,
    "start": start,
    "attention": attention,
    "buffers": buffers,
    "steps": steps,
    "rival": rival,
}

if __name__ == "__main__":
    main()
