"""Activations: bytes that a forward pass leaves for the backward pass, layer by layer.

The method is Korthikanti et al. 2022 (arXiv:2205.05198, section 4): a sum over the tensors that autograd keeps. Their
34 sbh + 5 as²b is for Megatron; ours is derived for what transformers and our learner compute:

- attention through SDPA keeps queries, keys, values, output and one fp32 number a head and token, and no scores;
  families without SDPA keep scores, as in the paper. Packed rows add one float mask of length x length for a row, and
  keys and values are repeated for every query head; where conversations attend one by one, they do neither.
- a norm without bias (RMSNorm, written out in transformers) keeps an fp32 copy of its input and the normalised values.
- a gated feed-forward keeps gate, its activation, up and their product; ReLU keeps its output alone; GELU its input
  and output; the tanh written out in Python (`gelu_new`) five tensors.
- the loss has logits only where a label is, and their gradient takes their place (`model/token_loss.py`); two fp32
  copies exist for `LOSS_CHUNK` of them. In tiles there are those of one tile.
"""

from __future__ import annotations

from dataclasses import dataclass

from tunefleet.config.train import Precision
from tunefleet.plan.estimate.pipeline_stages import Stage
from tunefleet.plan.estimate.spread import Spread
from tunefleet.plan.estimate.work import Work
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.family import BlockActivations, Norm

LOSS_CHUNK = {"cpu": 2**18, "cuda": 2**24}
"""Logits that the loss has in fp32 at once: what fits a core's cache, what fills a GPU."""
_IN_PYTHON = {"gelu_new", "gelu_fast"}
_ACTIVATION_KEYS = ("activation_function", "hidden_act", "hidden_activation", "activation")
_DROPOUTS = ("dropout", "resid_pdrop", "hidden_dropout", "residual_dropout")
_ATTENTION_DROPOUTS = ("attention_dropout", "attn_pdrop")


@dataclass(frozen=True)
class Activations:
    """Bytes on one device: saved for the backward pass, masks, the loss, what one layer needs at once, one tensor."""

    saved: int
    mask: int
    loss: int
    layer: int
    largest: int


@dataclass(frozen=True)
class _Bytes:
    """Bytes of a number: in matrix products, and in the residual stream, which autocast keeps in fp32."""

    product: int
    stream: int

    @staticmethod
    def per_number(precision: Precision, spread: Spread) -> _Bytes:
        if precision is Precision.FP32:
            return _Bytes(4, 4)
        return _Bytes(2, 2 if spread.zero_stage else 4)


def activations(architecture: Architecture, work: Work, spread: Spread, stage: Stage, on_gpu: bool) -> Activations:
    """What micro-batches of `work` save in `stage`. Raises ValueError for a family that cannot be counted."""
    size, bytes_of = architecture.dimensions, _Bytes.per_number(work.precision, spread)
    tokens = work.tokens / spread.sequence
    layer = tokens * _layer(architecture, work, spread, bytes_of, on_gpu)
    boundary = tokens * size.hidden * bytes_of.stream
    in_each_block = boundary if work.checkpointing else layer
    recomputed = layer if work.checkpointing else 2 * tokens * (size.hidden + size.ffn) * bytes_of.product
    return Activations(
        saved=round(stage.blocks * in_each_block * stage.in_flight + boundary),
        mask=_mask(architecture, work, bytes_of) if work.packed and work.masked else 0,
        loss=_loss(architecture, work, tokens, bytes_of, on_gpu) if stage.last else 0,
        layer=round(recomputed),
        largest=round(tokens * max(size.hidden, size.ffn) * bytes_of.product / spread.tensor),
    )


def _mask(architecture: Architecture, work: Work, bytes_of: _Bytes) -> int:
    """A number for each pair of tokens; full and sliding layers have a mask each."""
    layer_types = set(architecture.config.get("layer_types") or ())
    return work.rows * work.length**2 * bytes_of.product * max(1, len(layer_types))


