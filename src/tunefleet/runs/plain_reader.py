"""Reads an export in a process of its own, with plain transformers: this source runs alone, without tunefleet.

Standard input is JSON: `folder`, `texts`, `messages`, `tokens` (rows of ids, or null) and `dtype`. Standard output's
last line is JSON; logits go to `logits` as a NumPy array [rows, length, vocabulary].
"""

import json
import sys

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

request = json.load(sys.stdin)
folder = request["folder"]
tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
result = {
    "ids": [tokenizer(text, add_special_tokens=False)["input_ids"] for text in request["texts"]],
    "template": tokenizer.chat_template,
    "rendered": None,
    "specials": [tokenizer.bos_token_id, tokenizer.eos_token_id],
    "missing": [],
}
if request["messages"]:
    result["rendered"] = tokenizer.apply_chat_template(request["messages"], tokenize=False)
try:
    with open(f"{folder}/generation_config.json", encoding="utf-8") as stream:
        stops = GenerationConfig.from_dict(json.load(stream)).eos_token_id
except FileNotFoundError:
    stops = None
if request["tokens"]:
    model, report = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=getattr(torch, request["dtype"]),
        output_loading_info=True,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )
    result["missing"] = [*map(str, report["missing_keys"]), *map(str, report["mismatched_keys"])]
    stops = stops or model.generation_config.eos_token_id
    with torch.no_grad():
        rows = [
            model.eval()(input_ids=torch.tensor([row]), use_cache=False).logits[0].float() for row in request["tokens"]
        ]
    np.save(request["logits"], torch.cat(rows).numpy())
result["stops"] = stops if isinstance(stops, list) else [stops]
print("\n" + json.dumps(result))
