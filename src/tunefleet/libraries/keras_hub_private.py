"""KerasHub models of exported folders, as a SavedModel: this source runs alone, in a Python that has TensorFlow.

KerasHub 0.32 has no converter for OPT and GPT-NeoX, and those for Llama and Mistral leave out the epsilon, Llama 3's
rotary scale and the precision of weights: here its networks are filled by name, and who starts this compares the
logits with torch's.

Standard input is JSON: `folder` (Hugging Face form) and its `config`, `saved_model` (a new folder), `rows` (of token
ids), `new_tokens`, `stops`, `texts` and `logits` (a file). Standard output's last line is JSON: `ids` of the texts and
the greedy `answers` of the rows, both by what was saved.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.update(
    KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", KAGGLEHUB_CACHE=os.devnull
)

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from keras_hub.src.utils.transformers import convert_llama3, convert_mistral
from keras_hub.src.utils.transformers.safetensor_utils import SafetensorLoader
from tokenizers import Tokenizer

Config = Mapping[str, Any]
Weight = Callable[[str], Any]
MODELS = keras_hub.models


class _Weights(SafetensorLoader):  # type: ignore[misc]
    """Weights by their exact names; the head of a model that has none of its own is its embedding."""

    def get_tensor(self, hf_weight_key: str) -> Any:
        try:
            return super().get_tensor(hf_weight_key)
        except Exception:
            if hf_weight_key != "lm_head.weight":
                raise
            return super().get_tensor("model.embed_tokens.weight")


def _norm(layer: Any, weight: Weight, name: str) -> None:
    layer.gamma.assign(weight(f"{name}.weight"))
    layer.beta.assign(weight(f"{name}.bias"))


def _dense(layer: Any, weight: Weight, name: str) -> None:
    """torch's [out, in] into Keras' [in, ...]."""
    layer.kernel.assign(np.reshape(weight(f"{name}.weight").T, layer.kernel.shape))
    if layer.bias is not None:
        layer.bias.assign(np.reshape(weight(f"{name}.bias"), layer.bias.shape))


def _expect(holds: bool, subject: str) -> None:
    if not holds:
        raise SystemExit(f"{subject} has no counterpart in KerasHub")


def _rope(config: Config, *supported: str) -> Config:
    """The rotary embedding, of a kind that KerasHub has: others differ in long texts alone."""
    rope: Config = config.get("rope_parameters") or {}
    _expect(rope.get("rope_type", "default") in ("default", *supported), f"rope_type={rope.get('rope_type')}")
    return rope


def _opt(config: Config, weight: Weight) -> Any:
    _expect(
        config["word_embed_proj_dim"] == config["hidden_size"], "an embedding of another width (word_embed_proj_dim)"
    )
    _expect(config["activation_function"] == "relu", f"activation_function={config['activation_function']}")
    _expect(config.get("enable_bias", True) and not config.get("_remove_final_layer_norm"), "this variant of OPT")
    backbone = MODELS.OPTBackbone(
        vocabulary_size=config["vocab_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"],
        hidden_dim=config["hidden_size"],
        intermediate_dim=config["ffn_dim"],
        max_sequence_length=config["max_position_embeddings"],
        dtype="float32",
    )
    prefix = "model.decoder."
    backbone.token_embedding.embeddings.assign(weight(f"{prefix}embed_tokens.weight"))
    positions = backbone.embeddings.position_embedding.position_embeddings
    positions.assign(weight(f"{prefix}embed_positions.weight")[2:])  # OPT's first two are of nothing
    for number, layer in enumerate(backbone.transformer_layers):
        _opt_layer(layer, weight, f"{prefix}layers.{number}.")
    if config["do_layer_norm_before"]:
        _norm(backbone.layer_norm, weight, f"{prefix}final_layer_norm")
    else:  # as OPT-350M: norms come after, and none at the end
        for layer in backbone.transformer_layers:
            layer.normalize_first = False
        backbone.layer_norm.call = lambda inputs: inputs
    return MODELS.OPTCausalLM(backbone=backbone, preprocessor=None)


def _opt_layer(layer: Any, weight: Weight, prefix: str) -> None:
    attention = layer._self_attention_layer
    _norm(layer._self_attention_layer_norm, weight, f"{prefix}self_attn_layer_norm")
    _norm(layer._feedforward_layer_norm, weight, f"{prefix}final_layer_norm")
    for name in ("query", "key", "value"):
        _dense(getattr(attention, f"{name}_dense"), weight, f"{prefix}self_attn.{name[0]}_proj")
    _dense(attention.output_dense, weight, f"{prefix}self_attn.out_proj")
    _dense(layer._feedforward_intermediate_dense, weight, f"{prefix}fc1")
    _dense(layer._feedforward_output_dense, weight, f"{prefix}fc2")


def _gpt_neox(config: Config, weight: Weight) -> Any:
    _expect(config["use_parallel_residual"], "use_parallel_residual=false")
    rope = _rope(config)
    backbone = MODELS.GPTNeoXBackbone(
        vocabulary_size=config["vocab_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"],
        hidden_dim=config["hidden_size"],
        intermediate_dim=config["intermediate_size"],
        rotary_percentage=rope.get("partial_rotary_factor", config.get("rotary_pct", 0.25)),
        rotary_max_wavelength=rope["rope_theta"],
        layer_norm_epsilon=config["layer_norm_eps"],
        max_sequence_length=config["max_position_embeddings"],
        dtype="float32",
    )
    backbone.token_embedding.embeddings.assign(weight("gpt_neox.embed_in.weight"))
    for number, layer in enumerate(backbone.transformer_layers):
        _gpt_neox_layer(layer, weight, f"gpt_neox.layers.{number}.")
        if config["hidden_act"] == "gelu":  # KerasHub takes the approximate one
            layer.activation = layer._feedforward_intermediate_dense.activation = keras.activations.gelu
    _norm(backbone.layer_norm, weight, "gpt_neox.final_layer_norm")
    if not config["tie_word_embeddings"]:
        _add_head(backbone.token_embedding, weight("embed_out.weight").T)
    return MODELS.GPTNeoXCausalLM(backbone=backbone, preprocessor=None)


def _gpt_neox_layer(layer: Any, weight: Weight, prefix: str) -> None:
    attention = layer._self_attention_layer
    _norm(layer._self_attention_layer_norm, weight, f"{prefix}input_layernorm")
    _norm(layer._feedforward_layer_norm, weight, f"{prefix}post_attention_layernorm")
    _dense(attention._qkv_dense, weight, f"{prefix}attention.query_key_value")
    _dense(attention._output_dense, weight, f"{prefix}attention.dense")
    _dense(layer._feedforward_intermediate_dense, weight, f"{prefix}mlp.dense_h_to_4h")
    _dense(layer._feedforward_output_dense, weight, f"{prefix}mlp.dense_4h_to_h")


def _add_head(embedding: Any, head: Any) -> None:
    """A head of its own [hidden, vocabulary], where KerasHub's network has none."""
    embedding._tracker.unlock()
    embedding.reverse_embeddings = embedding.add_weight(
        name="reverse_embeddings", shape=head.shape, initializer="zeros"
    )
    embedding._tracker.lock()
    embedding.tie_weights = False
    embedding.reverse_embeddings.assign(head)


