"""Is DeepSpeed told exactly what we mean, in keys that it knows?"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tunefleet.config.parallel import ParallelConfig
from tunefleet.config.train import Precision, TrainConfig
from tunefleet.plan.deepspeed.config import engine_config
from tunefleet.plan.processes.batch import Batch
from tunefleet.plan.processes.layout import Layout

AUTOCAST_BF16 = {"torch_autocast": {"enabled": True, "dtype": "bfloat16"}}
AUTOCAST_FP16 = {"torch_autocast": {"enabled": True, "dtype": "float16"}}
BF16 = {"bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}}
FP16 = {"fp16": {"enabled": True, "loss_scale": 0, "initial_scale_power": 16, "loss_scale_window": 500}}
PRECISION: dict[tuple[int, str], dict[str, Any]] = {
    (0, "fp32"): {},
    (0, "bf16"): AUTOCAST_BF16,
    (0, "fp16"): AUTOCAST_FP16,
    (1, "fp32"): {},
    (1, "bf16"): BF16,
    (1, "fp16"): FP16,
    (2, "fp32"): {},
    (2, "bf16"): BF16,
    (2, "fp16"): FP16,
    (3, "fp32"): {},
    (3, "bf16"): BF16,
    (3, "fp16"): FP16,
}
CLIP = {0: 0.0, 1: 0.75, 2: 0.75, 3: 0.75}  # at stage 0 our engine clips


SUMS = {(stage, dtype): {"communication_data_type": "fp32"} for stage in (1, 2, 3) for dtype in ("bf16", "fp16")}


TWO_CPUS = Layout(2, 2, 2, "cpu")


def told(stage: int, precision: str, clip: float = 0.75, degrees: Layout = TWO_CPUS) -> dict[str, Any]:
    train = TrainConfig(micro_batch=4, precision=Precision(precision), clip=clip)
    return engine_config(ParallelConfig(zero_stage=stage), train, Batch(4, 8, 2), degrees)


@pytest.mark.parametrize(("stage", "precision"), PRECISION)
def test_the_whole_dictionary(stage: int, precision: str) -> None:
    assert told(stage, precision) == {
        "train_batch_size": 64,
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": 8,
        "gradient_clipping": CLIP[stage],
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": None,
        **PRECISION[stage, precision],
        **SUMS.get((stage, precision), {}),
    }


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("degrees", "overlaps"),
    [
        (Layout(8, 8, 8, "cuda"), True),
        (Layout(1, 1, 1, "cuda"), False),
        (Layout(8, 8, 8, "cpu"), False),
        (Layout(8, 4, 8, "cuda", pipeline=2), False),
    ],
    ids=["8 GPUs", "1 GPU", "8 CPUs", "pipeline"],
)
def test_gradients_are_summed_beside_the_backward_pass_where_deepspeed_can(
    stage: int, degrees: Layout, overlaps: bool
) -> None:
    """At stage 3 it does so by itself."""
    zero = told(stage, "bf16", degrees=degrees)["zero_optimization"]
    assert zero == {"stage": stage, **({"overlap_comm": True} if overlaps and stage in (1, 2) else {})}


@pytest.mark.parametrize(("hidden", "elements"), [(1024, 2**24), (4096, 2**24), (8192, 2**26), (32768, 500_000_000)])
def test_buckets_on_gpus_follow_the_hidden_size(hidden: int, elements: int) -> None:
    train = TrainConfig(micro_batch=4, precision=Precision.BF16)
    for device, sized in (("cuda", {"reduce_bucket_size": elements}), ("cpu", {})):
        layout = Layout(2, 2, 2, device)
        zero = engine_config(ParallelConfig(zero_stage=3), train, Batch(4, 8, 2), layout, hidden)["zero_optimization"]
        assert zero == {"stage": 3, **sized}


@pytest.mark.parametrize(
    ("stage", "micro_batches", "masters", "kept"),
    [
        (1, 1, True, "fp32"),
        (2, 1, True, "bf16"),
        (3, 1, True, "bf16"),
        (2, 2, True, "fp32"),
        (3, 2, True, "fp32"),
        (3, 2, False, "bf16"),
        (1, 1, False, "bf16"),
    ],
)
def test_gradients_stay_in_bf16_where_nothing_is_added(
    stage: int, micro_batches: int, masters: bool, kept: str
) -> None:
    train = TrainConfig(micro_batch=4, precision=Precision.BF16, master_weights=masters)
    config = engine_config(ParallelConfig(zero_stage=stage), train, Batch(4, micro_batches, 2), TWO_CPUS)
    assert config["data_types"] == {"grad_accum_dtype": kept}


def test_one_process_sums_nothing() -> None:
    assert "communication_data_type" not in told(2, "bf16", degrees=Layout(1, 1, 1, "cuda"))


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_without_clipping_the_norm_is_still_measured(stage: int) -> None:
    assert told(stage, "fp32", clip=0.0)["gradient_clipping"] == 1e30


def values(settings: dict[str, Any]) -> list[Any]:
    return [leaf for item in settings.values() for leaf in (values(item) if isinstance(item, dict) else [item])]


@pytest.mark.parametrize(("stage", "precision"), PRECISION)
def test_nothing_is_left_to_deepspeed_to_decide(stage: int, precision: str) -> None:
    assert "auto" not in values(told(stage, precision))


# DeepSpeed takes a misspelt top-level key in silence: compare with the text of the installed package


def text(name: str) -> str:
    spec = find_spec("deepspeed")  # does not import it
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / name).read_text(encoding="utf-8")


def constants(prefix: str = "") -> set[str]:
    """What constants named PREFIX... are set to."""
    files = ("runtime/constants.py", "runtime/config.py", "runtime/zero/config.py", "runtime/precision_config.py")
    named = re.compile(rf"""^{prefix}[A-Z0-9_]* = ["'](\w+)["']""", re.MULTILINE)
    return {value for name in files for value in named.findall(text(name))}


def section_fields(name: str, cls: str) -> set[str]:
    """The fields of a pydantic class, by its text."""
    body = re.split(r"^(?=\S)", text(name).split(f"class {cls}(")[1].split("\n", 1)[1], flags=re.MULTILINE)[0]
    return set(re.findall(r"^    (\w+): ", body, re.MULTILINE))


def every_key() -> set[str]:
    return {key for stage, precision in PRECISION for key in told(stage, precision)}


def test_deepspeed_knows_every_top_level_key() -> None:
    assert every_key() <= constants()


@pytest.mark.parametrize("misspelt", ["zero_optimisation", "gradient_clip", "train_batch", "bfloat", "autocast"])
def test_control_it_does_not_know_a_misspelt_one(misspelt: str) -> None:
    assert misspelt not in constants()


@pytest.mark.parametrize(
    ("section", "stage", "precision", "known"),
    [
        ("zero_optimization", 3, "fp32", lambda: section_fields("runtime/zero/config.py", "DeepSpeedZeroConfig")),
        ("bf16", 2, "bf16", lambda: section_fields("runtime/precision_config.py", "DeepSpeedBF16Config")),
        ("fp16", 2, "fp16", lambda: section_fields("runtime/precision_config.py", "DeepSpeedFP16Config")),
        ("torch_autocast", 0, "bf16", lambda: constants("TORCH_AUTOCAST_")),
        ("data_types", 2, "bf16", lambda: constants("GRAD_ACCUM_DTYPE")),
    ],
)
def test_deepspeed_knows_every_key_of_a_section(section: str, stage: int, precision: str, known: Any) -> None:
    keys = set(told(stage, precision)[section])
    assert keys
    assert keys <= known()
    assert "enabld" not in known()
