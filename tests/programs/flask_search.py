import io
import os

import boto3
from flask import Flask, jsonify, request
from PIL import Image

app = Flask(__name__)
COLLECTION_ID = os.environ.get("COLLECTION_ID", "missing-persons")
rekognition = boto3.client("rekognition")


def prepare_image(upload):
    # phones send huge pictures: make it smaller before we send it to AWS
    image = Image.open(upload.stream).convert("RGB")
    image.thumbnail((800, 800))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=80)
    return buffer.getvalue()


def ensure_collection():
    try:
        rekognition.describe_collection(CollectionId=COLLECTION_ID)
    except rekognition.exceptions.ResourceNotFoundException:
        rekognition.create_collection(CollectionId=COLLECTION_ID)


@app.post("/register")
def register():
    ensure_collection()
    response = rekognition.index_faces(
        CollectionId=COLLECTION_ID,
        Image={"Bytes": prepare_image(request.files["photo"])},
        ExternalImageId=request.form["person_id"],
        MaxFaces=1,
        QualityFilter="AUTO",
        DetectionAttributes=["ALL"],
    )
    if not response["FaceRecords"]:
        return jsonify(error="No face found in the photo"), 422
    record = response["FaceRecords"][0]
    return jsonify(
        face_id=record["Face"]["FaceId"],
        image_id=record["Face"]["ImageId"],
        age=[record["FaceDetail"]["AgeRange"]["Low"], record["FaceDetail"]["AgeRange"]["High"]],
    ), 201


@app.post("/search")
def search():
    try:
        response = rekognition.search_faces_by_image(
            CollectionId=COLLECTION_ID,
            Image={"Bytes": prepare_image(request.files["photo"])},
            FaceMatchThreshold=85,
            MaxFaces=5,
        )
    except rekognition.exceptions.InvalidParameterException:
        return jsonify(error="No face found in the photo"), 422
    except rekognition.exceptions.ResourceNotFoundException:
        return jsonify(error="Nobody is registered yet"), 404
    matches = [
        {"person_id": match["Face"]["ExternalImageId"], "similarity": round(match["Similarity"], 2)}
        for match in response["FaceMatches"]
    ]
    return jsonify(matches=matches)
