"""The SQL of linking.

What is completed in each: {rows}, a table's rows (see `Bound.rows`) with the number of their collection, NULL where it
does not exist; {target}, the join to the face that a row `r` should have, as `c`; {temporary}, the prefix of temporary
faces.
"""

DROP = """
DROP TABLE IF EXISTS pg_temp.seedtool_chosen, pg_temp.seedtool_fit, pg_temp.seedtool_open, pg_temp.seedtool_extra,
    pg_temp.seedtool_shared, pg_temp.seedtool_planned, pg_temp.seedtool_stray, pg_temp.seedtool_unsure,
    pg_temp.seedtool_without, pg_temp.seedtool_unlinked"""

ROWS = """
(SELECT r.*, k.number AS collection FROM {rows} r LEFT JOIN pg_temp.seedtool_collections k ON k.id = r.collection_id)"""

# A face that moved between pages may have been listed twice: several means several FaceIds.
CHOSEN = """
CREATE TEMPORARY TABLE seedtool_chosen ON COMMIT DROP AS
SELECT collection, external_image_id, min(face_id) AS face_id, min(face_id) <> max(face_id) AS several
FROM pg_temp.seedtool_listed
WHERE external_image_id IS NOT NULL AND NOT starts_with(external_image_id, {temporary})
GROUP BY collection, external_image_id"""

SETTLE_SEVERAL = """
UPDATE pg_temp.seedtool_chosen c SET face_id = best.face_id
FROM (
    SELECT DISTINCT ON (l.collection, l.external_image_id) l.collection, l.external_image_id, l.face_id
    FROM pg_temp.seedtool_listed l
    JOIN pg_temp.seedtool_chosen d
        ON d.several AND d.collection = l.collection AND d.external_image_id = l.external_image_id
    LEFT JOIN {rows} r
        ON r.collection = l.collection AND r.external_image_id = l.external_image_id AND r.face_id = l.face_id
    ORDER BY l.collection, l.external_image_id, r.face_id IS NULL, l.confidence DESC, l.face_id
) best
WHERE c.several AND c.collection = best.collection AND c.external_image_id = best.external_image_id"""

SHARED = """
CREATE TEMPORARY TABLE seedtool_shared ON COMMIT DROP AS
SELECT collection, external_image_id FROM {rows} r WHERE external_image_id IS NOT NULL AND collection IS NOT NULL
GROUP BY collection, external_image_id HAVING count(*) > 1"""

DROP_SHARED = """
DELETE FROM pg_temp.seedtool_chosen c USING pg_temp.seedtool_shared s
WHERE s.collection = c.collection AND s.external_image_id = c.external_image_id"""

# With boxes rows may share an id.
NONE_SHARED = """
CREATE TEMPORARY TABLE seedtool_shared (collection int, external_image_id text COLLATE "C") ON COMMIT DROP"""

COUNTS = """
SELECT r.collection_id, count(*) AS rows,
    count(*) FILTER (WHERE c.face_id IS NOT NULL AND r.face_id IS NULL) AS synced,
    count(*) FILTER (WHERE c.face_id <> r.face_id) AS relinked,
    count(*) FILTER (WHERE c.face_id = r.face_id) AS unchanged,
    count(*) FILTER (WHERE c.face_id IS NULL AND r.face_id IS NOT NULL) AS unsure,
    count(*) FILTER (WHERE c.face_id IS NULL AND r.face_id IS NULL) AS without
FROM {rows} r {target} GROUP BY 1 ORDER BY 1"""

# Rows with a real FaceId and no face under their own id. They come into a table first, as those without a face do: the
# planner takes either for one row at most, and would loop over the collection for each.
STRAY = """
CREATE TEMPORARY TABLE seedtool_stray ON COMMIT DROP AS
SELECT r.key, {keys}, r.collection_id, r.collection, r.external_image_id, r.face_id
FROM {rows} r {target} WHERE c.face_id IS NULL AND r.face_id IS NOT NULL"""

ANALYZE_STRAY = "ANALYZE pg_temp.seedtool_stray"

# Whose face is it? A row without an id of its own, as writers from before revision 0003 leave them, is believed.
UNSURE = """
CREATE TEMPORARY TABLE seedtool_unsure ON COMMIT DROP AS
SELECT r.key, {keys}, r.collection_id, r.face_id, bool_or(l.face_id IS NOT NULL) AS listed,
    bool_or(o.external_image_id IS NOT NULL) AS others
FROM pg_temp.seedtool_stray r
LEFT JOIN pg_temp.seedtool_listed l ON l.collection = r.collection AND l.face_id = r.face_id
LEFT JOIN {rows} o ON o.collection = l.collection AND o.external_image_id = l.external_image_id
    AND o.external_image_id <> r.external_image_id
GROUP BY r.key, {keys}, r.collection_id, r.face_id"""

