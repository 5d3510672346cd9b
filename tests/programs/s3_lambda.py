import json
import logging
import os
import urllib.parse

import boto3
from botocore.exceptions import ClientError

logger = logging.getLogger()
rekognition = boto3.client("rekognition")

COLLECTION = os.environ.get("COLLECTION", "employees")


def index_employee(bucket, key):
    # employees/ana_soto.jpg
    name = os.path.splitext(os.path.basename(key))[0]
    response = rekognition.index_faces(
        CollectionId=COLLECTION,
        Image={"S3Object": {"Bucket": bucket, "Name": key}},
        ExternalImageId=name,
        MaxFaces=1,
    )
    return {"indexed": name, "faces": len(response["FaceRecords"])}


def identify_visitor(bucket, key):
    response = rekognition.search_faces_by_image(
        CollectionId=COLLECTION, Image={"S3Object": {"Bucket": bucket, "Name": key}}, MaxFaces=1
    )
    for match in response["FaceMatches"]:
        return {"visitor": match["Face"]["ExternalImageId"], "confidence": match["Face"]["Confidence"]}
    return {"visitor": None}


def lambda_handler(event, context):
    results = []
    for record in event["Records"]:
        bucket = record["s3"]["bucket"]["name"]
        key = urllib.parse.unquote_plus(record["s3"]["object"]["key"], encoding="utf-8")
        try:
            results.append(
                index_employee(bucket, key) if key.startswith("employees/") else identify_visitor(bucket, key)
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            logger.error("%s/%s: %s", bucket, key, error)
            results.append({"error": code, "key": key})
    return {"statusCode": 200, "body": json.dumps(results)}
