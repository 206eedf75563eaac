"""Curves as plots, and what stands below them."""

from runner.reports.html.charts import Chart, Rule, figure, specification


def test_that_curves_are_thinned_is_said_only_where_one_was() -> None:
    short = Chart(name="loss", label="Loss", curves={"first": [(step, 1.0) for step in range(600)]})
    long = Chart(name="loss", label="Loss", curves={**short.curves, "second": [(step, 1.0) for step in range(601)]})
    assert "thinned" not in figure(short)
    assert "Curves of more than 600 points are thinned" in figure(long)
    assert len(specification(long)["data"]["values"]) <= 1200


def test_interruptions_are_marked_where_they_happened_and_said_below() -> None:
    rule = Rule(at=20, text="Attempt 2 <went> on from step 20.")
    chart = Chart(name="loss", label="Loss", curves={"first": [(1, 2.0), (30, None), (40, 1.0)]}, rules=[rule])
    lines, rules = specification(chart)["layer"]
    assert rules["data"]["values"] == [{"at": 20, "what": rule.text}]
    assert rules["mark"]["type"] == "rule"
    assert [value["at"] for value in specification(chart)["data"]["values"]] == [1, 40]
    assert "Attempt 2 &lt;went&gt; on" in figure(chart)
    assert lines["encoding"]["x"]["title"] == "step"


def test_of_many_interruptions_the_first_are_said_and_all_are_marked() -> None:
    rules = [Rule(at=step, text=f"Attempt {step} went on.") for step in range(2, 14)]
    chart = Chart(name="loss", label="Loss", curves={"first": [(1, 2.0), (40, 1.0)]}, rules=rules)
    assert "Attempt 6 went on." in figure(chart)
    assert "Attempt 7 went on." not in figure(chart)
    assert "7 more" in figure(chart)
    assert len(specification(chart)["layer"][1]["data"]["values"]) == 12
