"""AWS Rekognition behind the port to face services. Only `seedtool.faces.vendors` imports this folder."""
