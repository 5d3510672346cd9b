"""Pictures as Rekognition takes them: `fitting` makes them so, `regions` keeps who is where in one that is turned."""

from seedtool.faces.pictures.fitting import LIMIT, MOST_PIXELS, Picture, prepare_image

__all__ = ["LIMIT", "MOST_PIXELS", "Picture", "prepare_image"]
