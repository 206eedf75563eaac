"""How long rows are, in tokens, as far as their text tells. Pure: `runner.planning.measure` reads them."""

from dataclasses import dataclass

BYTES_PER_TOKEN = (2.5, 4.8)
"""(least, most) bytes of UTF-8 that a token has on average in a row: code and other scripts than Latin have fewer."""
TEMPLATE_TOKENS = 48
"""Tokens that a chat template adds to a row."""


@dataclass(frozen=True, kw_only=True)
class RowLengths:
    """The text of a recipe's training rows."""

    rows: int
    """Rows of an epoch, after `sample`."""
    mean_bytes: float
    """Bytes of a row's text."""
    longest_bytes: int
    longest_prompt_bytes: int
    """Of the longest prompt; the whole row where there is none."""
    complete: bool
    """Whether all rows were read, not only the first ones."""

    @property
    def longest(self) -> int:
        """The most tokens of the longest row."""
        return int(self.longest_bytes / BYTES_PER_TOKEN[0]) + TEMPLATE_TOKENS

    @property
    def longest_prompt(self) -> int:
        """The most tokens of the longest prompt."""
        return int(self.longest_prompt_bytes / BYTES_PER_TOKEN[0]) + TEMPLATE_TOKENS

    @property
    def mean(self) -> tuple[float, float]:
        """(least, most) mean tokens of a row."""
        least, most = BYTES_PER_TOKEN
        return max(1.0, self.mean_bytes / most), self.mean_bytes / least + TEMPLATE_TOKENS
