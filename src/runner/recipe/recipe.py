"""A checked recipe, as both programs use it: frozen, documented, trusted.

`runner.recipe.loading.load` checks YAML and makes one. `Recipe.from_mapping` restores what `Recipe.to_mapping`
returned (``run.json`` contains it) and trusts it. The sections `model`, `adapter`, `training` and `resources` stay
mappings: their keys belong to TRL, bitsandbytes, peft, transformers and SkyPilot.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from runner.recipe.quantizations import Quantization

INTERNAL = "internal"
"""Marks, in a field's metadata, what no recipe sets."""

Json: TypeAlias = Any
"""What `json.loads` returns: dict, list, str, int, float, bool, None."""

Method: TypeAlias = Literal["sft", "cpt", "dpo", "grpo"]
WebhookFormat: TypeAlias = Literal["slack", "discord", "json"]
WebhookEvent: TypeAlias = Literal["ended", "succeeded", "failed", "cancelled", "interrupted", "stalled", "resumed"]
Format: TypeAlias = Literal[
    "messages", "prompt_completion", "alpaca", "stanford_alpaca", "sharegpt", "text", "preference", "prompt_only"
]

EDITION = 2
"""The newest edition of the rules by which rows are read. 1: `alpaca` is Stanford's wording, and a number is no answer.
2: `alpaca` is turns where the model has a chat template."""


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """One entry of a mixture."""

    path: str
    """A hub id, an absolute path of a file or folder, ``builtin:<name>``, or ``inputs/<digest>/<name>`` in the run."""
    name: str | None = None
    """The configuration of a hub dataset, as in ``load_dataset(path, name)``."""
    split: str = "train"
    """The split to read, as in ``load_dataset(split=…)``; slices such as ``train[:10%]`` are understood."""
    revision: str | None = None
    """The branch, tag or commit of a hub dataset."""
    format: Format | None = None
    """How the rows are read; null: detected from the columns."""
    template: Mapping[str, Json] | None = None
    """Columns that are built from a row's fields, as ``{field}``: ``{text: "{title}: {body}"}``, or messages."""
    think: bool | Mapping[str, Json] | None = None
    """Write the answer as reasoning in ``<think>`` tags, followed by "Final Answer:". true: from the last answer of a
    conversation; ``{prompt: "{question}", reasoning: "{solution}", answer: "{result}"}``: from a row's fields. Without
    `answer`, it is taken from the end of the reasoning: ``\\boxed{…}``, ``#### …`` or "the answer is …"."""
    filter: Mapping[str, Json] | None = None
    """Keep rows by a column's value, or one of several: ``{split: train, lang: [en, de]}``. Applied before `sample`."""
    sample: float | int | None = None
    """Draw up to this many rows (an int) or this fraction of them (a float below 1), seeded by ``training.seed``."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """Training and evaluation data."""

    train: tuple[DataSource, ...]
    """The mixture: entries are concatenated after sampling, then shuffled by the seed."""
    eval: tuple[DataSource, ...] = ()
    """Entries like `train`'s."""
    eval_from_train: float | int | None = None
    """Hold out this many rows (an int) or this fraction (a float below 1) of the mixture, seeded.
    In YAML: ``eval: {from_train: …}``."""
    layout: str | None = field(default=None, metadata={INTERNAL: True})
    """The layout of rows to take (`RowLayout`'s value), when a run is measured again; None: what all entries can take.
    No recipe says it."""
    edition: int = field(default=1, metadata={INTERNAL: True})
    """The edition of the rules by which rows are read (`EDITION`), written by the launch; older records have none, and
    mean the first. No recipe says it."""

    @property
    def has_evaluation(self) -> bool:
        """Whether there are rows to evaluate on."""
        return bool(self.eval) or self.eval_from_train is not None


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """When resumable state is saved, and how much of it is kept."""

    save_steps: int | None = None
    """Save every this many optimizer steps."""
    save_minutes: float | None = 5.0
    """Save at the first step boundary after this many minutes without a save; null: never by time."""
    save_total_limit: int | None = None
    """Keep this many of the newest in the store, and the best one; null: all."""
    durable_minutes: float | None = 60.0
    """Stop, with the newest state saved on the machine's own disk, when no checkpoint has reached the store for this
    many minutes although some wait for it (credentials that have expired, a bucket that is gone); null: never."""


