"""The text that a command prints when a run ends: what it gained, where everything is, what to do next."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.reports.tables import number, text_table
from runner.reports.tracebacks import last_of_log
from runner.runs.attempts import describe_hardware
from runner.terminal import printable, visible

_WIDTH = 100
_TAIL_LINES = 20
_SHARES = ("exact_match",)
"""Shares from 0 to 1, shown in percent; the change of one is a difference."""


def command(words: str) -> str:
    """Return a command as a user types it who has `runner` on the PATH and the store in the environment."""
    return f"runner {words}"


def summarize_success(
    result: Mapping[str, Any], *, run_id: str, store_url: str, typed: Callable[[str], str] = command
) -> str:
    """Summarize a run that succeeded: measurements before and after, completions, keys in the store, next commands.

    Args:
        result: the run's ``result.json``.
        typed: turns ``pull RUN`` into the command line that the user has to type.
    """
    parts = [f"{run_id} succeeded: {_steps(result)}."]
    stages = result.get("stages") or []
    for stage_number, stage in enumerate(stages, 1):
        steps = f"{stage.get('step')} of {stage.get('max_steps')} steps"
        heading = f"Stage {stage_number} of {len(stages)}: {stage['stage']}, {steps}"
        parts.append("\n".join(filter(None, [heading, dropped_rows(stage), format_measurements(stage)])))
    if not stages:
        parts += filter(None, [dropped_rows(result), format_measurements(result)])
    if result.get("hardware"):
        computed = f"Computed with: {describe_hardware(result['hardware'])}."
        computed = " ".join(filter(None, [computed, _figures(result)]))
        parts.append(textwrap.fill(computed, _WIDTH, subsequent_indent="  ", break_on_hyphens=False))
    where = [("store", store_url), ("run", f"{_with_slash(store_url)}runs/{run_id}/")]
    where += [(name, f"{_with_slash(store_url)}runs/{run_id}/{path}") for name, path in _artifacts(result)]
    parts.append("Where everything is:\n" + _pairs(where))
    parts.append(
        "What to try next:\n"
        + next_commands(
            [
                (typed(f"pull {run_id}"), "fetch the model, its metrics and the record of how it was made"),
                (typed(f"chat {run_id} --cli"), "talk to it, beside the model that it was made from"),
                (typed(f"export {run_id} --gguf q4_k_m"), "a file for llama.cpp, Ollama and LM Studio"),
                (typed(f"eval {run_id}"), "measure it again, or on other data with --data"),
                (typed(f"metrics {run_id}"), "every step's numbers"),
                (typed(f"logs {run_id}"), "everything it wrote"),
            ]
        )
    )
    return "\n\n".join(parts)


def summarize_failure(
    *, run_id: str, state: str, reason: str | None, log_tail: Sequence[str], typed: Callable[[str], str] = command
) -> str:
    """Summarize a run that failed or was cancelled: why, the last lines of its log, what to do."""
    parts = [f"{run_id} {state}: {reason or 'no reason was recorded'}"]
    parts += _tail(log_tail)
    if state == "failed":
        advice = [(typed(f"logs {run_id}"), "everything it wrote")]
        advice.append((typed(f"resume {run_id}"), "go on from its last checkpoint, once the cause is fixed"))
        advice.append((typed("launch …"), "a new run, with other settings"))
    else:
        advice = [(typed(f"pull {run_id}"), "fetch what it had made")]
    parts.append("What to do:\n" + next_commands(advice))
    return "\n\n".join(parts)


def summarize_interruption(
    *,
    run_id: str,
    reason: str | None,
    by: str | None = None,
    checkpoint_step: int | None,
    stage: str | None = None,
    log_tail: Sequence[str],
    options: str = "",
    typed: Callable[[str], str] = command,
) -> str:
    """Summarize a run that was interrupted: why (`by` what, if a person did it), from which step it would continue.

    `options` are those that `runner resume` then needs, after a space.
    """
    at = None
    if checkpoint_step is not None:
        at = f"step {checkpoint_step}" + ("" if stage is None else f" of stage {stage}")
    saved = "; nothing was saved yet" if at is None else f"; saved at {at}"
    why = f" by {by}" if by else f": {reason or 'no reason was recorded'}"
    parts = [f"{run_id} interrupted{why}{saved}"]
    parts += _tail(log_tail)
    from_where = "from the beginning" if at is None else f"from {at}"
    parts.append("What to do:\n" + next_commands([(typed(f"resume {run_id}{options}"), f"continue {from_where}")]))
    return "\n\n".join(parts)


def _figures(result: Mapping[str, Any]) -> str:
    """Return in a sentence how large the training was. Empty for results of older versions."""
    trained, total = result.get("trainable_parameters"), result.get("total_parameters")
    peak, tokens = result.get("peak_memory_gib"), result.get("tokens")
    parts = [
        f"{trained:,} of {total:,} weights trained" if trained is not None and total is not None else "",
        f"on {tokens:,} tokens" if tokens else "",
        f"with at most {peak:.1f} GiB of GPU memory" if peak else "",
    ]
    words = " ".join(filter(None, parts))
    return f"{words[0].upper()}{words[1:]}." if words else ""


def dropped_rows(result: Mapping[str, Any]) -> str:
    """Return in one line which rows were left out, and why. Empty if none were."""
    reasons = [
        f"{record['entry']}: {record['rows']} of {record['of']} {printable(record['reason'])}, first {record['first']}"
        for record in result.get("dropped_rows") or []
    ]
    return f"Rows that were dropped: {'; '.join(reasons)}." if reasons else ""


def format_measurements(result: Mapping[str, Any]) -> str:
    """Return what was measured before and after training: a table, then completions. Empty if nothing was."""
    return "\n\n".join(filter(None, [comparison_table(result), side_by_side(result.get("generations") or [])]))


def comparison_table(result: Mapping[str, Any]) -> str:
    """Return a table of what was measured before and after training. Empty if nothing was."""
    before, after = result.get("before"), result.get("after")
    if not before or not after:
        return ""
    return text_table(["", "before", "after", "change"], measured_rows(before, after), right=(1, 2, 3))


def measured_rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[list[str]]:
    """Return what people want to know of measurements: what it is, before training, after it, and the change."""
    samples = after.get("exact_match_samples") or before.get("exact_match_samples")
    labels = {
        "eval_loss": "evaluation loss",
        "perplexity": "perplexity",
        "exact_match": f"exact match of {samples}" if samples else "exact match",
        "eval_rewards/accuracies": "reward accuracy",
        "eval_rewards/margins": "reward margin",
        "eval_reward": "reward",
        "eval_completions/mean_length": "completion tokens",
    }
    return [
        [
            label,
            _format_value(name, before),
            _format_value(name, after),
            _change(before.get(name), after.get(name), name),
        ]
        for name, label in labels.items()
        if name in before or name in after
    ]


def side_by_side(generations: Sequence[Mapping[str, str]]) -> str:
    """Return completions of the same prompts before and after training, in two columns. Empty without any."""
    column = (_WIDTH - 3) // 2
    blocks = []
    for generation in generations:
        left = _wrap(generation["before"], column)
        right = _wrap(generation["after"], column)
        height = max(len(left), len(right))
        left += [""] * (height - len(left))
        right += [""] * (height - len(right))
        prompt = textwrap.shorten(printable(generation["prompt"]), _WIDTH - len("Prompt: "), placeholder=" …")
        lines = [f"Prompt: {prompt}", f"{'before':<{column}} | after"]
        lines += [f"{a:<{column}} | {b}".rstrip() for a, b in zip(left, right, strict=True)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _wrap(text: str, width: int) -> list[str]:
    lines = visible(text.expandtabs(4)).splitlines()
    return [piece for line in lines for piece in textwrap.wrap(line, width) or [""]] or ["(nothing)"]


def _format_value(name: str, values: Mapping[str, Any]) -> str:
    value = values.get(name)
    if value is None and name in values:
        return "not finite"
    return f"{value:.1%}" if name in _SHARES and isinstance(value, int | float) else number(value)


def _change(before: object, after: object, name: str) -> str:
    if not isinstance(before, int | float) or not isinstance(after, int | float):
        return "-"
    if name in _SHARES:
        return f"{100 * (after - before):+.1f} points"
    if not before:
        return "-"
    return f"{(after - before) / before:+.1%}"


def _steps(result: Mapping[str, Any]) -> str:
    attempts = result.get("attempts") or 1
    stages = result.get("stages") or []
    steps = f"{len(stages)} stages" if stages else f"{result.get('step')} of {result.get('max_steps')} steps"
    return steps + (f" in {attempts} attempts" if attempts > 1 else "")


def _artifacts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    return sorted((result.get("artifacts") or {}).items())


def _with_slash(url: str) -> str:
    return url if url.endswith("/") else url + "/"


def _tail(lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    shown = last_of_log(lines, _TAIL_LINES)
    return ["The last lines of its log:\n" + "\n".join(f"  | {visible(line)}" for line in shown)]


def next_commands(pairs: Sequence[tuple[str, str]]) -> str:
    """Return commands with what they are for: beside them, or above each where a line would get too long.

    Args:
        pairs: command and purpose.
    """
    beside = _pairs(pairs)
    if max(map(len, beside.splitlines())) <= _WIDTH:
        return beside
    return "\n".join(f"  {purpose}:\n    {typed}" for typed, purpose in pairs)


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    width = max(len(left) for left, _ in pairs)
    return "\n".join(f"  {left:<{width}}  {right}" for left, right in pairs)
