"""What each error of a service and each exception of botocore becomes, and what to do about it."""

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

LOGIN = "Run aws sts get-caller-identity to see who you are; then aws configure, aws sso login, or AWS_PROFILE in .env."
CREDENTIALS = 'Put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, into .env; or set aws = "embedded".'
RENEW = "Renew them (aws sso login, or a new session token), then run the command again; it continues where it stopped."
WAIT = "Wait a little and run it again. Another program may be using the account's quota for this operation."
AGAIN = (
    "Run it again; if it lasts, see https://health.aws.amazon.com and whether your network reaches the region"
    ' (with aws = "embedded": the emulator\'s log in the state folder).'
)
WHERE = "Are account and region the right ones? Without the collection: seedtool enroll --all makes it."
BUCKET = "Are bucket, prefix and endpoint in PHOTOS_URL and S3_ENDPOINT_URL right?"
QUOTA = "Delete what is no longer needed, or ask AWS for a higher quota (Service Quotas, Amazon Rekognition)."
CLOCK = "Set this machine's clock: AWS accepts signatures for five minutes."
REPORT = "This should not happen: please report it with the command you ran."

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
        (CredentialsError, LOGIN),
    ),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "ExpiredTradeInTokenException", "TokenRefreshRequired"),
        (CredentialsError, RENEW),
    ),
    **dict.fromkeys(("RequestExpired", "RequestTimeTooSkewed"), (CredentialsError, CLOCK)),
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
    "ResourceNotFoundException": (ResourceNotFound, WHERE),
    **dict.fromkeys(("SessionNotFoundException", "NoSuchAnnotation", "NoSuchUpload"), (ResourceNotFound, REPORT)),
    **dict.fromkeys(("NoSuchBucket", "NoSuchKey", "404", "NotFound"), (ResourceNotFound, BUCKET)),
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
        (Throttled, WAIT),
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
        (ServiceUnavailable, AGAIN),
    ),
    NO_ANSWER: (ServiceUnavailable, "Is there a proxy or a sign-in page in between? Then run it again."),
    # our fault
    "ServiceQuotaExceededException": (InvalidRequest, QUOTA),
    "HumanLoopQuotaExceededException": (InvalidRequest, QUOTA),
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
        (InvalidRequest, REPORT),
    ),
}

CONFIGURATION = "Check AWS_* in the environment and .env, and ~/.aws/config."

#: botocore's exception by name → (our class, remedy). The nearest ancestor that is named here decides.
EXCEPTIONS: dict[str, tuple[type[SeedtoolError], str]] = {
    **dict.fromkeys(
        ("NoCredentialsError", "PartialCredentialsError", "UnknownCredentialError", "UnknownTokenProviderError"),
        (CredentialsError, CREDENTIALS),
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
        (CredentialsError, RENEW),
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
        (SettingsError, CONFIGURATION),
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
        (ServiceUnavailable, AGAIN),
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
        (AwsError, REPORT),
    ),
}
