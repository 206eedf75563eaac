"""Errors of peft about an adapter."""

from runner.train.library_errors.row import Row

ROWS = (
    Row(
        ("ValueError",),
        r"Target modules .* not found in the base model|No modules were targeted for adaptation",
        "no module of the model has a name that the adapter targets ({message})",
        "adapter.target_modules",
        "Write all-linear, or a list of names that the model has.",
    ),
    Row(
        ("ValueError", "AttributeError"),
        r"(?i)orthogonal initialization requires|must be even|r must be",
        "this initialization does not go with the rank ({message})",
        "adapter.r",
        "Write an even `r`, or leave `init_lora_weights` out.",
        file="/peft/",
    ),
    Row(
        ("ValueError",),
        r"Multiple invocations of PEFT forward hooks",
        "peft's activated LoRA does not go with gradient checkpointing, which is on by default",
        "adapter.alora_invocation_tokens",
        "Write training: {{gradient_checkpointing: false}} too.",
    ),
)
