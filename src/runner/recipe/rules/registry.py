"""Settings that contradict each other, each rule with its reason.

The schema has accepted the recipe before; a rule looks at two or more of its settings together. A rule is a small
pure function from the facts to problems, and `RULES` is the list of them.
"""

from runner.recipe.problems import Problem
from runner.recipe.rules.context import Rule, RuleContext
from runner.recipe.rules.data import local_names, shares
from runner.recipe.rules.evaluation import evaluation
from runner.recipe.rules.export import export
from runner.recipe.rules.methods import preferences, rewards
from runner.recipe.rules.model import adapter, quantization
from runner.recipe.rules.reserved import reserved_settings
from runner.recipe.rules.resources import resources
from runner.recipe.rules.strategy import strategy
from runner.recipe.rules.training import (
    batch,
    checkpointing,
    data_loader,
    json_texts,
    loss,
    packing,
    precision,
    report_to,
    steps_and_epochs,
)


def contradictions(context: RuleContext) -> list[Problem]:
    """Everything that the rules say against a recipe."""
    return [problem for rule in RULES for problem in rule(context)]


RULES: tuple[Rule, ...] = (
    reserved_settings,
    batch,
    steps_and_epochs,
    precision,
    quantization,
    strategy,
    adapter,
    evaluation,
    packing,
    loss,
    preferences,
    rewards,
    data_loader,
    checkpointing,
    shares,
    local_names,
    json_texts,
    report_to,
    export,
    resources,
)
"""Every rule, in the order in which a recipe's sections stand."""
