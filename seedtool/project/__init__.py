"""A project as a whole: is everything in order, and how does an existing one adopt seedtool?"""
