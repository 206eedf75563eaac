"""The libraries' errors that a mistake in the recipe, the model or the data causes: what, where, and what to write.

One table, matched by the names of the error's classes and by words that are stable in its message. Whatever a library
raises while it reads its own configuration is the caller's mistake too (`_refused_setting`). No library is imported
here: each is only asked for the names of its classes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from runner.errors import UserError, causes

_MODEL = "model.model_name_or_path"
_LONGEST = 400


@dataclass(frozen=True)
class _Row:
    """One kind of error."""

    types: tuple[str, ...]
    """Names of classes: the error is of one of them or of one made from it."""
    words: str
    """A regular expression that the message contains."""
    what: str
    """What is wrong; ``{0}`` is the first group of `words`, ``{message}`` the message."""
    where: str
    """The setting; empty: the section whose settings the innermost of the known files reads."""
    remedy: str
    """What to write or do instead; groups are filled in as in `what`."""
    file: str = ""
    """Part of the path of the file that raises it."""
    through: str = ""
    """Part of the path of a file that the error comes through."""


_ROWS = (
    # -- transformers: models and tokenizers
    _Row(
        ("ValueError",),
        r"trust_remote_code=True",
        "the model comes with Python code of its own, which is not run unless the recipe says so",
        _MODEL,
        "Read it, and write training: {{trust_remote_code: true}}.",
    ),
    _Row(
        ("ValueError",),
        r"Unrecognized configuration class .*?(\w+)Config'?>? for this kind of AutoModel: AutoModelForCausalLM",
        "a model of the type {0} is not a causal language model",
        _MODEL,
        "Name a model that generates text, such as a Llama, Qwen, Gemma or Mistral.",
    ),
    _Row(
        ("ValueError", "KeyError"),
        r"model type `([^`]+)` but Transformers does not recognize this architecture",
        "the installed transformers has no model of the type {0}",
        _MODEL,
        "Name another model; a newer one needs a newer transformers where the run is.",
    ),
    _Row(
        ("ValueError", "OSError"),
        r"Unrecognized model in|should have a `model_type` key|does not appear to have a file named config\.json",
        "the model has no config.json that says what it is",
        _MODEL,
        "Name a model's folder or repository, not that of an adapter, a GGUF file or a data set.",
    ),
    _Row(
        ("ValueError",),
        r"Couldn't instantiate the backend tokenizer|sentencepiece or tiktoken",
        "the model's tokenizer cannot be made from its files",
        _MODEL,
        "Its folder needs a tokenizer.json; or the package that it is read with is missing: sentencepiece, tiktoken.",
    ),
    _Row(
        ("OSError",),
        r"Can't load tokenizer for",
        "the model has no tokenizer",
        _MODEL,
        "Its folder needs tokenizer.json and tokenizer_config.json.",
    ),
    _Row(
        ("SafetensorError",),
        r"(?i)header|incomplete|metadata|invalid",
        "a file of the model's weights is damaged or cut off ({message})",
        _MODEL,
        "Download it again; a pointer of Git LFS is fetched with `git lfs pull`.",
    ),
    _Row(
        ("UnpicklingError", "EOFError"),
        r"(?i)invalid load key|ran out of input|weights only load failed",
        "a file of the model's weights cannot be read ({message})",
        _MODEL,
        "Download it again, as safetensors; a pointer of Git LFS is fetched with `git lfs pull`.",
    ),
    _Row(
        ("RuntimeError",),
        r"size mismatch for ([\w.]+)|You set `ignore_mismatched_sizes` to `False`",
        "the model's weights do not have the sizes that its config.json says",
        _MODEL,
        "Weights and config.json belong together: download both again, or name another model.",
    ),
    _Row(
        ("ImportError", "ValueError"),
        r"(?:FlashAttention\d? has been toggled on|flash_attn.*not installed|Flash Attention \d is not)",
        "FlashAttention is not installed on the machine that trains, or does not run there",
        "model.attn_implementation",
        "Write sdpa, or leave it out: the fastest that is there is chosen.",
    ),
    _Row(
        ("ValueError",),
        r"Specified `attn_implementation=\"?([^\"` ]+)|does not support .*attention|not support an attention impl",
        "the model does not have this attention ({message})",
        "model.attn_implementation",
        "Write sdpa or eager, or leave it out.",
    ),
    _Row(
        ("OSError",),
        r"couldn't connect to '.*cached files|is not a local folder and is not a valid model identifier",
        "the tokenizer that the recipe takes its chat template from is neither on this machine nor on the hub",
        "training.chat_template_path",
        "Check the name; HF_HUB_OFFLINE keeps a machine from asking the hub.",
        through="/trl/chat_template_utils",
    ),
    _Row(
        ("ValueError",),
        r"tokenizer\.chat_template is not set",
        "the tokenizer has no chat template",
        "training.chat_template_path",
        "Name a model that has one, or a .jinja file; or bring prompts and completions.",
    ),
    _Row(
        ("AssertionError",),
        r"(.+)",
        "DeepSpeed refuses its configuration: {message}",
        "training.deepspeed",
        'Write what it names; `train_micro_batch_size_per_gpu: "auto"` follows the recipe.',
        file="/deepspeed/runtime/config",
    ),
    # -- bitsandbytes
    _Row(
        ("AttributeError",),
        r"module 'torch' has no attribute '(\w+)'",
        "torch has no {0}",
        "",
        "Write a type that it has: bfloat16, float16 or float32.",
        file="/torch/__init__",
    ),
    _Row(
        ("RuntimeError", "ImportError", "ValueError"),
        r"None of the available devices|No GPU found|latest version of bitsandbytes|bitsandbytes.*compiled",
        "bitsandbytes cannot be used on the machine that trains ({message})",
        "model",
        "Load in full, or run it on an NVIDIA GPU.",
    ),
    _Row(
        ("NotImplementedError", "RuntimeError", "AttributeError"),
        r"bitsandbytes::\w*optimizer\w*|cget_managed_ptr|optimizer_update|NoneType.*cget_managed",
        "bitsandbytes' optimizers need a GPU, and this machine has none",
        "training.optim",
        "Write adamw_torch.",
    ),
    # -- transformers' and torch's training
    _Row(
        ("ValueError",),
        r"--tf32 requires Ampere",
        "the machine that trains has no TF32: it needs an NVIDIA GPU, Ampere or later",
        "training.tf32",
        "Leave it out: it is used where it is.",
    ),
    _Row(
        ("ValueError",),
        r"Your setup doesn't support bf16",
        "the machine that trains has no bfloat16",
        "training.bf16",
        "Leave it out: the machine decides.",
    ),
    _Row(
        ("TypeError",),
        r"(?:get_\w+schedule\w*|ReduceLROnPlateau\.__init__|GreedyLR\.__init__)\(\) (.+)",
        "the schedule's arguments are wrong: {0}",
        "training.lr_scheduler_kwargs",
        "Write those that `lr_scheduler_type` takes (`runner check` lists them).",
    ),
    _Row(
        ("ValueError",),
        r"expected \d+ (?:min|max)_lrs|min_lr or min_lr_rate|lr_end \(|num_stable_steps must|Factor should be",
        "the schedule's arguments are wrong: {message}",
        "training.lr_scheduler_kwargs",
        "Write one number for all weights; `runner check` says what `lr_scheduler_type` takes.",
    ),
    _Row(
        ("KeyError",),
        r"`metric_for_best_model` training argument is set to '([^']+)', .* evaluation metrics are: (\[.*?\])",
        "no evaluation has {0}",
        "training.metric_for_best_model",
        "There are {1}.",
    ),
    _Row(
        ("ImportError",),
        r"megatron",
        "Megatron is not installed, which runner does not train with",
        "adapter.megatron_config",
        "Leave it out.",
    ),
    _Row(
        ("ValueError",),
        r"'(\w+)' is not a valid DynamoBackend",
        "torch has no compiler backend {0}",
        "training.torch_compile_backend",
        "Leave it out for inductor.",
    ),
    _Row(
        ("ValueError",),
        r"(\S+) is not a valid (\w+), please select one of (\[.*?\])",
        "{0} is not one of transformers' {1}",
        "training",
        "Write one of {2}.",
    ),
    _Row(
        ("ImportError",),
        r"(?i)pip install|not installed|requires|need to install|please install|No module named",
        "a setting needs a package that is not installed on the machine that trains ({message})",
        "",
        "Choose another value, or install it where the run is, in an image of your own (`--image`).",
    ),
    _Row(
        ("ValueError",),
        r"(?i)please install|pip install|failed to import",
        "a setting needs a package that is not installed on the machine that trains ({message})",
        "training",
        "Choose another value, or install it where the run is, in an image of your own (`--image`).",
        file="/transformers/",
    ),
    _Row(
        ("InvalidBackend", "BackendCompilerFailed"),
        r"Invalid backend: '?([^',]+)",
        "torch has no compiler backend {0}",
        "training.torch_compile_backend",
        "Leave it out for inductor.",
    ),
    _Row(
        ("AssertionError", "RuntimeError"),
        r"Unknown backend|Invalid backend: '(\w+)'",
        "torch has no compiler backend of this name ({message})",
        "training.torch_compile_backend",
        "Leave it out for inductor.",
    ),
    _Row(
        ("RuntimeError", "ValueError"),
        r"Distributed package doesn't have (\w+) built in",
        "the installed torch has no {0}",
        "training.ddp_backend",
        "Leave it out: nccl is used on GPUs, gloo on CPUs.",
    ),
    _Row(
        ("ValueError",),
        r"Can only automatically infer lengths|`?length_column_name`?",
        "the rows have no single length to sort by",
        "training.train_sampling_strategy",
        "Leave it out.",
    ),
    # -- TRL
    _Row(
        ("RuntimeError", "ValueError"),
        r"no assistant tokens|patching is not supported for this template|assistant masks",
        "the model's chat template does not tell which tokens are the assistant's",
        "training.assistant_only_loss",
        "Leave it out and bring prompts and completions, or write chat_template_path: FILE.jinja, with "
        "{{% generation %}}…{{% endgeneration %}} around each answer.",
    ),
    _Row(
        ("ValueError",),
        r"`router_aux_loss_coef` is set",
        "the model is not a mixture of experts, so that there is no auxiliary loss to weigh",
        "training.router_aux_loss_coef",
        "Leave it out.",
    ),
    _Row(
        ("ValueError",),
        r"The specified `(eos_token|pad_token)` \('(.*?)'\) is not found in the vocabulary",
        "the model's tokenizer has no token {1}",
        "training.{0}",
        "Write one of its tokens, or leave it out.",
    ),
    _Row(
        ("ValueError",),
        r"fused_linear_cross_entropy",
        "TRL computes the loss itself, which `fused_linear_cross_entropy` would replace",
        "training.liger_kernel_config",
        "Leave it out.",
    ),
    _Row(
        ("ValueError",),
        r"`gradient_checkpointing_kwargs=\{'selective': True\}`",
        "selective activation checkpointing does not go with the other settings ({message})",
        "training.gradient_checkpointing_kwargs",
        "Leave `selective` out.",
    ),
    _Row(
        ("AttributeError", "RuntimeError", "ValueError"),
        r"",
        "activations are moved between a GPU and the CPU, and the machine that trains has no GPU",
        "training.activation_offloading",
        "Leave it out.",
        file="/trl/models/activation_offloading",
    ),
    # -- generation
    _Row(
        ("ValueError", "TypeError"),
        r"`model_kwargs` are not used by the model: (\[.*?\])|GenerationConfig\.\w+\(\) got an unexpected keyword",
        "the model's generation takes no such argument ({message})",
        "training.generation_kwargs",
        "Write arguments of transformers' GenerationConfig.",
    ),
    _Row(
        ("ValueError", "KeyError"),
        r"[Ii]nvalid `?cache_implementation`?",
        "transformers has no such cache ({message})",
        "training.cache_implementation",
        "Leave it out, or write `dynamic`.",
    ),
    # -- peft
    _Row(
        ("ValueError",),
        r"Target modules .* not found in the base model|No modules were targeted for adaptation",
        "no module of the model has a name that the adapter targets ({message})",
        "adapter.target_modules",
        "Write all-linear, or a list of names that the model has.",
    ),
    _Row(
        ("ValueError", "AttributeError"),
        r"(?i)orthogonal initialization requires|must be even|r must be",
        "this initialization does not go with the rank ({message})",
        "adapter.r",
        "Write an even `r`, or leave `init_lora_weights` out.",
        file="/peft/",
    ),
    _Row(
        ("ValueError",),
        r"Multiple invocations of PEFT forward hooks",
        "peft's activated LoRA does not go with gradient checkpointing, which is on by default",
        "adapter.alora_invocation_tokens",
        "Write training: {{gradient_checkpointing: false}} too.",
    ),
    # -- chat templates
    _Row(
        ("TemplateSyntaxError",),
        r"(.+)",
        "the chat template is not valid Jinja: {message}",
        "training.chat_template_path",
        "Correct the template.",
    ),
    _Row(
        ("UndefinedError",),
        r"(.+)",
        "the chat template asks for something that the rows do not have: {message}",
        "data.train",
        "Bring it in the rows, or write a `chat_template_path` that does without.",
    ),
    _Row(
        ("TemplateError",),
        r"(.+)",
        "the chat template refuses a row: {message}",
        "data.train",
        "Change the rows, or write a `chat_template_path` that takes them.",
    ),
    # -- datasets
    _Row(
        ("DatasetNotFoundError", "DataFilesNotFoundError", "FileNotFoundError"),
        r"^(?=.*(?:[Dd]ataset|data files?)).+",
        "{message}",
        "data.train",
        "Check the name; for a private or gated one, set HF_TOKEN.",
    ),
    _Row(
        ("DatasetGenerationError", "DatasetGenerationCastError", "CastError"),
        r"(.+)",
        "the files of a data set cannot be read as one table ({message})",
        "data.train",
        "Their columns and types must be alike: name one file, or convert them.",
    ),
    _Row(
        ("RuntimeError",),
        r"Dataset scripts are no longer supported",
        "the data set is a Python script, which `datasets` no longer runs",
        "data.train",
        "Name a version in Parquet, such as `revision: refs/convert/parquet`.",
    ),
    _Row(
        ("ValueError",),
        r"BuilderConfig '?([^' ]+)'? not found|Config name is missing",
        "the data set has other configurations ({message})",
        "data.train",
        "Write one of them as `name`.",
    ),
    _Row(
        ("ValueError",),
        r"Unknown split \"([^\"]+)\"",
        "the data set has no split {0} ({message})",
        "data.train",
        "Write one of them as `split`.",
    ),
    # -- DeepSpeed
    _Row(
        ("MissingCUDAException", "OSError"),
        r"CUDA_HOME does not exist|CUDA_HOME environment variable is not set",
        "DeepSpeed would compile a kernel, and the machine that trains has no CUDA compiler",
        "training.strategy",
        "Write zero2 or zero3 without offload, or give the run the image that has one (docs/image.md).",
    ),
    _Row(
        ("ImportError", "ModuleNotFoundError"),
        r"[Dd]eep[Ss]peed",
        "DeepSpeed is not installed on the machine that trains",
        "training.strategy",
        "Write ddp, or run it in the image.",
    ),
)

_SECTIONS = (
    ("/deepspeed/runtime/config", "training.deepspeed"),
    ("/peft/tuners/", "adapter"),
    ("/peft/config", "adapter"),
    ("/peft/mapping", "adapter"),
    ("/peft/utils/peft_types", "adapter"),
    ("/transformers/utils/quantization_config", "model"),
    ("/transformers/quantizers/", "model"),
    ("/transformers/training_args", "training"),
    ("/transformers/trainer_optimizer", "training.optim"),
    ("/transformers/optimization", "training.lr_scheduler_kwargs"),
    ("/transformers/generation/configuration_utils", "training.generation_kwargs"),
    ("/trl/trainer/", "training"),
    ("/accelerate/utils/dataclasses", "training"),
)
"""Parts of the libraries' paths that read settings, and the section that they come from."""