MISASSIGNED = "SELECT collection_id, key AS id FROM pg_temp.seedtool_unsure WHERE others"
# A face that another row of the same photo has is no longer this row's: told, and left as it is.
ELSEWHERE = "SELECT collection_id, key AS id FROM pg_temp.seedtool_unsure WHERE listed AND NOT others"
MISSING = "SELECT collection_id, key AS id FROM pg_temp.seedtool_unsure WHERE NOT listed"

UNASSIGN = """
UPDATE {table} t SET {face_id} = {empty}
FROM pg_temp.seedtool_unsure u WHERE u.others AND {same_u} AND u.face_id = t.{face_id}::text"""

PLANNED = """
CREATE TEMPORARY TABLE seedtool_planned ON COMMIT DROP AS
SELECT {keys}, r.external_image_id, c.face_id
FROM {rows} r {target} WHERE c.face_id IS NOT NULL AND r.face_id IS DISTINCT FROM c.face_id"""

LET_GO = """
UPDATE {table} t SET {face_id} = {empty}
FROM pg_temp.seedtool_planned p WHERE {same_p} AND p.external_image_id = t.{external_image_id}::text COLLATE "C" """

# whoever changed the row's image since it was read knows better
UPDATE = """
UPDATE {table} t SET {face_id} = p.face_id::{face_type}
FROM pg_temp.seedtool_planned p WHERE {same_p} AND p.external_image_id = t.{external_image_id}::text COLLATE "C" """

WITHOUT = """
CREATE TEMPORARY TABLE seedtool_without ON COMMIT DROP AS
SELECT r.key, r.collection_id, r.collection, r.external_image_id, r.photo_url, {unmatched} AS unmatched
FROM {rows} r {target} WHERE r.face_id IS NULL AND c.face_id IS NULL"""

ANALYZE_WITHOUT = "ANALYZE pg_temp.seedtool_without"

# "Indexed otherwise": the photo's own path or the id in another spelling, all but letters and digits set aside.
UNLINKED = """
CREATE TEMPORARY TABLE seedtool_unlinked ON COMMIT DROP AS
WITH orphan AS (
    SELECT l.collection, lower(regexp_replace(l.external_image_id, '[^a-zA-Z0-9]+', '', 'g')) AS bare,
        min(l.external_image_id) AS external_image_id
    FROM pg_temp.seedtool_listed l
    WHERE NOT EXISTS (
        SELECT FROM {rows} r WHERE r.collection = l.collection AND r.external_image_id = l.external_image_id)
    GROUP BY 1, 2
), spelling AS (
    SELECT r.key, r.collection, lower(regexp_replace(unnest(ARRAY[
        r.external_image_id, r.photo_url, regexp_replace(r.photo_url, '\\.[a-zA-Z]+$', '')
    ]), '[^a-zA-Z0-9]+', '', 'g')) AS bare
    FROM pg_temp.seedtool_without r
), otherwise AS (
    SELECT s.key, min(o.external_image_id) AS external_image_id
    FROM spelling s JOIN orphan o ON o.collection = s.collection AND o.bare = s.bare GROUP BY s.key
), indexed AS (
    SELECT DISTINCT r.key
    FROM pg_temp.seedtool_without r
    JOIN pg_temp.seedtool_listed l ON l.collection = r.collection AND l.external_image_id = r.external_image_id
    WHERE NOT starts_with(l.external_image_id, {temporary})
)
SELECT r.key, r.collection_id, r.external_image_id, o.external_image_id AS instead, CASE
    WHEN r.collection IS NULL THEN 'no collection'
    WHEN r.external_image_id IS NULL THEN 'no id'
    WHEN s.external_image_id IS NOT NULL THEN 'shared'
    WHEN i.key IS NOT NULL THEN r.unmatched
    WHEN o.external_image_id IS NOT NULL THEN 'indexed otherwise'
    ELSE 'not indexed' END AS why
FROM pg_temp.seedtool_without r
LEFT JOIN pg_temp.seedtool_shared s ON s.collection = r.collection AND s.external_image_id = r.external_image_id
LEFT JOIN otherwise o ON o.key = r.key
LEFT JOIN indexed i ON i.key = r.key"""