@dataclass(frozen=True, kw_only=True)
class Watchdog:
    """When a run that hangs is ended and tried again from its last checkpoint."""

    timeout_seconds: float | None = 600.0
    """End an attempt that makes no progress for this many seconds; null or 0: never. In training, progress is a
    micro-batch, an evaluation batch or a step; elsewhere also bytes read and written. Three times as long before the
    pace is known (the first steps, loading, exporting), and twelve times while a processor is at work there."""
    median_steps: float = 10.0
    """And only if that is longer than this many times the median step of the attempt, and twice its longest step."""


@dataclass(frozen=True, kw_only=True)
class Notification:
    """A webhook that is told what becomes of the run."""

    secret: str
    """The environment variable that holds the webhook's URL. The URL itself is a secret, and never stands here."""
    format: WebhookFormat | None = None
    """What the webhook takes: Slack's messages, Discord's, or plain JSON; null: by the URL's host, else JSON."""
    events: tuple[WebhookEvent, ...] = ("ended", "interrupted", "stalled", "resumed")
    """When it is told: the run has ended (``ended``, or only if it ended as ``succeeded``, ``failed`` or
    ``cancelled``), was interrupted, makes no progress, or goes on in another attempt."""

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Json]) -> "Notification":
        """Take an entry of a recipe, or of `Recipe.to_mapping`. Trusts its input."""
        fields: dict[str, Any] = {key: tuple(value) if key == "events" else value for key, value in mapping.items()}
        return cls(**fields)


