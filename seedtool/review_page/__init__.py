"""The review page: on this machine, in a browser, people say who is on the photos of the photo library."""
