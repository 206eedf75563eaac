"""Errors of TRL about its settings."""

from runner.train.library_errors.row import Row

ROWS = (
    Row(
        ("RuntimeError", "ValueError"),
        r"no assistant tokens|patching is not supported for this template|assistant masks",
        "the model's chat template does not tell which tokens are the assistant's",
        "training.assistant_only_loss",
        "Leave it out and bring prompts and completions, or write chat_template_path: FILE.jinja, with "
        "{{% generation %}}…{{% endgeneration %}} around each answer.",
    ),
    Row(
        ("ValueError",),
        r"`router_aux_loss_coef` is set",
        "the model is not a mixture of experts, so that there is no auxiliary loss to weigh",
        "training.router_aux_loss_coef",
        "Leave it out.",
    ),
    Row(
        ("ValueError",),
        r"The specified `(eos_token|pad_token)` \('(.*?)'\) is not found in the vocabulary",
        "the model's tokenizer has no token {1}",
        "training.{0}",
        "Write one of its tokens, or leave it out.",
    ),
    Row(
        ("ValueError",),
        r"fused_linear_cross_entropy",
        "TRL computes the loss itself, which `fused_linear_cross_entropy` would replace",
        "training.liger_kernel_config",
        "Leave it out.",
    ),
    Row(
        ("ValueError",),
        r"`gradient_checkpointing_kwargs=\{'selective': True\}`",
        "selective activation checkpointing does not go with the other settings ({message})",
        "training.gradient_checkpointing_kwargs",
        "Leave `selective` out.",
    ),
    Row(
        ("AttributeError", "RuntimeError", "ValueError"),
        r"",
        "activations are moved between a GPU and the CPU, and the machine that trains has no GPU",
        "training.activation_offloading",
        "Leave it out.",
        file="/trl/models/activation_offloading",
    ),
)
