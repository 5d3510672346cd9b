"""What each operation answers, over boto3 and HTTP; the client fixture holds every answer against the model."""

import datetime as dt
import json
import re
import time
import urllib.error
import urllib.request
import uuid

import pytest
from botocore.exceptions import ClientError

NOBODY = "00000000-0000-4000-8000-000000000000"


def refused(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def index(client, collection, content, external_id=None, **more):
    if external_id:
        more["ExternalImageId"] = external_id
    answer = client.index_faces(CollectionId=collection, Image={"Bytes": content}, **more)
    return [record["Face"] for record in answer["FaceRecords"]]


def search(client, collection, content, **more):
    answer = client.search_faces_by_image(CollectionId=collection, Image={"Bytes": content}, **more)
    return {match["Face"].get("ExternalImageId"): match["Similarity"] for match in answer["FaceMatches"]}


def test_a_collection_from_creation_to_deletion(rekognition):
    made = rekognition.create_collection(CollectionId="life", Tags={"año": "Ñuñoa 2025"})
    assert made["StatusCode"] == 200
    assert made["FaceModelVersion"] == "7.0"
    assert made["CollectionArn"] == "aws:rekognition:us-east-1:123456789012:collection/life"
    described = rekognition.describe_collection(CollectionId="life")
    assert described["CollectionARN"] == "arn:aws:rekognition:us-east-1:123456789012:collection/life"
    assert (described["FaceCount"], described["UserCount"], described["FaceModelVersion"]) == (0, 0, "7.0")
    age = dt.datetime.now(dt.UTC) - described["CreationTimestamp"]
    assert abs(age) < dt.timedelta(minutes=1)
    assert "life" in rekognition.list_collections()["CollectionIds"]
    assert refused(rekognition.create_collection, CollectionId="life") == (
        "ResourceAlreadyExistsException",
        "The collection id: life already exists",
    )
    assert rekognition.delete_collection(CollectionId="life")["StatusCode"] == 200
    assert "life" not in rekognition.list_collections()["CollectionIds"]


def test_times_are_epoch_seconds_with_their_fraction(emulator, collection):
    request = urllib.request.Request(
        emulator.endpoint,
        json.dumps({"CollectionId": collection}).encode(),
        {"X-Amz-Target": "RekognitionService.DescribeCollection", "Content-Type": "application/x-amz-json-1.1"},
    )
    with urllib.request.urlopen(request) as answer:
        created = json.loads(answer.read())["CreationTimestamp"]
    assert isinstance(created, float)
    assert abs(created - time.time()) < 60


def test_a_missing_collection_is_reported_in_each_operations_own_words(rekognition, picture):
    image = {"Bytes": picture(1)}
    gone = ("ResourceNotFoundException", "The collection id: nowhere does not exist")
    at = {"CollectionId": "nowhere"}
    assert refused(rekognition.describe_collection, **at) == (
        "ResourceNotFoundException",
        "Collection:nowhere not found!",
    )
    assert refused(rekognition.delete_collection, **at) == gone
    assert refused(rekognition.list_faces, **at) == gone
    assert refused(rekognition.index_faces, Image=image, **at) == gone
    assert refused(rekognition.search_faces, FaceId=NOBODY, **at) == gone
    assert refused(rekognition.search_faces_by_image, Image=image, **at) == gone
    assert refused(rekognition.delete_faces, FaceIds=[NOBODY], **at) == gone


def test_collections_are_paged_with_tokens_of_their_own(emulator, connect):
    client = connect(emulator.endpoint, region="sa-east-1")
    names = [f"paged-{n}" for n in range(5)]
    for name in names:
        client.create_collection(CollectionId=name)
    pages = list(client.get_paginator("list_collections").paginate(PaginationConfig={"PageSize": 2}))
    assert [len(page["CollectionIds"]) for page in pages] == [2, 2, 1]
    assert [name for page in pages for name in page["CollectionIds"]] == names
    assert all(len(page["FaceModelVersions"]) == len(page["CollectionIds"]) for page in pages)
    token = pages[0]["NextToken"]
    elsewhere = connect(emulator.endpoint, region="sa-east-1", key="999999999999")
    assert refused(elsewhere.list_collections, NextToken=token)[0] == "InvalidPaginationTokenException"
    assert refused(client.list_faces, CollectionId=names[0], NextToken=token)[0] == "InvalidPaginationTokenException"


def test_accounts_and_regions_do_not_see_each_other(emulator, connect):
    here = connect(emulator.endpoint, region="eu-west-1")
    here.create_collection(CollectionId="mine")
    assert here.list_collections()["CollectionIds"] == ["mine"]
    assert connect(emulator.endpoint, region="eu-west-1", key="another").list_collections()["CollectionIds"] == ["mine"]
    assert connect(emulator.endpoint, region="eu-west-2").list_collections()["CollectionIds"] == []
    other = connect(emulator.endpoint, region="eu-west-1", key="111122223333")
    assert other.list_collections()["CollectionIds"] == []
    assert ":111122223333:" in other.create_collection(CollectionId="mine")["CollectionArn"]


def test_the_same_picture_under_the_same_id_is_one_face(rekognition, collection, picture):
    content = picture("one", "Ana Soto", "Beto Díaz")
    first = index(rekognition, collection, content, "s-1")
    assert len(first) == 2
    assert index(rekognition, collection, content, "s-1") == first
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 2
    assert len({face["ImageId"] for face in first}) == 1
    assert all(uuid.UUID(face["FaceId"]).version == 4 for face in first)
    again = index(rekognition, collection, content, "s-2") + index(rekognition, collection, content)
    again += index(rekognition, collection, content)
    assert len({face["FaceId"] for face in first + again}) == 8
    assert "ExternalImageId" not in again[-1]


def test_fewer_faces_first_and_all_later_keeps_the_first(rekognition, collection, picture):
    content = picture("crowd", "A", "B", "C")
    (one,) = index(rekognition, collection, content, "s-1", MaxFaces=1)
    every = index(rekognition, collection, content, "s-1")
    assert len(every) == 3
    assert one in every


def test_list_faces_answers_what_index_faces_saved(rekognition, collection, picture):
    saved = index(rekognition, collection, picture("x", "Ana", "Beto"), "x") + index(
        rekognition, collection, picture("y")
    )
    listed = rekognition.list_faces(CollectionId=collection)
    assert listed["Faces"] == sorted(saved, key=lambda face: face["FaceId"])
    assert listed["FaceModelVersion"] == "7.0"
    assert "NextToken" not in listed
    some = [saved[2]["FaceId"], NOBODY, saved[0]["FaceId"]]
    found = rekognition.list_faces(CollectionId=collection, FaceIds=some)["Faces"]
    assert {face["FaceId"] for face in found} == {saved[0]["FaceId"], saved[2]["FaceId"]}
    assert rekognition.list_faces(CollectionId=collection, UserId="nobody")["Faces"] == []


def test_a_token_is_good_for_its_collection_and_filter_only(rekognition, collection, picture):
    ids = [index(rekognition, collection, picture(n), f"s-{n}")[0]["FaceId"] for n in range(3)]
    token = rekognition.list_faces(CollectionId=collection, MaxResults=1)["NextToken"]
    assert len(token) <= 255
    rekognition.create_collection(CollectionId="foreign")
    for wrong in (
        {"CollectionId": "foreign", "NextToken": token},
        {"CollectionId": collection, "NextToken": token, "FaceIds": ids},
        {"CollectionId": collection, "NextToken": token[:-4] + "AAAA"},
        {"CollectionId": collection, "NextToken": "rubbish"},
        {"CollectionId": collection, "NextToken": ""},
    ):
        assert refused(rekognition.list_faces, **wrong)[0] == "InvalidPaginationTokenException"
    rekognition.delete_collection(CollectionId="foreign")


def test_pages_of_a_filter_and_of_no_size(rekognition, collection, picture):
    ids = [index(rekognition, collection, picture(n), f"s-{n}")[0]["FaceId"] for n in range(5)]
    some = sorted(ids[:3])
    first = rekognition.list_faces(CollectionId=collection, FaceIds=some, MaxResults=2)
    # the same filter in another order is the same filter
    rest = rekognition.list_faces(CollectionId=collection, FaceIds=some[::-1], NextToken=first["NextToken"])
    assert [face["FaceId"] for face in first["Faces"] + rest["Faces"]] == some
    assert len(rekognition.list_faces(CollectionId=collection, MaxResults=0)["Faces"]) == 5


def test_a_token_ends_with_its_collection(rekognition, picture):
    rekognition.create_collection(CollectionId="reborn")
    index(rekognition, "reborn", picture(1, "A", "B"))
    token = rekognition.list_faces(CollectionId="reborn", MaxResults=1)["NextToken"]
    rekognition.delete_collection(CollectionId="reborn")
    rekognition.create_collection(CollectionId="reborn")
    index(rekognition, "reborn", picture(1, "A", "B"))
    assert refused(rekognition.list_faces, CollectionId="reborn", NextToken=token) == (
        "InvalidPaginationTokenException",
        "Invalid Pagination Token",
    )
    rekognition.delete_collection(CollectionId="reborn")


def test_the_threshold_is_eighty_by_default(rekognition, collection, picture):
    index(rekognition, collection, picture(1, "Ana~80"), "at")
    index(rekognition, collection, picture(2, "Ana~79.9"), "below")
    (ana,) = index(rekognition, collection, picture(3, "Ana"), "self")
    assert list(search(rekognition, collection, picture(4, "Ana"))) == ["self", "at"]

    def others(**more):
        matches = rekognition.search_faces(CollectionId=collection, FaceId=ana["FaceId"], **more)["FaceMatches"]
        return [match["Face"]["ExternalImageId"] for match in matches]

    assert others() == ["at"]
    assert others(FaceMatchThreshold=79) == ["at", "below"]


def test_search_finds_the_person_and_never_the_face_asked_for(rekognition, collection, picture):
    (ana,) = index(rekognition, collection, picture(1, "Ana Soto"), "ana-1")
    index(rekognition, collection, picture(2, "Ana Soto"), "ana-2")
    index(rekognition, collection, picture(3, "Ana Soto~88"), "ana-perhaps")
    index(rekognition, collection, picture(1, "Beto Díaz", quality=84), "beto")  # another name on the same pixels
    answer = rekognition.search_faces(CollectionId=collection, FaceId=ana["FaceId"])
    assert answer["SearchedFaceId"] == ana["FaceId"]
    found = [(match["Face"]["ExternalImageId"], match["Similarity"]) for match in answer["FaceMatches"]]
    assert [name for name, _ in found] == ["ana-2", "ana-perhaps"]
    assert found[0][1] >= 97
    assert found[1][1] == 88
    assert (
        answer["FaceMatches"] == rekognition.search_faces(CollectionId=collection, FaceId=ana["FaceId"])["FaceMatches"]
    )

    def names(**more):
        matches = rekognition.search_faces(CollectionId=collection, FaceId=ana["FaceId"], **more)["FaceMatches"]
        similarities = [match["Similarity"] for match in matches]
        assert similarities == sorted(similarities, reverse=True)
        return [match["Face"]["ExternalImageId"] for match in matches]

    assert names(FaceMatchThreshold=90) == ["ana-2"]
    assert names(MaxFaces=1) == ["ana-2"]
    assert names(FaceMatchThreshold=0) == ["ana-2", "ana-perhaps", "beto"]
    assert refused(rekognition.search_faces, CollectionId=collection, FaceId=NOBODY) == (
        "InvalidParameterException",
        "faceId was not found in the collection.",
    )


def test_an_unlabelled_copy_of_a_labelled_portrait_is_recognised(rekognition, collection, picture):
    index(rekognition, collection, picture("face", "Ana Soto", file_format="PNG"), "ana")
    index(rekognition, collection, picture("other", "Beto"), "beto")
    found = search(rekognition, collection, picture("face", quality=40))
    assert list(found) == ["ana"]
    assert found["ana"] > 95
    assert search(rekognition, collection, picture("stranger")) == {}


def test_search_by_image_asks_for_the_largest_face(rekognition, collection, picture):
    index(rekognition, collection, picture(1, "Ana"), "ana")
    index(rekognition, collection, picture(2, "Beto"), "beto")
    group = picture(3, "Ana", "Beto", boxes=[(0.2, 0.5, 0.3, 0.3), (0.7, 0.5, 0.4, 0.5)])
    answer = rekognition.search_faces_by_image(CollectionId=collection, Image={"Bytes": group})
    assert [match["Face"]["ExternalImageId"] for match in answer["FaceMatches"]] == ["beto"]
    assert answer["SearchedFaceBoundingBox"] == {"Left": 0.5, "Top": 0.25, "Width": 0.4, "Height": 0.5}


def test_delete_faces_tells_which_were_not_there(rekognition, collection, picture):
    (face,) = index(rekognition, collection, picture(1), "s-1")
    answer = rekognition.delete_faces(CollectionId=collection, FaceIds=[NOBODY, face["FaceId"], face["FaceId"]])
    assert answer["DeletedFaces"] == [face["FaceId"]]
    assert answer["UnsuccessfulFaceDeletions"] == [{"FaceId": NOBODY, "Reasons": ["FACE_NOT_FOUND"]}]
    assert search(rekognition, collection, picture(1)) == {}
    (again,) = index(rekognition, collection, picture(1), "s-1")
    assert again["FaceId"] != face["FaceId"]


def test_a_collection_has_at_most_fifty_tags(rekognition, collection):
    arn = rekognition.describe_collection(CollectionId=collection)["CollectionARN"]
    many = {f"tag-{number}": "x" for number in range(51)}
    assert (
        refused(rekognition.create_collection, CollectionId="tagged", Tags=many)[0] == "ServiceQuotaExceededException"
    )
    assert "tagged" not in rekognition.list_collections()["CollectionIds"]
    rekognition.tag_resource(ResourceArn=arn, Tags=dict(list(many.items())[:50]))
    assert refused(rekognition.tag_resource, ResourceArn=arn, Tags={"more": ""})[0] == "ServiceQuotaExceededException"
    rekognition.tag_resource(ResourceArn=arn, Tags={"tag-1": "y"})
    tags = rekognition.list_tags_for_resource(ResourceArn=arn)["Tags"]
    assert (len(tags), tags["tag-1"]) == (50, "y")


def test_compare_faces_takes_the_largest_face_of_the_source(rekognition, picture):
    boxes = [(0.25, 0.5, 0.2, 0.3), (0.7, 0.5, 0.4, 0.6)]
    source = {"Bytes": picture(1, "small", "large", boxes=boxes)}
    answer = rekognition.compare_faces(SourceImage=source, TargetImage={"Bytes": picture(2, "large", "small")})
    assert answer["SourceImageFace"]["BoundingBox"]["Width"] == 0.4
    (match,) = answer["FaceMatches"]
    (other,) = answer["UnmatchedFaces"]
    assert match["Face"]["BoundingBox"]["Left"] < other["BoundingBox"]["Left"]
    blind = {"Bytes": picture(3)}
    (match,) = rekognition.compare_faces(SourceImage=blind, TargetImage=blind)["FaceMatches"]
    assert match["Similarity"] > 99
    answer = rekognition.compare_faces(SourceImage=blind, TargetImage={"Bytes": picture(4)}, SimilarityThreshold=0)
    assert answer["UnmatchedFaces"] == []


def test_an_operation_that_is_not_there_is_refused_once_and_by_name(emulator, connect):
    client = connect(emulator.endpoint)
    client.meta.config.retries = {"mode": "standard", "total_max_attempts": 5}
    with pytest.raises(ClientError) as caught:
        client.detect_text(Image={"Bytes": b"x"})
    assert caught.value.response["Error"]["Code"] == "UnknownOperationException"
    assert "moto" in caught.value.response["Error"]["Message"]
    assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 0


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 405), ("POST", "/model/faces", 404)])
def test_another_path_or_method_is_refused_in_the_same_form(emulator, method, path, status):
    request = urllib.request.Request(emulator.endpoint + path, b"{}" if method == "POST" else None, method=method)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    answer = json.loads(caught.value.read())
    assert caught.value.code == status
    assert caught.value.headers["content-type"] == "application/x-amz-json-1.1"
    assert caught.value.headers["x-amzn-ErrorType"] == answer["__type"] == answer["Code"] == "UnknownOperationException"
    assert f"{method} {path}" in answer["Message"]
    caught.value.close()


def test_breaches_of_the_model_are_counted(rekognition):
    code, message = refused(rekognition.list_faces, CollectionId="a b", MaxResults=5000)
    assert code == "ValidationException"
    assert message.startswith("2 validation errors detected: Value 'a b' at 'collectionId' failed")
    assert re.search(r"; Value '5000' at 'maxResults' failed .*less than or equal to 4096$", message)


def test_counters_count_calls(emulator, connect, admin):
    before = admin(emulator.endpoint, "status")["counters"]
    connect(emulator.endpoint).list_collections()
    after = admin(emulator.endpoint, "status")
    assert after["counters"]["ListCollections"] == before["ListCollections"] + 1
    assert after["counters"]["IndexFaces"] == before["IndexFaces"]
    assert after["state"] == str(emulator.state_dir)
    admin(emulator.endpoint, "reset-counters", {})
    assert set(admin(emulator.endpoint, "status")["counters"].values()) == {0}
