"""Read every row of local data before anything is started, by the converter that trains."""

from collections.abc import Callable, Sequence

from runner.recipe.inputs.conversion import answer_column, convert_rows
from runner.recipe.inputs.datasets import SourceFacts
from runner.recipe.inputs.references import is_local
from runner.recipe.loading.load import LoadedRecipe
from runner.recipe.problems import Problem, RecipeError, RecipePath, dotted_path
from runner.recipe.recipe import Data

_LARGE_BYTES = 200 << 20
"""Data of which it is said that they are being read."""


def read_all_rows(loaded: LoadedRecipe, *, say: Callable[[str], None]) -> None:
    """Convert every row of the recipe's local data, and say which will be dropped and which columns are not read.

    Memory stays bounded. Rows that only the machine can read (the hub's; what `datasets` saved to disk; Parquet without
    pyarrow) are left to it.

    Args:
        loaded: a checked recipe.
        say: receives the sentences.

    Raises:
        UserError: a row is broken, or would be misunderstood, or no row of an entry can be used.
    """
    for number, (stage, sources) in enumerate(zip(loaded.recipe.in_order, loaded.sources, strict=True)):
        place: RecipePath = ("stages", number) if loaded.recipe.stages else ()
        _announce(stage.data, sources, say)
        problems: list[Problem] = []
        answer = answer_column(stage.evaluate.exact_match)
        converted = convert_rows(sources, stage.training, answer, problems, whole=True)
        if problems:
            problems = [Problem((*place, *problem.path), problem.what, problem.remedy) for problem in problems]
            raise RecipeError(problems, loaded.locate, where=str(loaded.path))
        for note in converted.notes:
            say(f"stages.{stage.stage}.{note}" if loaded.recipe.stages else note)


def _announce(data: Data, sources: Sequence[SourceFacts], say: Callable[[str], None]) -> None:
    """Say that large data are read, and which are left to the machine."""
    for entry, source in zip([*data.train, *data.eval], sources, strict=True):
        if is_local(entry.path) and source.entry is None:
            say(f"{dotted_path(source.path)}: rows of {entry.path} are first read by the machine that trains")
    files = {file for source in sources for file in source.files}
    size = sum(file.stat().st_size for file in files)
    if size >= _LARGE_BYTES:
        say(f"reading every row of {size / 1e9:.1f} GB of local data")