REASONS = "SELECT collection_id, why, count(*) FROM pg_temp.seedtool_unlinked GROUP BY 1, 2 ORDER BY 1, 2"

FIRST_UNLINKED = """
SELECT collection_id, key, external_image_id, why, instead FROM (
    SELECT *, row_number() OVER (PARTITION BY collection_id ORDER BY why, external_image_id, key) AS place
    FROM pg_temp.seedtool_unlinked
) u WHERE place <= {examples} ORDER BY collection_id, place"""

DUPLICATES = """
SELECT DISTINCT k.id AS collection_id, l.external_image_id || ' ' || l.face_id AS id
FROM pg_temp.seedtool_listed l
JOIN pg_temp.seedtool_collections k ON k.number = l.collection
JOIN pg_temp.seedtool_chosen c ON c.several AND c.collection = l.collection
    AND c.external_image_id = l.external_image_id AND c.face_id <> l.face_id
WHERE EXISTS (SELECT FROM {rows} r WHERE r.collection = l.collection AND r.external_image_id = l.external_image_id)"""

ORPHANS = """
SELECT k.id AS collection_id, l.external_image_id AS id
FROM pg_temp.seedtool_listed l JOIN pg_temp.seedtool_collections k ON k.number = l.collection
WHERE l.collection = ANY ({numbers}) AND NOT starts_with(l.external_image_id, {temporary}) AND NOT EXISTS (
    SELECT FROM {known} r WHERE r.collection = l.collection AND r.external_image_id = l.external_image_id)"""

# Faces of a known photo that are no row's, and whether a linked face lies in the same place: the intersection is at
# least half of the union when three times it is at least the sum of the two.
EXTRA = """
CREATE TEMPORARY TABLE seedtool_extra ON COMMIT DROP AS
SELECT DISTINCT l.collection, l.external_image_id, l.face_id, EXISTS (
    SELECT FROM pg_temp.seedtool_fit f
    JOIN pg_temp.seedtool_listed o ON o.collection = f.collection AND o.face_id = f.face_id
    WHERE o.collection = l.collection AND o.external_image_id = l.external_image_id
        AND 3
            * greatest(0, least(l.box_left + l.box_width, o.box_left + o.box_width) - greatest(l.box_left, o.box_left))
            * greatest(0, least(l.box_top + l.box_height, o.box_top + o.box_height) - greatest(l.box_top, o.box_top))
            >= l.box_width * l.box_height + o.box_width * o.box_height) AS again
FROM pg_temp.seedtool_listed l
WHERE NOT EXISTS (SELECT FROM pg_temp.seedtool_fit f WHERE f.collection = l.collection AND f.face_id = l.face_id)
    AND NOT starts_with(l.external_image_id, {temporary})
    AND EXISTS (SELECT FROM {rows} r WHERE r.collection = l.collection AND r.external_image_id = l.external_image_id)"""

BOX_DUPLICATES = """
SELECT k.id AS collection_id, e.external_image_id || ' ' || e.face_id AS id
FROM pg_temp.seedtool_extra e JOIN pg_temp.seedtool_collections k ON k.number = e.collection WHERE e.again"""

BOX_ORPHANS = (
    ORPHANS
    + """
UNION ALL
SELECT k.id, e.external_image_id || ' ' || e.face_id
FROM pg_temp.seedtool_extra e JOIN pg_temp.seedtool_collections k ON k.number = e.collection WHERE NOT e.again"""
)

UNNAMED = """
SELECT k.id AS collection_id, l.face_id AS id
FROM pg_temp.seedtool_listed l JOIN pg_temp.seedtool_collections k ON k.number = l.collection
WHERE l.collection = ANY ({numbers}) AND l.external_image_id IS NULL
    AND NOT EXISTS (SELECT FROM {rows} r WHERE r.collection = l.collection AND r.face_id = l.face_id)"""

TEMPORARY = """
SELECT k.id AS collection_id, l.external_image_id AS id
FROM pg_temp.seedtool_listed l JOIN pg_temp.seedtool_collections k ON k.number = l.collection
WHERE l.collection = ANY ({numbers}) AND starts_with(l.external_image_id, {temporary})"""

TALLY = """
SELECT collection_id, max(total), array_agg(id ORDER BY id) FROM (
    SELECT collection_id, id, row_number() OVER (PARTITION BY collection_id ORDER BY id) AS place,
        count(*) OVER (PARTITION BY collection_id) AS total
    FROM ({query}) q
) q WHERE place <= {examples} GROUP BY collection_id"""
