"""Reset a PostgreSQL database in milliseconds, seed it, and link its faces to AWS Rekognition again."""

__version__ = "0.1.0"
