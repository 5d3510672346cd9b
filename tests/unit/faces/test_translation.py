"""Every error that botocore can raise becomes one of ours, with what to do about it."""

import botocore.exceptions
import botocore.session
import pytest
from botocore.parsers import ResponseParserError

from seedtool import errors
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
from seedtool.faces.aws_errors import CODES, EXCEPTIONS, rule_for_code, translated


def descendants(kind):
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


#: What we call: rekognition/collection.py, photos/s3.py and `Aws.who`.
CALLED = {
    "rekognition": (
        "CreateCollection",
        "DescribeCollection",
        "ListFaces",
        "IndexFaces",
        "SearchFaces",
        "DeleteFaces",
    ),
    "s3": ("PutObject", "GetObject", "HeadObject", "DeleteObject", "ListObjectsV2", "HeadBucket"),
    "sts": ("GetCallerIdentity",),
}


def modelled_codes():
    session = botocore.session.Session()
    for service, operations in CALLED.items():
        model = session.get_service_model(service)
        for operation in operations:
            for shape in model.operation_model(operation).error_shapes:
                yield shape.metadata.get("error", {}).get("code", shape.name)


def client_error(code, message="what the service said", status=400, operation="ListFaces"):
    return botocore.exceptions.ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation
    )


@pytest.mark.parametrize("code", sorted(set(modelled_codes())))
def test_every_code_of_an_operation_that_we_call_was_decided_on(code):
    assert code in CODES


def test_an_exception_of_botocore_that_nobody_named_is_still_an_error_of_aws():
    with pytest.raises(AwsError) as caught, translated("rekognition"):
        raise botocore.exceptions.UnknownSignatureVersionError(signature_version="v9")
    assert type(caught.value) is AwsError
    assert "report" in caught.value.remedy


def test_no_name_in_the_table_is_misspelt():
    there = {kind.__name__ for kind in descendants(Exception)}
    assert set(EXCEPTIONS) <= there


def test_every_class_of_ours_is_used_and_every_rule_but_our_own_faults_has_a_remedy():
    rules = [*CODES.values(), *EXCEPTIONS.values()]
    used = {kind for kind, _ in rules} | {AwsError}
    assert {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AwsError)} <= used
    assert all(remedy for kind, remedy in rules if kind is not InvalidRequest)


@pytest.mark.parametrize(
    ("code", "message", "remedy"),
    [
        ("InvalidSignatureException", "Signature expired: 20260101T120000Z is now earlier than 2", "clock"),
        ("InvalidSignatureException", "Signature not yet current: 20260101T130000Z is still later than 1", "clock"),
        ("InvalidSignatureException", "The request signature we calculated does not match", "get-caller-identity"),
        ("RequestTimeTooSkewed", "The difference between the times is too large", "clock"),
        ("ExpiredTokenException", "The security token included in the request is expired", "Renew"),
    ],
)
def test_a_wrong_clock_is_told_from_a_wrong_key(code, message, remedy):
    with pytest.raises(CredentialsError) as caught, translated("rekognition"):
        raise client_error(code, message)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ResourceNotFoundException", 400, ResourceNotFound),
        ("ThrottlingException", 400, Throttled),
        ("ProvisionedThroughputExceededException", 400, Throttled),
        ("SlowDown", 503, Throttled),
        ("InternalServerError", 500, ServiceUnavailable),
        ("ExpiredTokenException", 400, CredentialsError),
        ("AccessDeniedException", 400, AccessDenied),
        ("InvalidParameterException", 400, InvalidRequest),
        ("SomethingNew", 400, AwsError),
        ("SomethingNew", 403, AccessDenied),
        ("SomethingNew", 404, ResourceNotFound),
        ("SomethingNew", 429, Throttled),
        ("SomethingNew", 503, ServiceUnavailable),
    ],
)
def test_a_client_error_becomes_ours(code, status, kind):
    assert rule_for_code(code, status).kind is kind
    with pytest.raises(kind) as caught, translated("rekognition", "collection school"):
        raise client_error(code, status=status)
    assert type(caught.value) is kind
    assert caught.value.place == {"operation": "rekognition:ListFaces", "code": code}
    assert "rekognition:ListFaces" in str(caught.value)
    assert isinstance(caught.value.__cause__, botocore.exceptions.ClientError)


def test_neither_arn_nor_key_is_repeated(approved):
    with pytest.raises(AccessDenied) as denied, translated("rekognition", "collection school"):
        raise client_error("AccessDeniedException", "User: arn:aws:iam::123456789012:user/jane is not authorized")
    assert denied.value.place == {"operation": "rekognition:ListFaces", "code": "AccessDeniedException"}
    for secret in ("arn:", "123456789012", "jane"):
        assert secret not in denied.value.message + denied.value.remedy
    approved(denied.value)
    with pytest.raises(CredentialsError) as refused, translated("s3"):
        raise client_error("SignatureDoesNotMatch", "AWSAccessKeyId AKIAEXAMPLE StringToSign ...")
    assert "AKIA" not in str(refused.value)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (botocore.exceptions.NoCredentialsError(), CredentialsError),
        (botocore.exceptions.TokenRetrievalError(provider="sso", error_msg="secret words"), CredentialsError),
        (botocore.exceptions.ProfileNotFound(profile="nobody"), SettingsError),
        (botocore.exceptions.NoRegionError(), SettingsError),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="https://x"), ServiceUnavailable),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="https://x"), ServiceUnavailable),
        (botocore.exceptions.ParamValidationError(report="FaceId is missing"), InvalidRequest),
        (ResponseParserError("<html>"), ServiceUnavailable),
    ],
)
def test_what_happens_before_any_answer_becomes_ours(error, kind):
    with pytest.raises(SeedtoolError) as caught, translated("rekognition"):
        raise error
    assert type(caught.value) is kind
    assert "secret words" not in str(caught.value)


def test_other_exceptions_pass():
    with pytest.raises(ZeroDivisionError), translated("rekognition"):
        raise ZeroDivisionError
