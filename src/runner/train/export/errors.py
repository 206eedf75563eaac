"""How making something of a trained model can fail. Light, so that who starts it can tell."""


class MergeFailed(RuntimeError):
    """The merged model is not what base and adapter are together."""


class GgufFailed(RuntimeError):
    """llama.cpp did not make the file, or what it made is not the model."""


class HubUnavailable(Exception):
    """The hub does not answer; the push can be tried again."""
