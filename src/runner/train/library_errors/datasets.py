"""Errors of `datasets` and of chat templates about data."""

from runner.train.library_errors.row import Row

ROWS = (
    Row(
        ("TemplateSyntaxError",),
        r"(.+)",
        "the chat template is not valid Jinja: {message}",
        "training.chat_template_path",
        "Correct the template.",
    ),
    Row(
        ("UndefinedError",),
        r"(.+)",
        "the chat template asks for something that the rows do not have: {message}",
        "data.train",
        "Bring it in the rows, or write a `chat_template_path` that does without.",
    ),
    Row(
        ("TemplateError",),
        r"(.+)",
        "the chat template refuses a row: {message}",
        "data.train",
        "Change the rows, or write a `chat_template_path` that takes them.",
    ),
    Row(
        ("DatasetNotFoundError", "DataFilesNotFoundError", "FileNotFoundError"),
        r"^(?=.*(?:[Dd]ataset|data files?)).+",
        "{message}",
        "data.train",
        "Check the name; for a private or gated one, set HF_TOKEN.",
    ),
    Row(
        ("DatasetGenerationError", "DatasetGenerationCastError", "CastError"),
        r"(.+)",
        "the files of a data set cannot be read as one table ({message})",
        "data.train",
        "Their columns and types must be alike: name one file, or convert them.",
    ),
    Row(
        ("RuntimeError",),
        r"Dataset scripts are no longer supported",
        "the data set is a Python script, which `datasets` no longer runs",
        "data.train",
        "Name a version in Parquet, such as `revision: refs/convert/parquet`.",
    ),
    Row(
        ("ValueError",),
        r"BuilderConfig '?([^' ]+)'? not found|Config name is missing",
        "the data set has other configurations ({message})",
        "data.train",
        "Write one of them as `name`.",
    ),
    Row(
        ("ValueError",),
        r"Unknown split \"([^\"]+)\"",
        "the data set has no split {0} ({message})",
        "data.train",
        "Write one of them as `split`.",
    ),
)
