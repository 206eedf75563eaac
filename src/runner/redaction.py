"""Keep secrets out of what is printed and written: tokens known by their form, and values known by name."""

import base64
import json
import re
import urllib.parse
from collections.abc import Iterable, Mapping

WELL_KNOWN = (
    "ANTHROPIC_API_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "CLEARML_API_SECRET_KEY",
    "COMET_API_KEY",
    "GITHUB_TOKEN",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "NEPTUNE_API_TOKEN",
    "OPENAI_API_KEY",
    "SWANLAB_API_KEY",
    "WANDB_API_KEY",
)
"""Variables whose values are secrets, whether or not anybody says so."""

_SHORTEST = 6
"""A shorter value is left alone: hiding every ``1`` of a log would hide the log."""

# The beginnings and lengths that the services document for their tokens, and the userinfo of a URL.
_TOKENS = re.compile(
    r"""
    \b(?:
      hf_[A-Za-z0-9]{20,}                                     # Hugging Face
    | gh[pousr]_[A-Za-z0-9]{30,} | github_pat_\w{30,}         # GitHub
    | glpat-[\w-]{20,}                                        # GitLab
    | sk-(?:ant-|proj-|or-)?[A-Za-z0-9_-]{20,}                # OpenAI, Anthropic, OpenRouter
    | xox[abprs]-[A-Za-z0-9-]{10,}                            # Slack
    | (?:AKIA|ASIA)[0-9A-Z]{16}                               # AWS key ids
    | AIza[\w-]{35}                                           # Google
    | dop_v1_[0-9a-f]{64} | npm_[A-Za-z0-9]{36} | pypi-[\w-]{50,}
    | wandb_v1_[A-Za-z0-9_]{30,}
    )(?![A-Za-z0-9])
    | (?<=://)hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/[\w/-]{8,400}  # webhooks
    | (?<=://)(?:[a-z]{2,10}\.)?discord(?:app)?\.com/api/(?:v\d{1,2}/)?webhooks/\d{5,30}/[\w-]{20,200}
    | eyJ[\w-]{10,1000}\.eyJ[\w-]{10,4000}\.[\w-]{10,1000}    # JSON web tokens
    | -----BEGIN[ ][A-Z ]{0,40}PRIVATE[ ]KEY-----
    | (?<=[Bb]earer[ ])[A-Za-z0-9._~+/-]{20,4000}=*
    | (?<=[?&])(?i:x-(?:amz|goog)-(?:signature|credential|security-token)|sig|signature   # signed URLs
        |(?:access_|auth_|private_|hf_)?token|api_?key|(?:client_)?secret|passw(?:or)?d)=(?![$<{])[^\s&"'<>\#]{6,4000}
    | (?<=://)[^\s/@:"']{1,200}:[^\s/@"']{1,200}(?=@)         # name:password@host
    """,
    re.VERBOSE,
)
_PERCENT = re.compile("%[0-9A-F]{2}")
_SECRET_NAME = re.compile(
    r"(?:(?:^|_)(?:token|secret|passw(?:or)?d|passphrase|passcode|credentials?|pat|jwt|connection_string"
    r"|(?:api|access|account|secret|private|auth|encryption|signing|ssh|deploy|master|storage|license)_?key)"
    r"|.(?:_pwd|_pass))$",
    re.IGNORECASE,
)


def hide_tokens(text: str) -> str:
    """Return a text with ``***`` for what has the form of a token, of a private key, or of a password in a URL."""
    return _TOKENS.sub("***", text)


def holds_token(text: str) -> bool:
    """Whether something in a text has the form of a token, of a private key, or of a password in a URL."""
    return _TOKENS.search(text) is not None


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds a secret, by its last word: ``HF_TOKEN``, ``MY_API_KEY``, ``x-token``."""
    name = name.replace("-", "_")
    return name.upper() in WELL_KNOWN or _SECRET_NAME.search(name) is not None


class Redactor:
    """Hides the values of variables in texts, however texts usually write them, and what has the form of a token.

    That is as they are, and as base64, base32, hexadecimal, URLs, JSON, HTML, Python and shells write them.

    Args:
        values: secrets by name. Those shorter than six characters are left alone.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        names: dict[str, str] = {}
        for name, value in values.items():
            for part in {value, *value.splitlines()}:
                if len(part.strip()) >= _SHORTEST:
                    names |= dict.fromkeys(_spellings(part.strip()), name)
        self._names = names
        longest_first = sorted(names, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if names else None

    @classmethod
    def of_environment(cls, environ: Mapping[str, str], names: Iterable[str] = ()) -> "Redactor":
        """Return one for the variables of these names, and for those that are secret by their own names."""
        chosen = {name for name in environ if is_secret_name(name)} | {name for name in names if name in environ}
        return cls({name: environ[name] for name in sorted(chosen)})

    def __call__(self, text: str) -> str:
        """Return a text with ``***`` and the variable's name for each of the values; tokens as in `hide_tokens`."""
        if self._pattern is not None:
            text = self._pattern.sub(lambda match: f"***{self._names[match[0]]}***", text)
        return hide_tokens(text)


def _spellings(value: str) -> set[str]:
    """Return how a value may be written in a text: every spelling is as long as the value at least."""
    import html  # here: most commands hide nothing but tokens
    import shlex

    data = value.encode(errors="surrogatepass")
    spellings = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    spellings |= {json.dumps(json.dumps(value)[1:-1])[1:-1]}  # JSON as a text in JSON, as requests are logged
    spellings |= {repr(value)[1:-1], repr(data)[2:-1], shlex.quote(value).strip("'"), html.escape(value)}
    quoted = {urllib.parse.quote(value, safe=safe, errors="replace") for safe in ("", "/", "/:@&=+$,;?!'()*~-._")}
    quoted.add(urllib.parse.quote_plus(value, errors="replace"))
    spellings |= quoted | {_PERCENT.sub(lambda match: match[0].lower(), text) for text in quoted}
    spellings |= {data.hex(), data.hex().upper(), base64.b32encode(data).decode().rstrip("=")[:-1]}
    # In base64 the bytes before a value decide how it looks: three forms, without the characters that others share.
    for before in range(3):
        for encoded in (base64.b64encode(bytes(before) + data), base64.urlsafe_b64encode(bytes(before) + data)):
            text = encoded.decode().rstrip("=")
            text = text[(0, 2, 3)[before] :]
            spare = (before + len(data)) % 3
            spellings.add(text[:-1] if spare else text)
    return {spelling for spelling in spellings if len(spelling) >= _SHORTEST}
