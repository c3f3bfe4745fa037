"""Is DeepSpeed given every weight of a tensor-parallel plan by name?"""

from __future__ import annotations

import pytest

from tunefleet.plan.deepspeed.autotp import autotp_config
from tunefleet.plan.families.architecture import Architecture


def test_every_weight_has_its_pattern() -> None:
    config = autotp_config(Architecture({"model_type": "qwen3"}), degree=2)
    columns, rows, norms = config["layer_specs"]
    assert columns == {
        "patterns": [r".*\.(q_proj|k_proj|v_proj|gate_proj|up_proj)\.weight$"],
        "partition_type": "column",
    }
    assert rows == {"patterns": [r".*\.(o_proj|down_proj)\.weight$"], "partition_type": "row"}
    assert norms["grad_allreduce"] is True
    assert config["use_default_specs"] is False
    assert config["tp_size"] == 2


def test_a_family_that_is_not_sharded_has_no_configuration() -> None:
    with pytest.raises(ValueError, match=r"the layers of model_type gpt2 cannot be sharded: .*Conv1D"):
        autotp_config(Architecture({"model_type": "gpt2"}), degree=2)