def _llama(config: Config, weights: Any) -> Any:
    rope = _rope(config, "llama3")
    width = config["hidden_size"] // config["num_attention_heads"]
    _expect(config.get("head_dim") in (None, width), f"head_dim={config.get('head_dim')}")
    _expect(
        not config.get("attention_bias") and not config.get("mlp_bias"), "a bias of attention or feed-forward layers"
    )
    settings = convert_llama3.convert_backbone_config(config) | {"layer_norm_epsilon": config["rms_norm_eps"]}
    if rope.get("rope_type") == "llama3":
        settings |= {
            "rope_frequency_adjustment_factor": rope["factor"],
            "rope_low_freq_factor": rope["low_freq_factor"],
            "rope_high_freq_factor": rope["high_freq_factor"],
            "rope_pretraining_sequence_length": rope["original_max_position_embeddings"],
        }
    backbone = MODELS.Llama3Backbone(**settings, dtype="float32")
    convert_llama3.convert_weights(backbone, weights, config)
    return MODELS.Llama3CausalLM(backbone=backbone, preprocessor=None)


def _mistral(config: Config, weights: Any) -> Any:
    _rope(config)
    backbone = MODELS.MistralBackbone(**convert_mistral.convert_backbone_config(config), dtype="float32")
    backbone.tie_word_embeddings = False
    convert_llama3.convert_weights(backbone, weights, config)  # the same names, without Mistral's cast to float16
    return MODELS.MistralCausalLM(backbone=backbone, preprocessor=None)


def network(folder: Path, config: Config) -> Any:
    """KerasHub's network of `config` in fp32 with the weights of `folder`. Raises `SystemExit` for what it lacks."""
    family = config["model_type"]
    filled = {"opt": _opt, "gpt_neox": _gpt_neox}
    converted = {"llama": _llama, "mistral": _mistral}
    with _Weights(str(folder)) as weights:
        if family in filled:
            return filled[family](config, lambda name: np.asarray(weights.get_tensor(name), "float32"))
        if family in converted:
            return converted[family](config, weights)
    _expect(family in ("gpt2", "qwen2"), f"the family {family}")
    _rope(config)
    _expect(config.get("n_inner") in (None, 4 * config.get("n_embd", 0)), f"n_inner={config.get('n_inner')}")
    _expect(not config.get("use_sliding_window"), "use_sliding_window=true")
    return MODELS.CausalLM.from_preset(str(folder), dtype="float32", preprocessor=None)


def _inputs(ids: list[int]) -> dict[str, Any]:
    row = np.asarray([ids], "int32")
    return {"token_ids": row, "padding_mask": np.ones_like(row)}


def _answer(serve: Any, row: list[int], request: Mapping[str, Any]) -> list[int]:
    ids = list(row)
    while len(ids) < len(row) + request["new_tokens"]:
        ids.append(int(np.argmax(serve(_inputs(ids))[0, -1])))
        if ids[-1] in request["stops"]:
            break
    return ids[len(row) :]


def main() -> None:
    """Saves the network, reads it again with TensorFlow alone, and says what it computes."""
    request = json.load(sys.stdin)
    folder = Path(request["folder"])
    network(folder, request["config"]).export(request["saved_model"], format="tf_saved_model", verbose=False)
    root = tf.saved_model.load(request["saved_model"])
    np.save(request["logits"], np.concatenate([np.asarray(root.serve(_inputs(row)))[0] for row in request["rows"]]))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in request["texts"]]
    print("\n" + json.dumps({"ids": ids, "answers": [_answer(root.serve, row, request) for row in request["rows"]]}))


if __name__ == "__main__":
    main()
