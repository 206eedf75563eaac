"""A recipe that is written in Python. Public as `runner.Recipe`."""

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import yaml

from runner.api.sections import (
    Adapter,
    Checkpoint,
    Data,
    DPOTraining,
    Evaluate,
    Export,
    GRPOTraining,
    Model,
    Notification,
    Resources,
    SFTTraining,
    Sky,
    Stage,
    Watchdog,
)
from runner.control.recipes.warm_start import start_resolver
from runner.files import write_new_file
from runner.recipe.loading.load import load_recipe
from runner.recipe.loading.written_in_python import document_of


class Recipe(Mapping[str, Any]):
    """A recipe that is written in Python, with the sections and keys of a recipe's file.

    `launch` takes it in place of a file. Editors complete its keys and type checkers check them, since each section is
    a typed mapping (`runner.api.sections`): a plain ``{…}`` will do. Everything else is checked by `check`, and when
    it is launched. Relative paths begin in the working directory.

    Args:
        name: names the run: lower-case letters, digits, ``.``, ``_`` and ``-``.
        method: ``sft``, supervised fine-tuning; ``cpt``, continued pretraining on raw text; ``dpo``, direct preference
            optimization; ``grpo``, group relative policy optimization. Left out if there are `stages`.
        model: what is fine-tuned, under TRL's and bitsandbytes' names.
        data: training and evaluation data. Left out if each of the `stages` has its own.
        adapter: a LoRA adapter, under peft's names; left out for full fine-tuning.
        training: the settings of TRL's config class for the method, and ``effective_batch_size``.
        checkpoint: when state is saved.
        watchdog: when a run that hangs is ended and tried again.
        evaluate: what is measured before and after training.
        export: which artifacts are made.
        notify: webhooks that are told when the run ends, is interrupted, stalls or goes on.
        resources: SkyPilot's `resources`, unchanged.
        sky: other keys of SkyPilot's task, unchanged.
        stages: methods one after the other, each from where the one before it ended.

    Example:
        >>> recipe = runner.Recipe(
        ...     name="first",
        ...     method="sft",
        ...     model={"model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct"},
        ...     data={"train": [{"path": "my.jsonl"}], "eval": {"from_train": 0.1}},
        ...     training={"learning_rate": 2e-4, "max_steps": 60},
        ... )
        >>> run = runner.launch(recipe)
    """

    @overload
    def __init__(
        self,
        *,
        name: str,
        method: Literal["sft", "cpt"],
        model: Model,
        data: Data,
        adapter: Adapter | None = None,
        training: SFTTraining | None = None,
        checkpoint: Checkpoint | None = None,
        watchdog: Watchdog | None = None,
        evaluate: Evaluate | None = None,
        export: Export | None = None,
        notify: Sequence[Notification] | None = None,
        resources: Resources | None = None,
        sky: Sky | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        name: str,
        method: Literal["dpo"],
        model: Model,
        data: Data,
        adapter: Adapter | None = None,
        training: DPOTraining | None = None,
        checkpoint: Checkpoint | None = None,
        watchdog: Watchdog | None = None,
        evaluate: Evaluate | None = None,
        export: Export | None = None,
        notify: Sequence[Notification] | None = None,
        resources: Resources | None = None,
        sky: Sky | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        name: str,
        method: Literal["grpo"],
        model: Model,
        data: Data,
        adapter: Adapter | None = None,
        training: GRPOTraining | None = None,
        checkpoint: Checkpoint | None = None,
        watchdog: Watchdog | None = None,
        evaluate: Evaluate | None = None,
        export: Export | None = None,
        notify: Sequence[Notification] | None = None,
        resources: Resources | None = None,
        sky: Sky | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        name: str,
        stages: Sequence[Stage],
        model: Model,
        data: Data | None = None,
        adapter: Adapter | None = None,
        training: SFTTraining | DPOTraining | GRPOTraining | None = None,
        checkpoint: Checkpoint | None = None,
        watchdog: Watchdog | None = None,
        evaluate: Evaluate | None = None,
        export: Export | None = None,
        notify: Sequence[Notification] | None = None,
        resources: Resources | None = None,
        sky: Sky | None = None,
    ) -> None: ...

    def __init__(self, **sections: Any) -> None:
        self._data = {
            key: copy.deepcopy(value)
            for key, value in sections.items()
            if value is not None or (key == "adapter" and sections.get("stages"))
        }

    def check(self) -> list[str]:
        """Check all that can be checked here, without a network: keys, values, contradictions, the first rows of data.

        Returns:
            Sentences on what is hardly meant, and on rows that will be dropped.

        Raises:
            UserError: something is wrong; a `RecipeError` has all of it in `problems`.
        """
        loaded = load_recipe(self, cwd=Path.cwd(), start=start_resolver())
        return [*loaded.warning_sentences, *loaded.notes]

    def to_yaml(self) -> str:
        """Return the recipe as the text of a recipe's file.

        Raises:
            UserError: it holds what no recipe holds.
        """
        text: str = yaml.safe_dump(document_of(self).data, sort_keys=False, allow_unicode=True, width=100)
        return text

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the recipe's file, which `runner launch` takes. Relative paths in it begin in the file's folder.

        Raises:
            UserError: there is such a file, or it cannot be written.
        """
        return write_new_file(Path(path), self.to_yaml())

    def __getitem__(self, key: str) -> Any:
        """Return a section."""
        return self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self._data.items())
        return f"Recipe({arguments})"
