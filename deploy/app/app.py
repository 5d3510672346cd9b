"""An application that recognises who is on a photo in S3, as it would with AWS."""

import boto3

rekognition = boto3.client("rekognition")
if "school" not in rekognition.list_collections()["CollectionIds"]:
    rekognition.create_collection(CollectionId="school")
rekognition.index_faces(
    CollectionId="school",
    Image={"S3Object": {"Bucket": "school", "Name": "ana-1.jpg"}},
    ExternalImageId="ana",
)
found = rekognition.search_faces_by_image(
    CollectionId="school",
    Image={"S3Object": {"Bucket": "school", "Name": "ana-2.jpg"}},
)
for match in found["FaceMatches"]:
    print(f"{match['Face']['ExternalImageId']} at {match['Similarity']:.1f} %")
