"""The list of all rules.

A rule is a small pure function from a `RuleContext` to problems. It checks settings that contradict each other, in a
recipe that the schema has already accepted.
"""

from runner.recipe.problems import Problem
from runner.recipe.rules.context import Rule, RuleContext
from runner.recipe.rules.data import local_names, shares
from runner.recipe.rules.evaluation import evaluation, holds_out_all, never_evaluates
from runner.recipe.rules.export import export, hub_strategy
from runner.recipe.rules.methods import preferences, reward_columns, rewards
from runner.recipe.rules.model import adapter, attention, dtypes, quantization
from runner.recipe.rules.optimizers import optimizers
from runner.recipe.rules.reserved import reserved_settings
from runner.recipe.rules.resources import job_recovery, own_variables, resources
from runner.recipe.rules.schedule import long_warmup, schedule_kwargs, warmup
from runner.recipe.rules.strategy import strategy
from runner.recipe.rules.training import (
    batch,
    checkpointing,
    data_loader,
    epochs,
    fills_a_batch,
    json_texts,
    loss,
    no_learning_rate,
    packing,
    precision,
    report_to,
    steps_and_epochs,
)
from runner.recipe.rules.values import intervals, mappings, values

RULES: tuple[Rule, ...] = (
    reserved_settings,
    batch,
    steps_and_epochs,
    epochs,
    fills_a_batch,
    values,
    intervals,
    mappings,
    schedule_kwargs,
    warmup,
    optimizers,
    precision,
    attention,
    dtypes,
    quantization,
    strategy,
    adapter,
    evaluation,
    holds_out_all,
    packing,
    loss,
    preferences,
    rewards,
    reward_columns,
    data_loader,
    checkpointing,
    shares,
    local_names,
    json_texts,
    report_to,
    export,
    hub_strategy,
    resources,
    own_variables,
    job_recovery,
)
"""Every rule; problems are reported in this order."""

WARNINGS: tuple[Rule, ...] = (long_warmup, never_evaluates, no_learning_rate)
"""Rules for what works and is hardly meant: their problems are said, and nothing is refused."""


def find_contradictions(context: RuleContext) -> list[Problem]:
    """Return the problems that the rules find in a recipe."""
    return [problem for rule in RULES for problem in rule(context)]


def find_warnings(context: RuleContext) -> list[Problem]:
    """Return what the rules of `WARNINGS` find in a recipe."""
    return [problem for rule in WARNINGS for problem in rule(context)]
