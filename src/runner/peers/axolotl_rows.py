"""An entry of Axolotl's `datasets`, by its `type`."""

import re
from collections.abc import Mapping
from typing import Any

from runner.peers.draft import Draft


def entry_of(entry: Mapping[str, Any], where: str, draft: Draft, kinds: set[str]) -> dict[str, Any] | None:
    """Convert one entry of `datasets`.

    Args:
        entry: as it is written.
        where: its place in the config.
        draft: is told what cannot be said.
        kinds: receives what its rows are: turns, pairs or text.

    Returns:
        The entry of `data.train`; None if it cannot be said.
    """
    known = {
        "path",
        "name",
        "split",
        "revision",
        "type",
        "field_messages",
        "message_property_mappings",
        "message_field_role",
        "message_field_content",
        "roles",
        "roles_to_train",
        "train_on_eos",
        "field",
        "conversation",
        "chat_template",
        "data_files",
        "ds_type",
        "trust_remote_code",
        "shards",
        "shards_idx",
        "field_system",
        "field_instruction",
        "field_output",
        "field_input",
        "format",
        "no_input_format",
        "field_human",
        "field_model",
        "field_tools",
        "field_thinking",
        "message_field_training",
        "message_field_training_detail",
        "drop_system_message",
        "split_thinking",
        "train_on_inputs",
        "field_chosen",
        "field_rejected",
        "train_on_eot",
        "template_thinking_key",
    }
    for key in entry:
        if key not in known:
            draft.refuse(f"{where}.{key}", "runner knows nothing of this key")
            return None
    source: dict[str, Any] = {"path": entry.get("path")}
    for key in ("name", "split", "revision"):
        if entry.get(key) is not None:
            source[key] = entry[key]
    files = entry.get("data_files")
    if files is not None:
        if entry.get("path") in ("json", "csv", "text", "parquet", "arrow") and isinstance(files, str | list):
            source["path"] = files if isinstance(files, str) else files[0]
        if not isinstance(files, str) and not (entry.get("path") == "json" and len(files) == 1):
            draft.refuse(f"{where}.data_files", "files of a hub dataset: write one entry for each file")
            return None
    for key in (
        "shards",
        "drop_system_message",
        "message_field_training",
        "message_field_training_detail",
        "split_thinking",
    ):
        if entry.get(key):
            draft.refuse(f"{where}.{key}", "write the rows as they are to be trained on")
            return None
    return _typed(entry, source, where, draft, kinds)


def _typed(
    entry: Mapping[str, Any], source: dict[str, Any], where: str, draft: Draft, kinds: set[str]
) -> dict[str, Any] | None:
    kind = entry.get("type", "chat_template" if "field_messages" in entry else None)
    if isinstance(kind, Mapping):
        return _custom(kind, source, where, draft, kinds)
    name = str(kind).split(":")[0] if isinstance(kind, str) else None
    if draft.method == "dpo":
        return _preferences(entry, source, where, draft)
    if name == "alpaca" and kind in ("alpaca", "alpaca:"):
        kinds.add("pairs")
        return {**source, "format": "stanford_alpaca"}
    if name == "completion":
        kinds.add("text")
        column = entry.get("field", "text")
        return source | ({"format": "text"} if column == "text" else {"template": {"text": f"{{{column}}}"}})
    if name in ("chat_template", "sharegpt"):
        kinds.add("turns")
        return _turns(entry, source, where, draft, name)
    draft.refuse(f"{where}.type", f"{kind!r}: write the rows' layout as `template:` or `format:`")
    return None


def _turns(
    entry: Mapping[str, Any], source: dict[str, Any], where: str, draft: Draft, name: str
) -> dict[str, Any] | None:
    mapping = entry.get("message_property_mappings") or {}
    role = mapping.get("role", entry.get("message_field_role", "from" if name == "sharegpt" else "role"))
    content = mapping.get("content", entry.get("message_field_content", "value" if name == "sharegpt" else "content"))
    if (role, content) not in (("role", "content"), ("from", "value")):
        draft.refuse(
            f"{where}.message_property_mappings",
            f"turns with {role!r} and {content!r}: role and content, or from and value",
        )
        return None
    trained = entry.get("roles_to_train", ["assistant"])
    if trained not in (
        ["assistant"],
        ["gpt"],
        ["assistant", "gpt"],
        ["gpt", "assistant"],
        ["model"],
        "assistant",
        "gpt",
    ):
        draft.refuse(f"{where}.roles_to_train", "the loss sees the answers only, or all")
        return None
    if entry.get("train_on_eos", "turn") not in ("turn", "all"):
        draft.refuse(f"{where}.train_on_eos", "the end of each answer is trained on")
        return None
    column = entry.get("field_messages", "conversations" if name == "sharegpt" else "messages")
    if column in ("messages", "conversations"):
        return source
    return {**source, "template": {"messages": f"{{{column}}}"}}


def _custom(
    kind: Mapping[str, Any], source: dict[str, Any], where: str, draft: Draft, kinds: set[str]
) -> dict[str, Any] | None:
    """A prompt's layout in the config itself (``type: {format: …}``)."""
    known = {
        "format",
        "no_input_format",
        "field_instruction",
        "field_input",
        "field_output",
        "field_system",
        "system_prompt",
        "system_format",
        "field",
    }
    unknown = sorted(kind.keys() - known)
    if unknown or (kind.get("system_prompt") and "{system}" in str(kind.get("format", ""))):
        draft.refuse(f"{where}.type", f"{', '.join(unknown) or 'system_prompt'}: write the layout as `template:`")
        return None
    layout, without = str(kind.get("format", "{instruction}")), kind.get("no_input_format")
    if without is not None and without != layout:
        layout = f"{{#input}}{layout}{{/input}}{{^input}}{without}{{/input}}"
    kinds.add("pairs")
    columns = {name: str(kind.get(f"field_{name}") or name) for name in ("instruction", "input", "output", "system")}
    names = "|".join(columns)
    layout = re.sub(rf"\{{([#/^]?)({names})\}}", lambda found: f"{{{found[1]}{columns[found[2]]}}}", layout)
    return {**source, "template": {"prompt": layout, "completion": f"{{{columns['output']}}}"}}


def _preferences(entry: Mapping[str, Any], source: dict[str, Any], where: str, draft: Draft) -> dict[str, Any] | None:
    kind = str(entry.get("type"))
    if not kind.startswith("chat_template"):
        draft.refuse(
            f"{where}.type",
            f"{kind!r} writes prompts in a way of its own: take chat_template.default, or write `template:`",
        )
        return None
    prompt, chosen, rejected = (
        entry.get("field_messages", "messages"),
        entry.get("field_chosen", "chosen"),
        entry.get("field_rejected", "rejected"),
    )
    mapping = entry.get("message_property_mappings") or {}
    if (mapping.get("role", "role"), mapping.get("content", "content")) not in (("role", "content"), ("from", "value")):
        draft.refuse(f"{where}.message_property_mappings", "role and content, or from and value")
        return None
    template = {"prompt": f"{{{prompt}}}", "chosen": f"{{{chosen}}}", "rejected": f"{{{rejected}}}"}
    return (
        {**source, "template": template} if (prompt, chosen, rejected) != ("prompt", "chosen", "rejected") else source
    )
