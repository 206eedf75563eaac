"""What the meaning of a format depends on besides the rows: the recipe's edition, and whether the model has turns."""

from collections.abc import Callable
from dataclasses import dataclass

from runner.recipe.recipe import EDITION, Data


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How rows are read whose format leaves it open."""

    edition: int = EDITION
    """`Data.edition`: the rules by which a run's rows were read when it was launched stay its own."""
    chat_template: Callable[[], bool | None] = lambda: None
    """Returns whether the model has a chat template; None if that is not known here. Asked only where it matters."""

    @property
    def alpaca_as_turns(self) -> bool:
        """Whether rows of `alpaca` become turns; in the first edition they got Stanford's wording."""
        return self.edition > 1 and self.chat_template() is not False

    @property
    def only_if(self) -> str:
        """Return the condition to add to a sentence that says what becomes of rows."""
        return "" if self.chat_template() else ", if the model has a chat template"


def reading_of(data: Data, chat_template: Callable[[], bool | None]) -> Reading:
    """Return how the rows of a recipe's data are read."""
    return Reading(edition=data.edition, chat_template=chat_template)
