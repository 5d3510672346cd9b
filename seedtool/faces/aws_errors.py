"""Errors of AWS become ours here and nowhere else, as httpx's `map_httpcore_exceptions` does it.

The tables hold what the operations that we call can answer, what AWS's front ends answer for any operation, and what
botocore raises by itself. Anything else is judged by its HTTP status.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from seedtool.errors import (
    AccessDenied,
    AwsError,
    CredentialsError,
    InvalidRequest,
    ResourceNotFound,
    SeedtoolError,
    ServiceUnavailable,
    SettingsError,
    Throttled,
)

#: Our own code for an answer with status 200 that carries nothing of the service's.
NO_ANSWER = "NoAnswer"

#: Error codes that say that we are over the quota.
THROTTLED = frozenset(
    {"ThrottlingException", "ProvisionedThroughputExceededException", "Throttling", "TooManyRequestsException"}
)

_LOGIN = "Run aws sts get-caller-identity to see who you are; then aws configure, aws sso login or AWS_PROFILE."
_CREDENTIALS = 'Put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, into .env; or set aws = "embedded".'
_RENEW = "Renew them (aws sso login, or a new session token). Then run the command again: it goes on where it stopped."
_WAIT = "Wait a little and run it again. Another program may be using the account's quota for this operation."
_AGAIN = (
    "Run it again. If it lasts, see https://health.aws.amazon.com and whether your network reaches the region"
    ' (with aws = "embedded": the emulator\'s log in the state folder).'
)
_WHERE = (
    "Are account and region the right ones? Without the collection: seedtool enroll --all makes it; seedtool backfill"
    " --reindex makes those of the photo library."
)
_BUCKET = "Are bucket, prefix and endpoint in PHOTOS_URL and S3_ENDPOINT_URL right?"
_QUOTA = "Delete what is no longer needed, or ask AWS for a higher quota (Service Quotas, Amazon Rekognition)."
_CLOCK = "Set this machine's clock: AWS accepts signatures for five minutes."
_REPORT = "This should not happen: please report it with the command you ran."
_CONFIGURATION = "Check AWS_* in the environment and .env, and ~/.aws/config."


# What AWS's front ends say of a signature from another time than theirs: "Signature expired: 20261128T120000Z is now
# earlier than 20261128T130000Z" or "Signature not yet current: ... is still later than ...".
_OF_THE_CLOCK = re.compile(r"Signature (expired|not yet current)", re.IGNORECASE)


class Rule(NamedTuple):
    """What an error of AWS becomes."""

    kind: type[SeedtoolError]
    remedy: str


def _rules(*rows: tuple[type[SeedtoolError], str, str]) -> dict[str, Rule]:
    """Return the rules by name; a row has the class, the remedy, and the names, separated by white space."""
    return {name: Rule(kind, remedy) for kind, remedy, names in rows for name in names.split()}


#: The rule of each error code.
CODES = _rules(
    (
        CredentialsError,
        _LOGIN,
        """UnrecognizedClientException InvalidClientTokenId InvalidAccessKeyId SignatureDoesNotMatch
        InvalidSignatureException IncompleteSignature IncompleteSignatureException MissingAuthenticationToken
        MissingAuthenticationTokenException AuthFailure InvalidToken InvalidSecurity Unauthorized UnauthorizedAccess""",
    ),
    (CredentialsError, _RENEW, "ExpiredToken ExpiredTokenException TokenRefreshRequired"),
    (CredentialsError, _CLOCK, "RequestExpired RequestTimeTooSkewed"),
    (
        AccessDenied,
        "Allow the action to this user or role in IAM; docs/guides/aws.md lists what each command needs.",
        "AccessDeniedException AccessDenied 403 Forbidden AllAccessDisabled AccountProblem",
    ),
    (
        AccessDenied,
        "Sign the account up for the service, or enable the region in the account's settings.",
        "OptInRequired NotSignedUp SubscriptionRequiredException RegionDisabledException",
    ),
    (AccessDenied, "The object is archived: restore it from Glacier first.", "InvalidObjectState"),
    (ResourceNotFound, _WHERE, "ResourceNotFoundException"),
    (ResourceNotFound, _BUCKET, "NoSuchBucket NoSuchKey 404 NotFound"),
    (
        Throttled,
        _WAIT,
        """ThrottlingException ThrottledException Throttling RequestThrottled RequestThrottledException
        TooManyRequestsException ProvisionedThroughputExceededException RequestLimitExceeded BandwidthLimitExceeded
        LimitExceededException PriorRequestNotComplete SlowDown 429""",
    ),
    (
        ServiceUnavailable,
        _AGAIN,
        """InternalServerError InternalError InternalFailure ServiceUnavailable ServiceUnavailableException
        RequestTimeout RequestTimeoutException 500 502 503 504""",
    ),
    (ServiceUnavailable, "Is there a proxy or a sign-in page in between? Then run it again.", NO_ANSWER),
    (InvalidRequest, _QUOTA, "ServiceQuotaExceededException"),
    (InvalidRequest, "Scale the picture down: at most 5 MiB as bytes, 15 MB in S3.", "ImageTooLargeException"),
    (InvalidRequest, "Save the picture as JPEG or PNG.", "InvalidImageFormatException"),
    (
        InvalidRequest,
        "Rekognition reads S3 only in its own region, and only what it is allowed to read.",
        "InvalidS3ObjectException",
    ),
    (InvalidRequest, "", "InvalidParameterException ValidationException ValidationError InvalidRequest 400"),
    (
        InvalidRequest,
        "The collection changed while it was listed: run it again.",
        "InvalidPaginationTokenException",
    ),
    (InvalidRequest, "Use the one that exists.", "ResourceAlreadyExistsException"),
    (InvalidRequest, "Wait until the other operation on it has ended.", "ResourceInUseException"),
    (
        InvalidRequest,
        "Does AWS_ENDPOINT_URL name something that is not Rekognition or S3?",
        "UnknownOperationException NotImplemented MethodNotAllowed 405 501",
    ),
    (
        InvalidRequest,
        "The bucket is in another region: set AWS_REGION to it. For R2, S3_ENDPOINT_URL is needed.",
        """PermanentRedirect TemporaryRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException
        InvalidBucketName 301 307""",
    ),
    (InvalidRequest, "The object is too large.", "EntityTooLarge 413"),
    (InvalidRequest, "S3 takes keys of at most 1,024 bytes.", "KeyTooLongError"),
    # what the models list for PutObject, and what no request of ours brings about
    (InvalidRequest, _REPORT, "InvalidWriteOffset TooManyParts EncryptionTypeMismatch"),
)

#: The rule of each exception of botocore's, by its name. The nearest ancestor that is named here decides.
EXCEPTIONS = _rules(
    (
        CredentialsError,
        _CREDENTIALS,
        "NoCredentialsError PartialCredentialsError UnknownCredentialError UnknownTokenProviderError",
    ),
    (
        CredentialsError,
        _RENEW,
        """CredentialRetrievalError MetadataRetrievalError NoAuthTokenError RefreshWithMFAUnsupportedError SSOError
        LoginError TokenRetrievalError""",
    ),
    (
        SettingsError,
        _CONFIGURATION,
        """ProfileNotFound ConfigParseError ConfigNotFound InvalidConfigError InvalidDefaultsMode
        InvalidProxiesConfigError InvalidRetryConfigurationError InvalidChecksumConfigError
        InvalidEndpointConfigurationError InvalidIMDSEndpointError InvalidIMDSEndpointModeError InvalidRegionError
        InvalidS3AddressingStyleError InvalidS3UsEast1RegionalEndpointConfigError
        InvalidSTSRegionalEndpointsConfigError MissingDependencyException UnsupportedS3ConfigurationError""",
    ),
    (
        SettingsError,
        "Set AWS_REGION to a region that offers Rekognition, such as us-east-1.",
        "BaseEndpointResolverError EndpointProviderError UnknownRegionError",
    ),
    (
        ServiceUnavailable,
        _AGAIN,
        "HTTPClientError ConnectionError ChecksumError FlexibleChecksumError IncompleteReadError ResponseParserError",
    ),
    (ServiceUnavailable, "The service repeats a page for ever: run it again, and report it to AWS.", "PaginationError"),
    (InvalidRequest, "", "InvalidHostLabelError ParamValidationError ValidationError"),
)


def rule_for_code(code: str, status: int) -> Rule:
    """Return the rule for a service's error code; an unknown code is judged by its HTTP status."""
    if code in CODES:
        return CODES[code]
    if status in {401, 403}:
        return Rule(AccessDenied, _LOGIN)
    if status == 404:
        return Rule(ResourceNotFound, _BUCKET)
    if status == 429:
        return Rule(Throttled, _WAIT)
    return Rule(ServiceUnavailable, _AGAIN) if status >= 500 else Rule(AwsError, _REPORT)