@dataclass(frozen=True, kw_only=True)
class ExactMatch:
    """How final answers are checked: the model answers each evaluation row's prompt greedily, and both are compared."""

    answer: str | None = None
    """The column with the right answer; null: the final answer of the row's own completion (of rows with a prompt only:
    the column `answer`)."""
    max_samples: int | None = 200
    """Check the first this many evaluation rows that have an answer; null: all of them."""
    max_new_tokens: int = 512
    """The length at which an answer is cut off, in tokens."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """What is measured before and after training, in addition to `training.eval_strategy` during it."""

    before_and_after: bool = False
    """Evaluation loss, perplexity and samples/s of the model before the first step and after the last."""
    prompts: tuple[str, ...] = ()
    """Prompts that the model completes greedily, before and after."""
    max_new_tokens: int = 64
    """The length of each generation, in tokens."""
    exact_match: ExactMatch | None = None
    """The share of evaluation rows whose final answer is right, before and after; null: not checked."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """Which artifacts are made in addition to the trained model or adapter."""

    merge: bool = False
    """Merge the adapter into its base, as a separate model."""
    base: str | None = None
    """The model to merge the adapter into if the base is quantized (``…-bnb-4bit``): the one it was quantized from."""
    gguf: tuple[Quantization, ...] = ()
    """GGUF files for llama.cpp, one for each quantization, from the (merged) model in 16 bits."""
    push_to_hub: bool = False
    """Upload the artifacts to the Hugging Face hub, with a model card."""
    hub_model_id: str | None = None
    """The repository on the hub, `name` or `owner/name`; null: the recipe's name, owned by the token's user."""
    hub_private_repo: bool | None = None
    """Whether a new repository is private; null: the owner's default. An existing repository does not change."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to train."""

    name: str
    """Names the run: lower-case letters, digits, ``.``, ``_`` and ``-``."""
    method: Method
    """The training method: ``sft``, supervised fine-tuning; ``cpt``, continued pretraining on raw text; ``dpo``,
    direct preference optimization; ``grpo``, group relative policy optimization."""
    model: Mapping[str, Json]
    """Settings of TRL's `ModelConfig` and bitsandbytes' `BitsAndBytesConfig`; `model_name_or_path` is required."""
    data: Data
    """Training and evaluation data."""
    adapter: Mapping[str, Json] | None = None
    """Settings of peft's `LoraConfig`; None: full fine-tuning."""
    training: Mapping[str, Json] = field(default_factory=dict)
    """The method's own settings, under the names of TRL's config class for it, and ours: `effective_batch_size`,
    `early_stopping_patience`, `early_stopping_threshold`."""
    checkpoint: Checkpoint = Checkpoint()
    """When state is saved."""
    watchdog: Watchdog = Watchdog()
    """When a run that hangs is ended and tried again."""
    evaluate: Evaluate = Evaluate()
    """What is measured before and after."""
    export: Export = Export()
    """Which artifacts are made."""
    notify: tuple[Notification, ...] = ()
    """Webhooks that are told when the run ends, is interrupted, stalls or goes on."""
    resources: Mapping[str, Json] = field(default_factory=dict)
    """SkyPilot's `resources`, unchanged."""
    sky: Mapping[str, Json] = field(default_factory=dict)
    """Other keys of SkyPilot's task, unchanged, merged into the rendered task."""
    stage: str | None = None
    """The stage's name, in the recipe of a stage; None in the recipe of a run."""
    stages: tuple["Recipe", ...] = ()
    """The stages of a run, in order, each a complete recipe including the defaults. The run's other fields are then
    those of the first stage. Empty: a run without stages."""

    @property
    def in_order(self) -> tuple["Recipe", ...]:
        """The recipes to train one after the other: the stages, or the recipe itself."""
        return self.stages or (self,)

    @property
    def stage_name(self) -> str:
        """The stage's name in checkpoints and metrics; the method's name if there are no stages."""
        return self.stage or self.method

    @property
    def methods(self) -> str:
        """The methods of all stages: ``sft``, or ``cpt+sft+dpo``."""
        return "+".join(stage.method for stage in self.in_order)

    def to_mapping(self) -> dict[str, Json]:
        """Return the recipe as JSON, in the form of its dataclasses. `from_mapping` reads it.

        `Data.layout` is left out, the first `Data.edition`, and `notify` if it is empty: records and digests stay what
        they were.
        """
        mapping = dataclasses.asdict(self)
        for recipe in (mapping, *mapping["stages"]):
            del recipe["data"]["layout"]
            if recipe["data"]["edition"] == 1:
                del recipe["data"]["edition"]
            if not recipe["notify"]:
                del recipe["notify"]
        return mapping

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Json]) -> "Recipe":
        """Restore what `to_mapping` returned. Trusts its input."""
        data, evaluate = mapping["data"], mapping["evaluate"]
        exact_match = evaluate.get("exact_match")
        return cls(
            **{
                **mapping,
                "data": Data(
                    train=tuple(DataSource(**source) for source in data["train"]),
                    eval=tuple(DataSource(**source) for source in data["eval"]),
                    eval_from_train=data["eval_from_train"],
                    edition=data.get("edition", 1),
                ),
                "checkpoint": Checkpoint(**mapping["checkpoint"]),
                "watchdog": Watchdog(**mapping.get("watchdog", {})),  # older records have none
                "evaluate": Evaluate(
                    **{
                        **evaluate,
                        "prompts": tuple(evaluate["prompts"]),
                        "exact_match": None if exact_match is None else ExactMatch(**exact_match),
                    }
                ),
                "export": Export(**{**mapping["export"], "gguf": tuple(mapping["export"].get("gguf", ()))}),
                "notify": tuple(Notification.from_mapping(entry) for entry in mapping.get("notify", ())),
                "stages": tuple(cls.from_mapping(stage) for stage in mapping.get("stages", ())),
            }
        )


def continues_adapter(recipe: Recipe, following: Recipe) -> bool:
    """Whether the stage `following` continues to train the adapter of `recipe`, the stage before it.

    If not, it starts from a model: all weights, or base and adapter merged.
    """
    return recipe.adapter is not None and following.adapter == recipe.adapter
