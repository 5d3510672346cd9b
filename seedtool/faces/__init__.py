"""Faces in a face service, and the rows that point at them.

- `sync`, `enroll`, `recognize`, `status` and `dedupe` are what the commands do. `linking` is at the heart of them.
- `port` says what a face service can do. `rekognition` implements it, and `vendors` opens it. To add a vendor, write a
  folder beside `rekognition` and an entry in `vendors`.
- `bindings` finds the tables and columns that the settings name.
- `photos` reads and keeps photos, by the schemes of their addresses. To add a store, write a file there and an entry in
  its `SCHEMES`.
- `aws` and `aws_errors` make clients of AWS and translate its errors: for `rekognition`, and for photos in S3.
"""
