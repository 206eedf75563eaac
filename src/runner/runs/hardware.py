"""What an attempt was computed with (``attempts/<n>.hardware-<stage>.json``, a result's ``hardware``), in words."""

from collections.abc import Mapping
from typing import Any


def described(record: Mapping[str, Any]) -> str:
    """The record in a line.

    Args:
        record: as `runner.train.devices.kernels.hardware_record` returns it.
    """
    parts = [
        record["device"],
        record["precision"],
        f"weights {record['quantization'] or record['weights']}",
        f"attention {record['attn_implementation']}",
        f"optimizer {record['optim']}",
        *(["Liger kernels"] if record["use_liger_kernel"] else []),
        *([f"packing {record['packing']}"] if record["packing"] else []),
        *(["padding-free"] if record["padding_free"] else []),
        *([f"loss on {record['loss_on']}"] if record["loss_on"] else []),
        f"{record['per_device_train_batch_size']} x {record['gradient_accumulation_steps']} a step",
    ]
    return ", ".join(parts)
