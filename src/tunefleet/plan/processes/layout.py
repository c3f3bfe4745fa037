"""Layout of the processes: the degrees of parallelism and their product."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from tunefleet.base.errors import ConfigError
from tunefleet.config.launch import LaunchConfig
from tunefleet.config.parallel import ParallelConfig, Place
from tunefleet.plan.processes.machine import Machine


@dataclass(frozen=True)
class Layout:
    """`world_size` processes, of which `data_parallel` groups read different rows.

    Ranks count tensor- (or sequence-) parallel ranks first, then data-parallel groups, then pipeline stages: ranks
    that communicate most are on one machine. DeepSpeed's topologies have the same order.
    """

    world_size: int
    data_parallel: int
    processes_here: int
    device: str
    tensor: int = 1
    pipeline: int = 1
    sequence: int = 1

    @property
    def replicas(self) -> int:
        """Processes over which gradients are summed and ZeRO shards: sequence-parallel ranks are among them."""
        return self.data_parallel * self.sequence

    def data_rank(self, rank: int) -> int:
        """Which part of the rows process `rank` reads: the ranks of one copy of the model read the same."""
        return rank // (self.tensor * self.sequence) % self.data_parallel

    def counts_tokens(self, rank: int) -> bool:
        """Whether process `rank` counts its tokens: tensor-parallel ranks and stages have the same ones."""
        return rank % self.tensor == 0 and rank < self.world_size // self.pipeline

    def is_leader(self, rank: int) -> bool:
        """Whether process `rank` leads its copy of the model: the first rank of the first stage."""
        return self.counts_tokens(rank) and rank % (self.tensor * self.sequence) == 0

    def rng_rank(self, rank: int) -> int:
        """Whose random numbers process `rank` draws: tensor-parallel ranks drop the same activations out."""
        return rank // self.tensor

    def stage(self, rank: int) -> int:
        """Which stage of the pipeline process `rank` is; 0 where there is none."""
        return rank // (self.world_size // self.pipeline)


def layout(parallel: ParallelConfig, launch: LaunchConfig, machine: Machine) -> Layout:
    """The layout on `machine`. Raises `ConfigError` where the strategy cannot use that many processes."""
    world = _world_size(parallel, launch, machine)
    degrees = {name: getattr(parallel, name) for name in ("tensor", "pipeline", "sequence")}
    if complaint := _without_gpu(launch, machine, world):
        raise ConfigError(complaint)
    copies, remainder = divmod(world, prod(degrees.values()))
    if remainder or not copies:
        raise ConfigError(_does_not_divide(degrees, world))
    return Layout(
        world_size=world,
        data_parallel=copies,
        processes_here=machine.processes_here or world,
        device="cuda" if machine.gpus else "cpu",
        **degrees,
    )


def second_copy_ranks(parallel: ParallelConfig, processes_here: int) -> int:
    """Over how many processes ZeRO++ shards its second copy of the parameters; 1 is no second copy."""
    return processes_here if parallel.hierarchical is None else parallel.hierarchical


def reads_one_by_one(parallel: ParallelConfig, processes_here: int) -> bool:
    """Whether our engine reads the weights, one at a time. For ZeRO++ and NVMe, DeepSpeed reads them."""
    quantized = parallel.quantized_weights or parallel.quantized_gradients
    second_copy = second_copy_ranks(parallel, processes_here) > 1
    return not (quantized or second_copy or parallel.offload_parameters is Place.NVME)


def given_processes(launch: LaunchConfig, machine: Machine) -> int | None:
    """Processes that are given, whatever the degrees: started already, typed, or one for each GPU."""
    return machine.world_size or launch.processes or machine.gpus or None


def _world_size(parallel: ParallelConfig, launch: LaunchConfig, machine: Machine) -> int:
    one_copy = parallel.tensor * parallel.pipeline * parallel.sequence
    world = given_processes(launch, machine) or one_copy
    most = parallel.max_processes
    if not most or world <= most:
        return world
    if launch.processes or machine.world_size:
        fewer = f"start {most} process" if machine.world_size else f"launch.processes={most}"
        raise ConfigError(
            f"parallel: {parallel.name} uses {most} process and this run has {world}. Use parallel=ddp, or {fewer}."
        )
    return most


def _without_gpu(launch: LaunchConfig, machine: Machine, world: int) -> str:
    """More processes than GPUs would share one, and NCCL refuses that. One GPU may be another one for each process."""
    processes = machine.processes_here or world
    if not machine.gpus or processes <= machine.gpus or (machine.launcher and machine.gpus == 1):
        return ""
    gpus = f"{machine.gpus} GPU{'s' * (machine.gpus > 1)}"
    if not launch.processes:
        return f"{processes} processes were started where {gpus} can be seen: each needs one. Start {machine.gpus}."
    return (
        f"launch.processes: {launch.processes} processes and {gpus}: each process needs one. "
        f"Use launch.processes={machine.gpus}, or CUDA_VISIBLE_DEVICES= (empty) for the CPU."
    )


def _does_not_divide(degrees: dict[str, int], world: int) -> str:
    used = {name: degree for name, degree in degrees.items() if degree > 1}
    product = prod(used.values())
    spelt = " x ".join(f"{name}({degree})" for name, degree in used.items())
    total = f"{spelt} = {product}" if len(used) > 1 else spelt
    fewer = " or ".join(f"parallel.{name}=1" for name in used)
    more = -(-world // product) * product
    return f"parallel: {total} does not divide {world} process{'es' * (world > 1)}. Use {more} processes, or {fewer}."
