"""Vendor errors become ours here and nowhere else, as httpx's `map_httpcore_exceptions` does it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

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

#: Anything of botocore's: its clients, models and answers carry no types. The gateways give their own.
Vendor: TypeAlias = Any

_LOGIN = (
    "Run aws sts get-caller-identity to see who you are; then aws configure, aws sso login, or AWS_PROFILE in .env."
)
_CREDENTIALS = 'Put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, into .env; or set aws = "embedded".'
_RENEW = (
    "Renew them (aws sso login, or a new session token), then run the command again; it continues where it stopped."
)
_WAIT = "Wait a little and run it again. Another program may be using the account's quota for this operation."
_AGAIN = (
    "Run it again; if it lasts, see https://health.aws.amazon.com and whether your network reaches the region"
    ' (with aws = "embedded": the emulator\'s log in the state folder).'
)
_WHERE = "Are account and region the right ones? Without the collection: seedtool enroll --all makes it."
_BUCKET = "Are bucket, prefix and endpoint in PHOTOS_URL and S3_ENDPOINT_URL right?"
_QUOTA = "Delete what is no longer needed, or ask AWS for a higher quota (Service Quotas, Amazon Rekognition)."
_CLOCK = "Set this machine's clock: AWS accepts signatures for five minutes."
_REPORT = "This should not happen: please report it with the command you ran."

#: Our own code for a 200 that carries no answer of the service's.
NO_ANSWER = "NoAnswer"

#: error code → (our class, remedy). The models' codes, and those that AWS's front ends answer for any service.
CODES: dict[str, tuple[type[SeedtoolError], str]] = {
    # credentials
    **dict.fromkeys(
        (
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "InvalidSignatureException",
            "IncompleteSignature",
            "IncompleteSignatureException",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "AuthFailure",
            "InvalidToken",
            "InvalidSecurity",
            "Unauthorized",
            "UnauthorizedAccess",
            "IDPCommunicationError",
            "IDPRejectedClaim",
            "InvalidIdentityToken",
            "InvalidAuthorizationMessageException",
            "SessionDurationEscalationException",
            "OutboundWebIdentityFederationDisabledException",
        ),
        (CredentialsError, _LOGIN),
    ),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "ExpiredTradeInTokenException", "TokenRefreshRequired"),
        (CredentialsError, _RENEW),
    ),
    **dict.fromkeys(("RequestExpired", "RequestTimeTooSkewed"), (CredentialsError, _CLOCK)),
    # permission
    **dict.fromkeys(
        ("AccessDeniedException", "AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccountProblem"),
        (AccessDenied, "Allow the action to this user or role; README, IAM policies, lists what each command needs."),
    ),
    **dict.fromkeys(
        ("OptInRequired", "NotSignedUp", "SubscriptionRequiredException", "RegionDisabledException"),
        (AccessDenied, "Sign the account up for the service, or enable the region in the account's settings."),
    ),
    **dict.fromkeys(
        ("InvalidObjectState", "ObjectNotInActiveTierError"),
        (AccessDenied, "The object is archived: restore it from Glacier first."),
    ),
    # not there
    "ResourceNotFoundException": (ResourceNotFound, _WHERE),
    **dict.fromkeys(("SessionNotFoundException", "NoSuchAnnotation", "NoSuchUpload"), (ResourceNotFound, _REPORT)),
    **dict.fromkeys(("NoSuchBucket", "NoSuchKey", "404", "NotFound"), (ResourceNotFound, _BUCKET)),
    # over the quota
    **dict.fromkeys(
        (
            "ThrottlingException",
            "ThrottledException",
            "Throttling",
            "RequestThrottled",
            "RequestThrottledException",
            "TooManyRequestsException",
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "BandwidthLimitExceeded",
            "LimitExceededException",
            "PriorRequestNotComplete",
            "TransactionInProgressException",
            "EC2ThrottledException",
            "SlowDown",
            "429",
        ),
        (Throttled, _WAIT),
    ),
    # their fault
    **dict.fromkeys(
        (
            "InternalServerError",
            "InternalError",
            "InternalFailure",
            "InternalServiceError",
            "ServiceUnavailable",
            "ServiceUnavailableException",
            "RequestTimeout",
            "RequestTimeoutException",
            "ResourceNotReadyException",
            "500",
            "502",
            "503",
            "504",
        ),
        (ServiceUnavailable, _AGAIN),
    ),
    NO_ANSWER: (ServiceUnavailable, "Is there a proxy or a sign-in page in between? Then run it again."),
    # our fault
    "ServiceQuotaExceededException": (InvalidRequest, _QUOTA),
    "HumanLoopQuotaExceededException": (InvalidRequest, _QUOTA),
    "ImageTooLargeException": (InvalidRequest, "Scale the picture down: at most 5 MiB as bytes, 15 MB in S3."),
    "InvalidImageFormatException": (InvalidRequest, "Save the picture as JPEG or PNG."),
    "InvalidS3ObjectException": (InvalidRequest, "Rekognition reads S3 only in its own region, with leave to do so."),
    **dict.fromkeys(
        ("InvalidParameterException", "ValidationException", "ValidationError", "InvalidRequest", "400"),
        (InvalidRequest, ""),
    ),
    "InvalidPaginationTokenException": (InvalidRequest, "The collection changed under the listing: run it again."),
    "ResourceAlreadyExistsException": (InvalidRequest, "Use the one that exists."),
    "ResourceInUseException": (InvalidRequest, "Wait until the other operation on it has ended."),
    "ConflictException": (InvalidRequest, "Something else is changing it: run it again."),
    **dict.fromkeys(
        (
            "UnknownOperationException",
            "NotImplemented",
            "MethodNotAllowed",
            "405",
            "501",
        ),
        (InvalidRequest, "Does AWS_ENDPOINT_URL name something that is not Rekognition or S3?"),
    ),
    **dict.fromkeys(
        (
            "PermanentRedirect",
            "TemporaryRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
            "InvalidBucketName",
            "InvalidPrefix",
            "301",
            "307",
        ),
        (InvalidRequest, "The bucket is in another region: set AWS_REGION to it. For R2, S3_ENDPOINT_URL is needed."),
    ),
    **dict.fromkeys(("EntityTooLarge", "413"), (InvalidRequest, "The object is too large.")),
    **dict.fromkeys(
        (
            "AnnotationLimitExceeded",
            "AnnotationNameTooLong",
            "BucketAlreadyExists",
            "BucketAlreadyOwnedByYou",
            "EncryptionTypeMismatch",
            "IdempotencyParameterMismatch",
            "IdempotentParameterMismatchException",
            "InvalidAnnotationName",
            "InvalidManifestException",
            "InvalidPolicyRevisionIdException",
            "InvalidWriteOffset",
            "JWTPayloadSizeExceededException",
            "MalformedPolicyDocument",
            "MalformedPolicyDocumentException",
            "ObjectAlreadyInActiveTierError",
            "PackedPolicyTooLarge",
            "TooManyParts",
            "UnsupportedMediaType",
            "VideoTooLargeException",
        ),
        (InvalidRequest, _REPORT),
    ),
}

_CONFIGURATION = "Check AWS_* in the environment and .env, and ~/.aws/config."

#: botocore's exception by name → (our class, remedy). The nearest ancestor that is named here decides.
EXCEPTIONS: dict[str, tuple[type[SeedtoolError], str]] = {
    **dict.fromkeys(
        ("NoCredentialsError", "PartialCredentialsError", "UnknownCredentialError", "UnknownTokenProviderError"),
        (CredentialsError, _CREDENTIALS),
    ),
    **dict.fromkeys(
        (
            "CredentialRetrievalError",
            "MetadataRetrievalError",
            "NoAuthTokenError",
            "RefreshWithMFAUnsupportedError",
            "SSOError",
            "LoginError",
            "TokenRetrievalError",
        ),
        (CredentialsError, _RENEW),
    ),
    **dict.fromkeys(
        (
            "ProfileNotFound",
            "ConfigParseError",
            "ConfigNotFound",
            "InvalidConfigError",
            "InvalidDefaultsMode",
            "InvalidProxiesConfigError",
            "InvalidRetryConfigurationError",
            "InvalidRetryModeError",
            "InvalidMaxRetryAttemptsError",
            "InvalidChecksumConfigError",
            "InvalidEndpointConfigurationError",
            "InvalidEndpointDiscoveryConfigurationError",
            "InvalidIMDSEndpointError",
            "InvalidIMDSEndpointModeError",
            "InvalidRegionError",
            "InvalidS3AddressingStyleError",
            "InvalidS3UsEast1RegionalEndpointConfigError",
            "InvalidSTSRegionalEndpointsConfigError",
            "MissingDependencyException",
            "UnsupportedS3ArnError",
            "UnsupportedS3AccesspointConfigurationError",
            "UnsupportedS3ConfigurationError",
            "UnsupportedS3ControlArnError",
            "UnsupportedS3ControlConfigurationError",
            "UnsupportedOutpostResourceError",
        ),
        (SettingsError, _CONFIGURATION),
    ),
    **dict.fromkeys(
        (
            "BaseEndpointResolverError",
            "EndpointProviderError",
            "ServiceNotInRegionError",
            "UnknownRegionError",
            "UnknownServiceError",
        ),
        (SettingsError, "Set AWS_REGION to a region that offers Rekognition, such as us-east-1."),
    ),
    **dict.fromkeys(
        (
            "HTTPClientError",
            "ConnectionError",
            "CapacityNotAvailableError",
            "ChecksumError",
            "FlexibleChecksumError",
            "EventStreamError",
            "IncompleteReadError",
            "ResponseParserError",
        ),
        (ServiceUnavailable, _AGAIN),
    ),
    **dict.fromkeys(
        (
            "AliasConflictParameterError",
            "InvalidDNSNameError",
            "InvalidHostLabelError",
            "MissingParametersError",
            "ParamValidationError",
            "ValidationError",
        ),
        (InvalidRequest, ""),
    ),
    "PaginationError": (ServiceUnavailable, "The service repeats a page for ever: run it again, and report it to AWS."),
    # not raised by any call that we make, or faults of this program
    **dict.fromkeys(
        (
            "ApiVersionNotFoundError",
            "AwsChunkedWrapperError",
            "DataNotFoundError",
            "EndpointDiscoveryException",
            "InvalidExpressionError",
            "MD5UnavailableError",
            "MissingServiceIdError",
            "OperationNotPageableError",
            "StubAssertionError",
            "StubResponseError",
            "UnStubbedResponseError",
            "UndefinedModelAttributeError",
            "UnknownClientMethodError",
            "UnknownEndpointResolutionBuiltInName",
            "UnknownServiceStyle",
            "UnknownSignatureVersionError",
            "UnseekableStreamError",
            "UnsupportedServiceProtocolsError",
            "UnsupportedSignatureVersionError",
            "WaiterConfigError",
            "WaiterError",
        ),
        (AwsError, _REPORT),
    ),
}


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
        return Rule(AccessDenied, _LOGIN)
    if status == 404:
        return Rule(ResourceNotFound, _BUCKET)
    if status == 429:
        return Rule(Throttled, _WAIT)
    return Rule(ServiceUnavailable, _AGAIN) if status >= 500 else Rule(AwsError, _REPORT)


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
        rule = rule_for_exception(type(error)) or Rule(AwsError, _REPORT)
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
