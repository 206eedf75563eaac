"""The end of a run says what it gained, where everything is, and what to do next."""

from typing import Any

from runner.reports import summary

RESULT: dict[str, Any] = {
    "state": "succeeded",
    "attempts": 3,
    "step": 60,
    "max_steps": 60,
    "before": {"eval_loss": 4.0, "perplexity": 54.598, "samples_per_second": 10.0},
    "after": {"eval_loss": 2.0, "perplexity": 7.389, "samples_per_second": 10.0},
    "generations": [
        {"prompt": "Return\nthe " + "very " * 40, "before": "\x1b[31mno", "after": "word " * 30 + "\n\nend"},
        {"prompt": "Another", "before": "", "after": "yes"},
    ],
    "artifacts": {"model": "artifacts/model/0003-abcd/", "merged": "artifacts/merged/0003-abcd/"},
}


BEFORE = {"exact_match": 0.125, "exact_match_samples": 40}
AFTER = {"exact_match": 0.5, "exact_match_samples": 40}


def test_success_compares_before_and_after_and_names_every_place() -> None:
    text = summary.summarize_success(RESULT, run_id="tiny-ab12", store_url="s3://bucket/x")
    assert "tiny-ab12 succeeded: 60 of 60 steps in 3 attempts." in text
    lines = [line.split() for line in text.splitlines()]
    assert ["evaluation", "loss", "4.0000", "2.0000", "-50.0%"] in lines
    assert ["perplexity", "54.598", "7.3890", "-86.5%"] in lines
    assert ["model", "s3://bucket/x/runs/tiny-ab12/artifacts/model/0003-abcd/"] in lines
    for command in ("runner pull tiny-ab12", "runner metrics tiny-ab12", "runner logs tiny-ab12"):
        assert command in text


def test_each_stage_has_its_table_and_shares_are_percentages() -> None:
    stages = [
        {"stage": "sft", "step": 4, "max_steps": 4, "generations": [], "before": BEFORE, "after": AFTER},
        {
            "stage": "dpo",
            "step": 9,
            "max_steps": 10,
            "generations": RESULT["generations"],
            "before": None,
            "after": None,
        },
    ]
    text = summary.summarize_success({**RESULT, "stages": stages}, run_id="r", store_url="/store")
    assert "r succeeded: 2 stages in 3 attempts." in text
    assert "Stage 1 of 2: sft, 4 of 4 steps" in text
    assert ["exact", "match", "of", "40", "12.5%", "50.0%", "+37.5", "points"] in [
        line.split() for line in text.splitlines()
    ]
    assert "Stage 2 of 2: dpo, 9 of 10 steps\nPrompt: Return the" in text
    assert text.count("evaluation loss") == 0, "the run's own numbers are its last stage's"


def test_completions_stand_side_by_side_and_cannot_drive_the_terminal() -> None:
    text = summary.side_by_side(RESULT["generations"])
    assert "\x1b" not in text
    assert "(nothing)" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    assert "Prompt: Return the very" in text


def test_what_was_not_measured_is_not_shown() -> None:
    bare = {"step": 5, "max_steps": 5, "attempts": 1, "before": None, "after": None, "artifacts": {}}
    text = summary.summarize_success(bare, run_id="r", store_url="/store")
    assert "perplexity" not in text
    assert "Prompt" not in text
    assert "r succeeded: 5 of 5 steps.\n" in text


def test_a_measure_that_is_missing_on_one_side_has_no_change() -> None:
    result = {"before": {"eval_loss": 2.0}, "after": {"perplexity": 7.0}}
    assert summary.comparison_table(result).splitlines()[1].split() == ["evaluation", "loss", "2.0000", "-", "-"]


def test_failure_says_why_shows_the_log_and_what_to_do() -> None:
    text = summary.summarize_failure(run_id="r", state="failed", reason="CUDA out of memory", log_tail=["a", "b"])
    assert "r failed: CUDA out of memory" in text
    assert "  | a\n  | b" in text
    assert "runner logs r" in text


def test_an_interrupted_run_says_how_it_goes_on() -> None:
    text = summary.summarize_interruption(run_id="r", reason="preempted", checkpoint_step=40, log_tail=[])
    assert "r interrupted: preempted; saved at step 40" in text
    assert "runner resume r  continue from step 40" in text
    text = summary.summarize_interruption(run_id="r", reason=None, checkpoint_step=None, log_tail=[])
    assert "nothing was saved yet" in text
    assert "continue from the beginning" in text


def test_a_measure_that_was_infinite_or_not_a_number_says_so() -> None:
    """JSON has no such numbers: they are null."""
    result = {"before": {"eval_loss": 2.0}, "after": {"eval_loss": None}}
    assert "2.0000  not finite       -" in summary.comparison_table(result)


def test_the_first_evaluation_is_slow_to_start_and_no_gain_in_speed_is_claimed() -> None:
    result = {"before": {"eval_loss": 2.0, "samples_per_second": 10.0}, "after": {"eval_loss": 1.0}}
    result["after"]["samples_per_second"] = 17.0
    assert "samples" not in summary.comparison_table(result)
    assert "70" not in summary.comparison_table(result)


def test_long_commands_have_their_purpose_above_them() -> None:
    """A line of the whole program's path, a run's id and a store is longer than a terminal already."""

    def typed(words: str) -> str:
        return f"/a/long/way/to/the/program/runner {words} --store s3://a-bucket/with/a/folder"

    text = summary.summarize_success(RESULT, run_id="tiny-ab12", store_url="s3://bucket/x", typed=typed)
    assert f"  every step's numbers:\n    {typed('metrics tiny-ab12')}\n" in text
    short = summary.next_commands([("runner ps", "list them"), ("runner logs x", "read it")])
    assert short == "  runner ps      list them\n  runner logs x  read it"
