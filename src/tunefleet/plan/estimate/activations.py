"""How many bytes does a forward pass leave for the backward pass, layer by layer?

The method is Korthikanti et al. 2022 (arXiv:2205.05198, section 4): a sum over the tensors that autograd keeps. Their
34 sbh + 5 as²b is for Megatron; ours is derived for what transformers and our learner compute:

- attention through SDPA keeps queries, keys, values, output and one fp32 number a head and token, and no scores;
  families without SDPA keep scores, as in the paper. Packed rows add one float mask of length x length for a row, and
  keys and values are repeated for every query head.
- a norm without bias (RMSNorm, written out in transformers) keeps an fp32 copy of its input and the normalised values.
- a gated feed-forward keeps gate, its activation, up and their product; ReLU keeps its output alone; GELU its input
  and output; the tanh written out in Python (`gelu_new`) five tensors.
- the loss has logits only where a label is: 12 bytes for each of them at the height of its backward pass (log-softmax,
  its gradient and that of the negative log-likelihood, all fp32); in tiles, for those of one tile.
"""

from __future__ import annotations

from dataclasses import dataclass

from tunefleet.config.train import Precision
from tunefleet.plan.estimate.pipeline_stages import Stage
from tunefleet.plan.estimate.spread import Spread
from tunefleet.plan.estimate.work import Work
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.family import BlockActivations, Norm

LOSS_BYTES = 12
_IN_PYTHON = {"gelu_new", "gelu_fast"}
_ACTIVATION_KEYS = ("activation_function", "hidden_act", "hidden_activation", "activation")
_DROPOUTS = ("dropout", "resid_pdrop", "hidden_dropout", "residual_dropout")
_ATTENTION_DROPOUTS = ("attention_dropout", "attn_pdrop")


@dataclass(frozen=True)
class Activations:
    """Bytes on one device: kept until the backward pass, masks, the loss, what one layer needs at once, one tensor."""

    kept: int
    mask: int
    loss: int
    layer: int
    largest: int


def activations(architecture: Architecture, work: Work, spread: Spread, stage: Stage, on_gpu: bool) -> Activations:
    """What micro-batches of `work` keep in `stage`. Raises ValueError for a family that cannot be counted."""
    size = architecture.dimensions
    tokens = work.tokens / spread.sequence
    width, stream = _widths(work.precision, spread)
    layer = tokens * _layer(architecture, work, spread, on_gpu)
    boundary = tokens * size.hidden * stream
    kept = stage.blocks * (boundary if work.checkpointing else layer) * stage.in_flight + boundary
    labelled = tokens * work.learning * stage.last
    return Activations(
        kept=round(kept),
        mask=work.rows * work.length**2 * width * _kinds_of_mask(architecture) if work.packed else 0,
        loss=round(min(labelled, work.tile or labelled) * size.vocab * LOSS_BYTES + labelled * size.hidden * width),
        layer=round(layer) if work.checkpointing else round(2 * tokens * (size.hidden + size.ffn) * width),
        largest=round(tokens * max(size.hidden, size.ffn) * width / spread.tensor),
    )


def _widths(precision: Precision, spread: Spread) -> tuple[int, int]:
    """Bytes of a number in matrix products, and in the stream between them: autocast keeps the latter in fp32."""
    if precision is Precision.FP32:
        return 4, 4
    return 2, 2 if spread.zero_stage else 4


def _layer(architecture: Architecture, work: Work, spread: Spread, on_gpu: bool) -> float:
    """Bytes a token in one layer."""
    size, block = architecture.dimensions, architecture.activations
    width, stream = _widths(work.precision, spread)
    norms = block.norms * size.hidden * _norm(block.norm, width, stream)
    dropped = 2 * size.hidden * (1 if on_gpu else width) * any(architecture.config.get(key) for key in _DROPOUTS)
    copies = 2 * size.hidden * _casts(block) if stream > width else 0
    split = _attention(architecture, work, width, on_gpu) + _feed_forward(architecture, width)
    return norms + dropped + copies + split / spread.tensor


def _casts(block: BlockActivations) -> int:
    """Autocast turns the same input to 16 bits again for each matrix: queries, keys, values, gate and up."""
    return (0 if block.one_qkv_product else 2) + (1 if block.gated and not block.one_gate_up_product else 0)


def _norm(norm: Norm, width: int, stream: int) -> int:
    """Bytes of an element: the input, the normalised values where the norm is written out, the output."""
    return {
        Norm.LAYER: stream + width,
        Norm.LAYER_WRITTEN_OUT: 12 + width,
        Norm.RMS: 4 + stream + width,
        Norm.RMS_FP32: 4 + 4 + width,
    }[norm]


def _attention(architecture: Architecture, work: Work, width: int, on_gpu: bool) -> float:
    """Bytes a token: projections, and scores where the implementation keeps them."""
    size, block = architecture.dimensions, architecture.activations
    queries = size.heads * size.head_dim
    keys = queries if work.packed else size.kv_heads * size.head_dim  # a mask makes SDPA repeat them for every head
    bytes_ = width * (2 * queries + 2 * keys) + 4 * size.heads
    if block.head_norms:
        bytes_ += (queries + size.kv_heads * size.head_dim) * (4 + width)
    dropout = any(architecture.config.get(key) for key in _ATTENTION_DROPOUTS)
    if block.values_are_views:  # the product stays whole, beside rotated queries and keys
        bytes_ += width * (queries + size.kv_heads * size.head_dim)
    if block.scores or (dropout and not on_gpu):  # torch's CPU kernel has no dropout
        bytes_ += size.heads * work.length * _score(block, width, dropout)
    return bytes_


def _score(block: BlockActivations, width: int, dropout: bool) -> int:
    """Bytes of one score: the softmax (fp32), its 16-bit copy, a soft cap before it, dropout behind it."""
    copy = 2 if width == 2 else 0
    capped = width if block.capped_scores else 0
    return 4 + copy + capped + (2 * width if dropout else 0)


def _feed_forward(architecture: Architecture, width: int) -> float:
    """Bytes a token; a mixture of experts computes some of them for each token."""
    size, experts = architecture.dimensions, architecture.active_experts
    gathered = 2 * size.hidden * width * experts if experts > 1 else 0
    return width * size.ffn * _inner(architecture) * experts + gathered


def _inner(architecture: Architecture) -> int:
    """How many tensors of the inner width are kept."""
    block = architecture.activations
    if block.gated:
        return 4
    names = (architecture.config.get(key) for key in _ACTIVATION_KEYS)
    activation = next((str(name) for name in names if name), block.activation)
    if activation is None:
        raise ValueError(f"neither config.json nor the family {architecture.model_type} names an activation function")
    if activation.startswith("relu"):
        return 1
    return 5 if activation in _IN_PYTHON else 2


def _kinds_of_mask(architecture: Architecture) -> int:
    """Full and sliding layers have a mask each."""
    return max(1, len(set(architecture.config.get("layer_types") or ())))
