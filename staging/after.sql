-- What makes staging's outward side safe. It runs when the masked rows are there, and before the proof looks.

-- the default names production's collection of faces
ALTER TABLE students ALTER COLUMN aws_collection_id SET DEFAULT 'eduguard-school-staging';