def rule_for_exception(kind: type[BaseException]) -> Rule:
    """Return the rule for a class of botocore's."""
    for ancestor in kind.__mro__:
        if ancestor.__module__.startswith("botocore") and ancestor.__name__ in EXCEPTIONS:
            return EXCEPTIONS[ancestor.__name__]
    return Rule(AwsError, _REPORT)


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
        rule = rule_for_exception(type(error))
        about = f" ({subject})" if subject else ""
        raise rule.kind(
            f"{service}{about}: {_safe_text(error, rule)}", remedy=rule.remedy, code=type(error).__name__
        ) from error


def _from_client_error(service: str, subject: str, error: Any) -> SeedtoolError:  # noqa: ANN401 - no types
    details = error.response.get("Error", {})
    code = str(details.get("Code") or "")
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    action = f"{service}:{error.operation_name}"
    about = f" on {subject}" if subject else ""
    rule = rule_for_code(code, status)
    if code.startswith("InvalidSignature") and _OF_THE_CLOCK.search(str(details.get("Message") or "")):
        rule = CODES["RequestExpired"]  # S3 and STS have a code for it, Rekognition has words
    if rule.kind is AccessDenied:
        # the service's own text names the user's ARN; the action and the id are what the operator needs
        return rule.kind(f"{action}{about} is not allowed ({code})", remedy=rule.remedy, operation=action, code=code)
    if rule.kind is CredentialsError:
        # S3's text repeats the access key and the string that was signed
        return rule.kind(
            f"the credentials were refused by {action} ({code})", remedy=rule.remedy, operation=action, code=code
        )
    message = str(details.get("Message") or "").strip() or f"HTTP status {status}"
    return rule.kind(
        f"{action}{about}: {code or 'error'}: {message[:500]}", remedy=rule.remedy, operation=action, code=code or None
    )


def _safe_text(error: BaseException, rule: Rule) -> str:
    """Return the error's text in one line, without what a credential process or a token says."""
    name = type(error).__name__
    if rule.kind is CredentialsError and name not in {"NoCredentialsError", "PartialCredentialsError"}:
        return f"no credentials could be obtained ({name})"
    return " ".join(str(error).split())[:500] or name