_BUILDERS = {
    "get_peft_model": ("adapter", "peft cannot make this adapter"),
    "create_optimizer": ("training.optim", "the optimizer cannot be made"),
    "create_scheduler": ("training.lr_scheduler_type", "the learning rate's schedule cannot be made"),
    "get_scheduler": ("training.lr_scheduler_type", "the learning rate's schedule cannot be made"),
}
"""Functions of the libraries that make something from settings alone: whatever they raise is about these."""

_OF_SETTINGS = ("init", "validate", "check", "config", "optimizer", "schedule", "inject", "update")
"""Functions of these names check settings; others, such as a training step, meet data too."""


def explain(error: BaseException) -> UserError | None:
    """Return a library's error as the mistake that caused it; None if the table does not know it.

    Args:
        error: what was raised; its causes are looked at too.
    """
    for cause in causes(error, contexts=True):
        if isinstance(cause, UserError):
            return None
        names = {kind.__name__ for kind in type(cause).__mro__}
        message = _message(cause)
        frames = list(_frames(cause))
        file = frames[-1][0] if frames else ""
        for row in _ROWS:
            if names.isdisjoint(row.types) or row.file not in file:
                continue
            if row.through and not any(row.through in path for path, _ in frames):
                continue
            if (match := re.search(row.words, message, re.DOTALL)) is not None:
                groups = [group or "" for group in match.groups()]
                fill = {"message": _short(message)}
                where = row.where or next(
                    (part for path, _ in reversed(frames) if (part := _section(path))), "training"
                )
                return UserError(
                    row.what.format(*groups, **fill),
                    where=where.format(*groups),
                    remedy=row.remedy.format(*groups, **fill),
                )
    return _refused_setting(error)


