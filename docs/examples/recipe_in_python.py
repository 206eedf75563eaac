"""Write a recipe in Python, launch it, and look at what came of it: `python docs/examples/recipe_in_python.py`.

It takes some seconds on two cores, and no network. `make check` has mypy check it as strictly as runner itself.
"""

import runner


def quick_recipe(learning_rate: float) -> runner.Recipe:
    """Return a very short training of a tiny model."""
    return runner.Recipe(
        name="in-python",
        method="sft",
        model={"model_name_or_path": "builtin:tiny-llama"},
        data={"train": [{"path": "builtin:python-docstrings"}], "eval": {"from_train": 16}},
        training={"learning_rate": learning_rate, "max_steps": 4, "effective_batch_size": 8, "max_length": 64},
        evaluate={"before_and_after": True},
    )


def main() -> None:
    """Train, and print what was gained."""
    try:
        run = runner.launch(quick_recipe(1e-3))
        run.follow(check=True)
    except runner.UserError as error:
        raise SystemExit(f"{error.where}: {error.what}\n{error.remedy}") from error
    result = run.result()
    if result is not None:
        print(f"{run.run_id}: {result.before['eval_loss']:.3f} -> {result.after['eval_loss']:.3f}")
    losses = [record.get("loss") for record in run.metrics()]
    print(losses)


if __name__ == "__main__":
    main()
