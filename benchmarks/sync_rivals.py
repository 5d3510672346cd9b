"""What `sync-faces` is measured beside: processes of their own, so that starting Python counts for both sides.

.venv/bin/python benchmarks/sync_rivals.py paginator URL
.venv/bin/python benchmarks/sync_rivals.py update URL CONNINFO TABLE
"""

import sys

COLLECTION = "bench"


def paginator(url: str) -> None:
    """Page with boto3 and throw the pages away."""
    import boto3

    client = boto3.client("rekognition", endpoint_url=url)
    pages = client.get_paginator("list_faces").paginate(CollectionId=COLLECTION, PaginationConfig={"PageSize": 4096})
    print(sum(len(page["Faces"]) for page in pages))


def update(url: str, conninfo: str, table: str) -> None:
    """Page with our parser, throw the pages away, and write what a table already says."""
    import psycopg
    from botocore.session import Session

    from seedtool.faces.rekognition.answers import PageParserFactory
    from seedtool.faces.rekognition.collection import Collection

    session = Session()
    session.register_component("response_parser_factory", PageParserFactory())
    collection = Collection(session.create_client("rekognition", endpoint_url=url), COLLECTION)
    print(sum(map(len, collection.list_pages())))
    with psycopg.connect(conninfo) as connection:
        print(
            connection.execute(
                f"UPDATE student_faces t SET face_id = r.face_id FROM {table} r"
                " WHERE r.external_image_id = t.external_image_id"
            ).rowcount
        )


if __name__ == "__main__":
    {"paginator": paginator, "update": update}[sys.argv[1]](*sys.argv[2:])