def _refused_setting(error: BaseException) -> UserError | None:
    """Return an error that a library raised while it read its settings."""
    if not isinstance(error, Exception) or re.search(r"(?i)cuda|nccl|out of memory", str(error)):
        return None
    said = _short(_message(error)) or type(error).__name__
    remedy = "The library refuses it: change the setting that it names, or leave it out."
    frames = list(_frames(error))
    for file, function in frames:
        if function in _BUILDERS and "/site-packages/" in file:
            section, what = _BUILDERS[function]
            return UserError(f"{what}: {said}", where=section, remedy=remedy)
    if isinstance(error, ValueError | TypeError | ImportError | NotImplementedError | KeyError) and frames:
        file, function = frames[-1]
        where = _section(file)
        if where is not None and any(word in function.lower() for word in _OF_SETTINGS):
            return UserError(said, where=where, remedy=remedy)
    return None


def _section(file: str) -> str | None:
    """Return the section whose settings a library's file reads."""
    return next((section for part, section in _SECTIONS if part in file), None)


def _frames(error: BaseException) -> Iterator[tuple[str, str]]:
    """Yield the file and the function of each frame of an error, the innermost last."""
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        yield code.co_filename.replace("\\", "/"), code.co_name
        traceback = traceback.tb_next


def _message(error: BaseException) -> str:
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])  # `str` of a KeyError is the `repr` of its text
    return str(error)


def _short(message: str) -> str:
    """Return a message in one line, without its full stop, shortened."""
    text = " ".join(message.split()).rstrip(".")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
