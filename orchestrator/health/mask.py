"""Keep secrets out of everything that was read from a log or an answer (DESIGN 5.10)."""

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

MASK = "***"

_VALUE = r"""(?:"[^"\n]*"|'[^'\n]*'|[^\s"',;&)\]}]+)"""
_NAME = (
    r"(?:api[-_ ]?key|hf[-_]token|hugging_?face[-_]hub[-_]token|(?:auth|access|refresh)[-_]?token"
    r"|password|passwd|secret(?:[-_]?key)?)"
)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {MASK}"),
    (re.compile(r"\b(hf|sk|gsk|ghp)([_-])[A-Za-z0-9_-]{8,}"), rf"\1\2{MASK}"),
    (re.compile(rf"""(?i)({_NAME}["']?\s*[=:]\s*){_VALUE}"""), rf"\1{MASK}"),
    (re.compile(rf"(?i)(--{_NAME}\s+){_VALUE}"), rf"\1{MASK}"),
    (re.compile(r"(://)[^/\s:@]+:[^/\s@]+@"), rf"\1{MASK}@"),
    (re.compile(r"(?i)([?&](?:X-Amz-Signature|X-Amz-Credential|Signature|sig|token)=)[^&\s\"']+"), rf"\1{MASK}"),
)


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with every given secret, and all that looks like one, replaced by ``***``.

    A given secret is found as it is and as it looks within JSON and within a URL.
    """
    forms = {
        form for secret in secrets if secret for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""))
    }
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