def _loss(architecture: Architecture, work: Work, tokens: float, bytes_of: _Bytes, on_gpu: bool) -> int:
    """Logits of the labelled tokens, of a tile of them at a time, and their hidden states."""
    size, labelled = architecture.dimensions, tokens * work.labelled
    at_once = min(labelled, work.tile or labelled)
    in_fp32 = min(at_once * size.vocab, LOSS_CHUNK["cuda" if on_gpu else "cpu"])
    return round((at_once * size.vocab + labelled * size.hidden) * bytes_of.product + in_fp32 * 2 * 4)


def _layer(architecture: Architecture, work: Work, spread: Spread, bytes_of: _Bytes, on_gpu: bool) -> float:
    """Bytes a token in one layer. Tensor-parallel ranks share attention and feed-forward, and repeat the rest."""
    size, block = architecture.dimensions, architecture.activations
    norms = block.norms * size.hidden * _norm(block.norm, bytes_of)
    repeated = norms + _dropout_masks(architecture, bytes_of, on_gpu) + _casts(size.hidden, block, bytes_of)
    sharded = _attention(architecture, work, bytes_of, on_gpu) + _feed_forward(architecture, bytes_of)
    return repeated + sharded / spread.tensor


def _dropout_masks(architecture: Architecture, bytes_of: _Bytes, on_gpu: bool) -> int:
    """After attention and after the feed-forward; torch's CPU kernel keeps them as numbers."""
    if not any(architecture.config.get(key) for key in _DROPOUTS):
        return 0
    return 2 * architecture.dimensions.hidden * (1 if on_gpu else bytes_of.product)


def _casts(hidden: int, block: BlockActivations, bytes_of: _Bytes) -> int:
    """Autocast turns the same input to 16 bits again for each matrix: queries, keys, values, gate and up."""
    if bytes_of.stream == bytes_of.product:
        return 0
    attention = 0 if block.one_qkv_product else 2
    feed_forward = 1 if block.gated and not block.one_gate_up_product else 0
    return 2 * hidden * (attention + feed_forward)


def _norm(norm: Norm, bytes_of: _Bytes) -> int:
    """Bytes of an element: the input, the normalised values where the norm is written out, the output."""
    return {
        Norm.LAYER: bytes_of.stream + bytes_of.product,
        Norm.LAYER_WRITTEN_OUT: 12 + bytes_of.product,
        Norm.RMS: 4 + bytes_of.stream + bytes_of.product,
        Norm.RMS_FP32: 4 + 4 + bytes_of.product,
    }[norm]


def _attention(architecture: Architecture, work: Work, bytes_of: _Bytes, on_gpu: bool) -> float:
    """Bytes a token: projections, and scores where the implementation saves them."""
    size, block = architecture.dimensions, architecture.activations
    queries, keys = size.heads * size.head_dim, size.kv_heads * size.head_dim
    attended = queries if work.packed and work.masked else keys  # SDPA repeats them where it has a mask
    saved: float = bytes_of.product * (2 * queries + 2 * attended) + 4 * size.heads
    if block.head_norms:
        saved += (queries + keys) * (4 + bytes_of.product)
    if block.values_are_views:  # the product stays whole, beside rotated queries and keys
        saved += bytes_of.product * (queries + keys)
    dropout = any(architecture.config.get(key) for key in _ATTENTION_DROPOUTS)
    if block.scores or (dropout and not on_gpu):  # torch's CPU kernel has no dropout
        saved += size.heads * work.length * _score(block, bytes_of, dropout)
    return saved


def _score(block: BlockActivations, bytes_of: _Bytes, dropout: bool) -> int:
    """Bytes of one score: the softmax (fp32), its 16-bit copy, a soft cap before it, dropout behind it."""
    copy = 2 if bytes_of.product == 2 else 0
    capped = bytes_of.product if block.capped_scores else 0
    dropped = 2 * bytes_of.product if dropout else 0
    return 4 + copy + capped + dropped


def _feed_forward(architecture: Architecture, bytes_of: _Bytes) -> float:
    """Bytes a token; a mixture of experts computes some of them for each token."""
    size, experts = architecture.dimensions, architecture.active_experts
    gathered = 2 * size.hidden * bytes_of.product * experts if experts > 1 else 0
    return bytes_of.product * size.ffn * _inner_tensors(architecture) * experts + gathered


def _inner_tensors(architecture: Architecture) -> int:
    """How many tensors of the inner width are saved."""
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
