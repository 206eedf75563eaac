"""Errors of merging, GGUF files and pushing. Imports no torch, so that programs can catch them before they need it."""


class MergeFailed(RuntimeError):
    """The merged model does not answer as base and adapter do."""


class GgufFailed(RuntimeError):
    """llama.cpp did not make the file, or the file does not answer as the model does."""


class HubUnavailable(Exception):
    """The hub does not answer; the push can be repeated later."""
