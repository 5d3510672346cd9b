"""AWS behind one door: one place for clients, one gateway to Rekognition, one limiter, one translation of errors."""

from seedtool.faces.rekognition.endpoint import Identity
from seedtool.faces.rekognition.session import ATTEMPTS, EMBEDDED_REGION, Aws

__all__ = ["ATTEMPTS", "EMBEDDED_REGION", "Aws", "Identity"]
