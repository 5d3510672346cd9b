"""python user_vectors.py enroll FOLDER | find PHOTO | forget USER"""

import sys
import time
import uuid
from pathlib import Path

import boto3

COLLECTION_ID = "members"
rek = boto3.client("rekognition")


def wait_until_active(user_id):
    for _ in range(20):
        for page in rek.get_paginator("list_users").paginate(CollectionId=COLLECTION_ID):
            for user in page["Users"]:
                if user["UserId"] == user_id and user["UserStatus"] == "ACTIVE":
                    return
        time.sleep(0.5)
    raise RuntimeError(f"{user_id} did not become active")


def enroll(folder):
    """FOLDER/<user>/<photo>.jpg"""
    if COLLECTION_ID not in rek.list_collections()["CollectionIds"]:
        rek.create_collection(CollectionId=COLLECTION_ID, Tags={"app": "members"})
    for person in sorted(path for path in Path(folder).iterdir() if path.is_dir()):
        try:
            rek.create_user(CollectionId=COLLECTION_ID, UserId=person.name, ClientRequestToken=str(uuid.uuid4()))
        except rek.exceptions.ConflictException:
            print(f"{person.name} exists")
        face_ids = []
        for photo in sorted(person.glob("*.jpg")):
            indexed = rek.index_faces(
                CollectionId=COLLECTION_ID, Image={"Bytes": photo.read_bytes()}, MaxFaces=1, ExternalImageId=photo.stem
            )
            face_ids += [record["Face"]["FaceId"] for record in indexed["FaceRecords"]]
        answer = rek.associate_faces(
            CollectionId=COLLECTION_ID, UserId=person.name, FaceIds=face_ids, UserMatchThreshold=75
        )
        for failed in answer["UnsuccessfulFaceAssociations"]:
            print(f"{person.name}: {failed['FaceId']} {', '.join(failed['Reasons'])}")
        wait_until_active(person.name)
        print(f"{person.name}: {len(answer['AssociatedFaces'])} faces")


def find(photo):
    answer = rek.search_users_by_image(
        CollectionId=COLLECTION_ID, Image={"Bytes": Path(photo).read_bytes()}, UserMatchThreshold=80, MaxUsers=1
    )
    for match in answer["UserMatches"]:
        print(f"{match['User']['UserId']} {match['Similarity']:.0f}")
    if not answer["UserMatches"]:
        print("nobody")


def forget(user_id):
    faces = rek.list_faces(CollectionId=COLLECTION_ID, UserId=user_id)["Faces"]
    face_ids = [face["FaceId"] for face in faces]
    rek.disassociate_faces(CollectionId=COLLECTION_ID, UserId=user_id, FaceIds=face_ids)
    rek.delete_user(CollectionId=COLLECTION_ID, UserId=user_id)
    rek.delete_faces(CollectionId=COLLECTION_ID, FaceIds=face_ids)
    print(f"forgot {user_id} and {len(face_ids)} faces")


if __name__ == "__main__":
    {"enroll": enroll, "find": find, "forget": forget}[sys.argv[1]](*sys.argv[2:])
