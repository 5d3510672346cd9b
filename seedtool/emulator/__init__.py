"""A local Amazon Rekognition: the ten face-collection operations over the AWS wire protocol.

It proves plumbing, not recognition: people are told apart by the names written into pictures (MWG face
regions), or, without them, by recognising the same picture again. See `seedtool.emulator.vision`.

`process` starts, finds and stops it as a background process and imports nothing heavy; `server.run` is the
program itself. The package imports nothing from the rest of seedtool.
"""
