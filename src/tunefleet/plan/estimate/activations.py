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
from tunefleet.plan.families.counts import Architecture
from tunefleet.plan.families.parameters import dimensions

LOSS_BYTES = 12
_RMS = {
    *("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "olmo2", "olmo3"),
    *("granite", "mixtral"),
}
_GATED = {*_RMS, "stablelm", "cohere"}
_EAGER = {"gptj", "gemma2"}
_NORMS = {"gemma2": 4, "gemma3_text": 4, "phi": 1, "gptj": 1, "cohere": 1, "falcon": 1}
_HEAD_NORMS = {"qwen3", "gemma3_text", "olmo2", "olmo3"}
_FP32_NORMS = {"gemma", "gemma2", "gemma3_text", "olmo2", "olmo3"}
_FUSED = {"gpt_neox", "falcon", "phi3"}
_ONE_PRODUCT = {*_FUSED, "gpt2", "bloom"}
_IN_PYTHON = {"gelu_new", "gelu_fast"}
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
    size = dimensions(architecture)
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
    size = dimensions(architecture)
    family = str(architecture["model_type"])
    width, stream = _widths(work.precision, spread)
    norms = _NORMS.get(family, 2) * size.hidden * _norm(family, width, stream)
    dropped = 2 * size.hidden * (1 if on_gpu else width) * any(architecture.get(key) for key in _DROPOUTS)
    copies = 2 * size.hidden * _casts(family) if stream > width else 0
    split = _attention(architecture, work, width, on_gpu) + _feed_forward(architecture, width)
    return norms + dropped + copies + split / spread.tensor


def _casts(family: str) -> int:
    """Autocast turns the same input to 16 bits again for each matrix: queries, keys, values, gate and up."""
    return (0 if family in _ONE_PRODUCT else 2) + (family in _GATED and family != "phi3")


def _norm(family: str, width: int, stream: int) -> int:
    """Bytes of an element: the input, the normalised values where the norm is written out, the output."""
    if family == "cohere":
        return 12 + width  # a LayerNorm written out
    normalised = 4 if family in _FP32_NORMS else stream
    return 4 + normalised + width if family in _RMS else stream + width


def _attention(architecture: Architecture, work: Work, width: int, on_gpu: bool) -> float:
    """Bytes a token: projections, and scores where the implementation keeps them."""
    size = dimensions(architecture)
    family = str(architecture["model_type"])
    queries = size.heads * size.head_dim
    keys = queries if work.packed else size.kv_heads * size.head_dim  # a mask makes SDPA repeat them for every head
    bytes_ = width * (2 * queries + 2 * keys) + 4 * size.heads
    if family in _HEAD_NORMS:
        bytes_ += (queries + size.kv_heads * size.head_dim) * (4 + width)
    dropout = any(architecture.get(key) for key in _ATTENTION_DROPOUTS)
    if family in _FUSED:  # values are a view of one product, which stays whole, beside rotated queries and keys
        bytes_ += width * (queries + size.kv_heads * size.head_dim)
    if family in _EAGER or (dropout and not on_gpu):  # torch's CPU kernel has no dropout
        bytes_ += size.heads * work.length * _score(family, width, dropout)
    return bytes_


def _score(family: str, width: int, dropout: bool) -> int:
    """Bytes of one score: the softmax (fp32), its 16-bit copy, a soft cap before it, dropout behind it."""
    return 4 + 2 * (width == 2) + width * (family == "gemma2") + 2 * width * dropout


def _feed_forward(architecture: Architecture, width: int) -> float:
    """Bytes a token; a mixture of experts computes some of them for each token."""
    size = dimensions(architecture)
    experts = int(architecture.get("num_experts_per_tok", 2)) if architecture["model_type"] == "mixtral" else 1
    gathered = 2 * size.hidden * width * experts if experts > 1 else 0
    return width * size.ffn * _inner(architecture) * experts + gathered


def _inner(architecture: Architecture) -> int:
    """How many tensors of the inner width are kept."""
    named = [architecture.get(key) for key in ("activation_function", "hidden_act", "hidden_activation", "activation")]
    activation = next((str(name) for name in named if name), _default(str(architecture["model_type"])))
    if architecture["model_type"] in _GATED:
        return 4
    if activation.startswith("relu"):
        return 1
    return 5 if activation in _IN_PYTHON else 2


def _default(family: str) -> str:
    return {"gpt2": "gelu_new", "gptj": "gelu_new", "phi": "gelu_new", "opt": "relu", "bloom": "gelu"}.get(
        family, "gelu"
    )


def _kinds_of_mask(architecture: Architecture) -> int:
    """Full and sliding layers have a mask each."""
    return max(1, len(set(architecture.get("layer_types") or ())))
