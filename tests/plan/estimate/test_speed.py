"""Are the FLOPs those of the papers, and do more GPUs, stages and degrees cost what they must?"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from tests.plan.estimate.test_memory_items import OPT, changed, published
from tunefleet.config.parallel import Partition, Place
from tunefleet.config.train import Precision
from tunefleet.plan.estimate.communication import links
from tunefleet.plan.estimate.gpus import Cluster, cluster
from tunefleet.plan.estimate.known_gpus import GPUS
from tunefleet.plan.estimate.pipeline_stages import boundaries
from tunefleet.plan.estimate.speed import Speed, flops_per_token, speed
from tunefleet.plan.estimate.spread import Spread
from tunefleet.plan.estimate.work import Work

H100 = cluster("8xH100-80G")


def of(spread: Spread, machine: Cluster = H100, **work: int | bool) -> Speed:
    return speed(published("llama-3.1-8b"), spread, Work(**{"rows": 1, "length": 2048, **work}), machine)  # type: ignore[arg-type]


def test_six_flops_a_weight_and_twelve_a_score() -> None:
    """PaLM, appendix B; the lookup of an embedding is no product, a tied head is one."""
    counted = OPT.parameters
    assert flops_per_token(OPT, 16) == 6 * (counted.layers + 100 * 8) + 12 * 2 * 8 * 16


def test_llama_2_70b_needs_six_times_its_size() -> None:
    """At 4,096 tokens the scores of a 70B Llama add about a tenth to 6 N."""
    sizes = {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80}
    llama = changed(published("llama-3.1-8b"), **sizes, num_attention_heads=64, vocab_size=32000)
    assert flops_per_token(llama, 4096) / (6 * 69e9) == pytest.approx(1.075, abs=0.02)


def test_frozen_weights_save_a_third() -> None:
    shape = published("llama-3.1-8b")
    assert flops_per_token(shape, 1, trained=0) / flops_per_token(shape, 1) == pytest.approx(2 / 3, abs=0.01)


def test_a_step_by_hand() -> None:
    """One GPU sends nothing: tokens x FLOPs over 40 % of 989 TFLOP/s; packed rows compute every score."""
    found = of(Spread(0, 1), packed=True)
    assert found.sent == 0
    assert found.seconds == pytest.approx(2048 * flops_per_token(published("llama-3.1-8b"), 2048) / (989e12 * 0.4))


def test_what_is_sent_is_the_zero_paper_s() -> None:
    """Gradients are summed in fp32: an all-reduce moves 2 x 4 bytes a weight; gathering in bf16 moves 2."""
    shape = published("llama-3.1-8b")
    n, most = shape.parameters.total, 7 / 8
    work = Work(1, 2048)
    sent = [speed(shape, Spread(stage, 8), work, H100).sent for stage in range(4)]
    assert sent == pytest.approx([8 * n * most, 10 * n * most, 10 * n * most, (2 * 2 + 4) * n * most])


def test_zero_3_gathers_again_with_checkpointing_and_for_every_micro_batch() -> None:
    n = published("llama-3.1-8b").parameters.total * 7 / 8
    assert of(Spread(3, 8), checkpointing=True).sent == pytest.approx((3 * 2 + 4) * n)
    assert of(Spread(3, 8), accumulation=4).sent == pytest.approx(4 * 8 * n)


def test_collectives_use_every_card_of_a_host() -> None:
    """Within a host 450 GB/s; between hosts eight cards of 50, or one where a host has one member of the group.

    80 % of it is reached. Of all gradients 7/8 are sent, and 15/16.
    """
    n, two = published("llama-3.1-8b").parameters.total, cluster("2x8xH100-80G")
    assert of(Spread(2, 8)).communication == pytest.approx(10 * n * 7 / 8 / (0.8 * 450e9))
    assert of(Spread(2, 16), two).communication == pytest.approx(10 * n * 15 / 16 / (0.8 * 400e9))
    alone = links(Spread(1, 2, tensor=8), two, H100.gpu or GPUS["H100-80G"])
    assert (alone.data, alone.tensor) == (0.8 * 50, 0.8 * 450)


def test_what_goes_from_one_to_another_has_one_card() -> None:
    """An all-to-all, and the output of a stage (nccl-tests, issue 267)."""
    two = cluster("2x8xA100-80G")
    across = links(Spread(3, 1, sequence=16), two, GPUS["A100-80G"])
    assert across.sequence == 0.5 * 25
    assert links(Spread(1, 1, pipeline=16), two, GPUS["A100-80G"]).pipeline == 0.5 * 25
    assert links(Spread(3, 2, sequence=8), two, GPUS["A100-80G"]).sequence == 0.5 * 300


def test_the_shorter_one_is_half_hidden() -> None:
    """Only gradients that are summed, and weights that are gathered, beside the arithmetic: not at stage 0 and 1."""
    three, long = of(Spread(3, 8)), of(Spread(3, 8), rows=64)
    shorter = min(three.compute or 0, three.communication or 0)
    assert three.hidden == shorter / 2 > 0
    assert three.seconds == (three.compute or 0) + (three.communication or 0) - three.hidden
    assert long.hidden == (long.communication or 0) / 2
    assert [of(Spread(stage, 8)).hidden for stage in (0, 1)] == [0, 0]
    assert of(Spread(1, 2, pipeline=4)).hidden == 0


def test_a_causal_kernel_skips_half_of_the_scores() -> None:
    shape = published("llama-3.1-8b")
    scores = 12 * 32 * 32 * 128 * 2048
    assert of(Spread(), packed=True).flops - of(Spread()).flops == pytest.approx(2048 * scores / 2)
    assert flops_per_token(shape, 2048) - flops_per_token(shape, 2048, skips_masked=True) == scores / 2


def test_small_micro_batches_wait_for_their_kernels() -> None:
    """At least 5 ms a layer with checkpointing, 11 under ZeRO-3; a quarter less where nothing is computed again."""
    small = [of(Spread(stage, 1), length=16, accumulation=3, checkpointing=True).compute for stage in (1, 3)]
    assert small == pytest.approx([3 * 32 * 5e-3, 3 * 32 * 11e-3])
    assert of(Spread(1, 1), length=16).compute == pytest.approx(32 * 5e-3 * 3 / 4)
    assert (of(Spread(1, 1), length=8192).compute or 0) > 32 * 5e-3


def test_computing_again_takes_a_third_longer() -> None:
    assert (of(Spread(0, 1), checkpointing=True).seconds or 0) / (of(Spread(0, 1)).seconds or 1) == pytest.approx(4 / 3)


def test_the_bubble_of_a_pipeline() -> None:
    plain = of(Spread(0, 8), accumulation=12).compute or 1
    staged = of(Spread(0, 2, pipeline=4), accumulation=12).compute or 0
    assert staged / plain == pytest.approx((1 + 3 / 12) / 4 * slowest_stage(4))  # a quarter of the rows on as many GPUs
    assert of(Spread(0, 2, pipeline=4), accumulation=12).tokens * 4 == of(Spread(0, 8), accumulation=12).tokens


def slowest_stage(stages: int) -> float:
    """Its share of the products of Llama 3.1 8B, over the mean: the head alone is 2.4 blocks."""
    shape = published("llama-3.1-8b")
    counted, cuts = shape.parameters, boundaries(shape, stages, Partition.PARAMETERS)
    products = [(end - begin) * counted.layers / 32 for begin, end in pairwise(cuts)]
    products[-1] += counted.head
    return max(products) / (sum(products) / stages)


def test_a_stage_for_every_block_waits_for_the_head() -> None:
    assert slowest_stage(32) > 3
    four, all_ = (of(Spread(0, 1, pipeline=stages), accumulation=1000).compute or 0 for stages in (4, 32))
    assert all_ / four > 3 / slowest_stage(4) / 8


def test_offload_costs_time() -> None:
    """Beside the same step without it. Each GPU has an eighth of n weights: a gradient of 4 bytes out and a weight of 2
    back through 16 GB/s of PCIe; 12 bytes of states in and out of disks that eight GPUs share, 3 GB/s; and 64 cores
    update a weight of the host in 2.5 ns."""
    own = published("llama-3.1-8b").parameters.total / 8
    optimizer, weights = own * 6 / 16e9 + 8 * own * 2.5e-9, 2 * own * 2 / 16e9
    disk = 2 * 12 * own * 8 / 3e9

    def added(stage: int, **places: Place) -> float:
        return (of(Spread(stage, 8, **places)).seconds or 0) - (of(Spread(stage, 8)).seconds or 0)

    assert added(2, optimizer_on=Place.CPU) == pytest.approx(optimizer)
    assert added(3, optimizer_on=Place.CPU, parameters_on=Place.CPU) == pytest.approx(optimizer + weights)
    assert added(3, optimizer_on=Place.NVME) == pytest.approx(optimizer + disk)
    assert added(2) == 0


def test_an_unknown_speed_is_not_made_up() -> None:
    found = speed(OPT, Spread(), Work(1, 16, precision=Precision.FP32), Cluster("this"))
    assert (found.seconds, found.tokens_per_second) == (None, None)
    assert found.flops > 0


def test_fewer_cores_update_longer() -> None:
    few = replace(H100, own_cores=32)
    slow, usual = (of(Spread(2, 8, optimizer_on=Place.CPU), machine).offload for machine in (few, H100))
    assert slow - usual == pytest.approx(published("llama-3.1-8b").parameters.total * 2.5e-9)
