"""The list of all rules.

A rule is a small pure function from a `RuleContext` to problems. It checks settings that contradict each other, in a
recipe that the schema has already accepted.
"""

from runner.recipe.problems import Problem
from runner.recipe.rules.context import Rule, RuleContext
from runner.recipe.rules.data import local_names, shares
from runner.recipe.rules.evaluation import evaluation
from runner.recipe.rules.export import export
from runner.recipe.rules.methods import preferences, rewards
from runner.recipe.rules.model import adapter, quantization
from runner.recipe.rules.recovery import job_recovery
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
    job_recovery,
)
"""Every rule; problems are reported in this order."""


def find_contradictions(context: RuleContext) -> list[Problem]:
    """Return the problems that the rules find in a recipe."""
    return [problem for rule in RULES for problem in rule(context)]
