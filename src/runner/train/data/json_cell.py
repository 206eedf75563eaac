"""A column whose cells are not all text, as a feature of `datasets`: a cell is kept as the JSON in its file.

`datasets.Json` is not used for these: it takes a text that happens to be JSON for JSON (``"42"`` comes back as 42), and
its parser rounds numbers.
"""

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow
from datasets.features import features as datasets_features

from runner.recipe.rows.columns import json_text
from runner.recipe.rows.numbers import WrittenFloat

_decode = json.JSONDecoder(parse_float=WrittenFloat).decode


@dataclass
class JsonCell:
    """The feature. Rows have the cell's value, as `json.loads` gives it; Arrow has its text."""

    id: str | None = field(default=None, repr=False)
    pa_type: ClassVar[Any] = pyarrow.string()
    _type: str = field(default="JsonCell", init=False, repr=False)

    def __call__(self) -> pyarrow.DataType:
        """Return the type of the column in Arrow."""
        return self.pa_type

    def encode_example(self, value: Any) -> str | None:
        """Return what is kept of a value."""
        return None if value is None else json_text(value)

    def decode_example(self, text: str | None, token_per_repo_id: Any = None) -> Any:
        """Return the value of what is kept."""
        return None if text is None else _decode(text)

    def cast_storage(self, storage: pyarrow.Array) -> pyarrow.Array:
        """Return what is kept of an Arrow array: strings are taken for JSON, and anything else is encoded."""
        if pyarrow.types.is_null(storage.type) or pyarrow.types.is_string(storage.type):
            return storage.cast(self.pa_type)
        return pyarrow.array([self.encode_example(value) for value in storage.to_pylist()], self.pa_type)


def register_json_cell() -> None:
    """Tell `datasets` of the feature, whose name it finds in the Arrow files of this process."""
    # Not by `register_feature`, which warns that it is experimental, and would do so in every log.
    datasets_features._FEATURE_TYPES.setdefault("JsonCell", JsonCell)


def encode_column(feature: Any, values: list[Any]) -> list[Any]:
    """Return a column's values as `Dataset.map` has to be given them: it encodes no feature that is not its own."""
    return [feature.encode_example(value) for value in values] if isinstance(feature, JsonCell) else values
