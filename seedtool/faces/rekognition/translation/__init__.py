"""Vendor errors become ours here and nowhere else, as httpx's `map_httpcore_exceptions` does it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from seedtool.errors import (
    AccessDenied,
    AwsError,
    CredentialsError,
    ResourceNotFound,
    SeedtoolError,
    ServiceUnavailable,
    Throttled,
)
from seedtool.faces.rekognition.translation.tables import (
    AGAIN,
    BUCKET,
    CODES,
    EXCEPTIONS,
    LOGIN,
    NO_ANSWER,
    REPORT,
    WAIT,
)

__all__ = ["CODES", "EXCEPTIONS", "NO_ANSWER", "Rule", "Vendor", "rule_for_code", "rule_for_exception", "translated"]

#: Anything of botocore's: its clients, models and answers carry no types. The gateways give their own.
Vendor: TypeAlias = Any


class Rule(NamedTuple):
    """What a vendor error becomes."""

    kind: type[SeedtoolError]
    remedy: str


def rule_for_code(code: str, status: int) -> Rule:
    """Return the rule for a service's error code; an unknown code is judged by its HTTP status."""
    found = CODES.get(code)
    if found is not None:
        return Rule(*found)
    if status in {401, 403}:
        return Rule(AccessDenied, LOGIN)
    if status == 404:
        return Rule(ResourceNotFound, BUCKET)
    if status == 429:
        return Rule(Throttled, WAIT)
    return Rule(ServiceUnavailable, AGAIN) if status >= 500 else Rule(AwsError, REPORT)


def rule_for_exception(kind: type[BaseException]) -> Rule | None:
    """Return the rule for a class of botocore's, by its nearest named ancestor; None when nobody decided."""
    for ancestor in kind.__mro__:
        if ancestor.__module__.startswith("botocore") and ancestor.__name__ in EXCEPTIONS:
            return Rule(*EXCEPTIONS[ancestor.__name__])
    return None


@contextmanager
def translated(service: str, subject: str = "") -> Iterator[None]:
    """Raise what botocore raises inside as one of ours.

    Args:
        service: IAM's prefix of the service: `rekognition`, `s3` or `sts`.
        subject: what the call was about (`collection school`, `photo students/...`); ids only.

    Raises:
        AwsError: one of its subclasses, with a remedy.
        SettingsError: a profile, region or endpoint is wrong.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise _from_client_error(service, subject, error) from error
    except (BotoCoreError, ResponseParserError) as error:
        rule = rule_for_exception(type(error)) or Rule(AwsError, REPORT)
        about = f" ({subject})" if subject else ""
        raise rule.kind(f"{service}{about}: {_safe_text(error, rule)}", remedy=rule.remedy) from error


def _from_client_error(service: str, subject: str, error: Vendor) -> SeedtoolError:
    details = error.response.get("Error", {})
    code = str(details.get("Code") or "")
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    action = f"{service}:{error.operation_name}"
    about = f" on {subject}" if subject else ""
    rule = rule_for_code(code, status)
    if rule.kind is AccessDenied:
        # the service's own text names the user's ARN; the action and the id are what the operator needs
        return rule.kind(f"{action}{about} is not allowed ({code})", remedy=rule.remedy)
    if rule.kind is CredentialsError:
        # S3's text repeats the access key and the string that was signed
        return rule.kind(f"the credentials were refused by {action} ({code})", remedy=rule.remedy)
    message = str(details.get("Message") or "").strip() or f"HTTP status {status}"
    return rule.kind(f"{action}{about}: {code or 'error'}: {message[:500]}", remedy=rule.remedy)


def _safe_text(error: BaseException, rule: Rule) -> str:
    """Return the error's text in one line; a credential process's or token's own words are left out."""
    name = type(error).__name__
    if rule.kind is CredentialsError and name not in {"NoCredentialsError", "PartialCredentialsError"}:
        return f"the credentials could not be had ({name})"
    return " ".join(str(error).split())[:500] or name
