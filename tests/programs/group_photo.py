"""python group_photo.py PHOTO COLLECTION: who is on a group photo, from left to right"""

import io
import json
import sys

import boto3
from PIL import Image

MARGIN = 0.1
MIN_SIZE = 80


def crop_face(image, box, margin=MARGIN):
    width, height = image.size
    left = (box["Left"] - box["Width"] * margin) * width
    top = (box["Top"] - box["Height"] * margin) * height
    right = (box["Left"] + box["Width"] * (1 + margin)) * width
    bottom = (box["Top"] + box["Height"] * (1 + margin)) * height
    face = image.crop((max(0, int(left)), max(0, int(top)), min(width, int(right)), min(height, int(bottom))))
    if min(face.size) < MIN_SIZE:  # Rekognition wants at least 80 pixels
        scale = MIN_SIZE / min(face.size)
        face = face.resize((round(face.width * scale) + 1, round(face.height * scale) + 1), Image.LANCZOS)
    buffer = io.BytesIO()
    face.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def recognize(path, collection_id):
    client = boto3.client("rekognition")
    with open(path, "rb") as file:
        data = file.read()
    image = Image.open(io.BytesIO(data)).convert("RGB")
    people = []
    faces = client.detect_faces(Image={"Bytes": data}, Attributes=["DEFAULT"])["FaceDetails"]
    for face in sorted(faces, key=lambda face: face["BoundingBox"]["Left"]):
        try:
            result = client.search_faces_by_image(
                CollectionId=collection_id,
                Image={"Bytes": crop_face(image, face["BoundingBox"])},
                MaxFaces=1,
                FaceMatchThreshold=80,
            )
        except client.exceptions.InvalidParameterException:
            people.append(None)  # no face in the crop
            continue
        matches = result["FaceMatches"]
        people.append(matches[0]["Face"]["ExternalImageId"] if matches else None)
    return people


if __name__ == "__main__":
    print(json.dumps(recognize(sys.argv[1], sys.argv[2])))
