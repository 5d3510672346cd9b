"""A local Amazon Rekognition: the operations on faces, collections and users, over AWS's own protocol.

It lets programs be tested without an account and a network. It knows people by the names in the metadata of pictures
(MWG face regions), and otherwise recognises only the same picture again. It does not recognise real faces.

`process` starts, finds and stops it in the background and imports nothing heavy. `server.run` runs it in this process.
The package imports nothing from the rest of seedtool.
"""
