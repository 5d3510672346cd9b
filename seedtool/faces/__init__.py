"""Faces in AWS Rekognition and the rows that point at them."""
