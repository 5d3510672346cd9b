"""AWS behind one door: one place for clients, one gateway to Rekognition, one limiter, one translation of errors."""

from seedtool.faces.aws.session import ATTEMPTS, EMBEDDED_REGION, Aws, Identity

__all__ = ["ATTEMPTS", "EMBEDDED_REGION", "Aws", "Identity"]
