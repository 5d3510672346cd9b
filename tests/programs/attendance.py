"""python attendance.py FRAMES COLLECTION CSV: write down who the camera sees, each person once"""

import csv
import io
import sys
import time
from pathlib import Path

import boto3
from PIL import Image

client = boto3.client("rekognition")


def read_frames(folder):
    # the camera writes one picture a second
    for path in sorted(Path(folder).glob("*.png")):
        yield path.stem, Image.open(path)


def encode(frame):
    small = frame.convert("RGB").resize((frame.width // 2, frame.height // 2))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=70)
    return buffer.getvalue()


def main(folder, collection, output):
    present = {}
    skipped = 0
    for name, frame in read_frames(folder):
        try:
            response = client.search_faces_by_image(
                CollectionId=collection, Image={"Bytes": encode(frame)}, MaxFaces=1, FaceMatchThreshold=90
            )
        except client.exceptions.InvalidParameterException:
            skipped += 1  # nobody in front of the camera
            continue
        except client.exceptions.ProvisionedThroughputExceededException:
            time.sleep(1)
            continue
        if response["FaceMatches"]:
            student = response["FaceMatches"][0]["Face"]["ExternalImageId"]
            present.setdefault(student, name)
    with open(output, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["student", "first seen"])
        writer.writerows(sorted(present.items()))
    print(f"{len(present)} present, {skipped} frames without a face")


if __name__ == "__main__":
    main(*sys.argv[1:])
