"""Errors of DeepSpeed."""

from runner.train.library_errors.row import Row

ROWS = (
    Row(
        ("AssertionError",),
        r"(.+)",
        "DeepSpeed refuses its configuration: {message}",
        "training.deepspeed",
        'Write what it names; `train_micro_batch_size_per_gpu: "auto"` follows the recipe.',
        file="/deepspeed/runtime/config",
    ),
    Row(
        ("MissingCUDAException", "OSError"),
        r"CUDA_HOME does not exist|CUDA_HOME environment variable is not set",
        "DeepSpeed would compile a kernel, and the machine that trains has no CUDA compiler",
        "training.strategy",
        "Write zero2 or zero3 without offload, or give the run the image that has one (docs/image.md).",
    ),
    Row(
        ("ImportError", "ModuleNotFoundError"),
        r"[Dd]eep[Ss]peed",
        "DeepSpeed is not installed on the machine that trains",
        "training.strategy",
        "Write ddp, or run it in the image.",
    ),
)
