"""The SQL of linking.

A table's rows are compared with the collection's faces once, in one pass over both. Everything else is about
`seedtool_rest`, which holds what was left over. Where nothing has changed it is empty, however large both are.

Placeholders in the statements: {rows}, a table's rows (see `Bound.rows`) with the number of their collection, NULL
where it does not exist; {marked}, the same, and whether other rows have the external image id, too; {row}, what tells a
row `r` from the others; {numbers}, the table's collections; {temporary}, the prefix of temporary faces.
"""

DROP = """
DROP TABLE IF EXISTS pg_temp.seedtool_shared, pg_temp.seedtool_rest, pg_temp.seedtool_fit, pg_temp.seedtool_open,
    pg_temp.seedtool_extra, pg_temp.seedtool_unsure, pg_temp.seedtool_unlinked"""

ROWS = """
(SELECT r.*, k.number AS collection FROM {rows} r LEFT JOIN pg_temp.seedtool_collections k ON k.id = r.collection_id)"""

# Ids that several rows share. They do not say which face belongs to which row.
SHARED = """
CREATE TEMPORARY TABLE seedtool_shared ON COMMIT DROP AS
SELECT collection, external_image_id FROM {rows} r WHERE external_image_id IS NOT NULL AND collection IS NOT NULL
GROUP BY collection, external_image_id HAVING count(*) > 1"""

NONE_SHARED = """
CREATE TEMPORARY TABLE seedtool_shared (collection int, external_image_id text COLLATE "C") ON COMMIT DROP"""

# The rows, each with whether others share its id. Where a unique index rules that out, nobody looks.
MARKED = """
(SELECT r.*, s.collection IS NOT NULL AS shared FROM {rows} r LEFT JOIN pg_temp.seedtool_shared s
    ON s.collection = r.collection AND s.external_image_id = r.external_image_id)"""
UNMARKED = "(SELECT r.*, false AS shared FROM {rows} r)"

ANALYZE_SHARED = "ANALYZE pg_temp.seedtool_shared"

# Three kinds of lines: a row and a face under its id; a row alone; a face alone. Rows that hold the face under their id
# leave nothing. Of several faces under a row's id the first is the one that it should have. The lines come in the
# rows' own order: the update then visits each page of the table once.
REST = """
CREATE TEMPORARY TABLE seedtool_rest ON COMMIT DROP AS
SELECT r.key IS NOT NULL AS is_row, CASE WHEN l.face_id IS NULL THEN r.key END AS key, {keys}, r.collection_id,
    coalesce(r.collection, l.collection) AS collection, r.external_image_id, r.face_id AS held,
    CASE WHEN l.face_id IS NULL THEN r.photo END AS photo, 'shared' AS unmatched,
    l.face_id, l.external_image_id AS listed_id,
    row_number() OVER (PARTITION BY {row} ORDER BY l.confidence DESC, l.face_id) AS rank
FROM {marked} r
FULL JOIN (SELECT * FROM pg_temp.seedtool_listed WHERE collection = ANY ({numbers})) l
    ON l.collection = r.collection AND l.external_image_id = r.external_image_id
    AND NOT r.shared AND NOT starts_with(l.external_image_id, {temporary})
WHERE coalesce(r.face_id <> l.face_id, true)"""

# The same where boxes say which face a row should have.
REST_BY_BOX = """
CREATE TEMPORARY TABLE seedtool_rest ON COMMIT DROP AS
SELECT true AS is_row, r.key, {keys}, r.collection_id, r.collection, r.external_image_id, r.face_id AS held,
    r.photo, CASE WHEN r.box_width > 0 AND r.box_height > 0 AND r.box_left IS NOT NULL AND r.box_top IS NOT NULL
        THEN 'no overlap' ELSE 'shared' END AS unmatched,
    f.face_id, NULL::text COLLATE "C" AS listed_id, 1 AS rank
FROM {rows} r LEFT JOIN pg_temp.seedtool_fit f ON f.collection = r.collection AND f.key = r.key
WHERE coalesce(r.face_id <> f.face_id, true)
UNION ALL
SELECT false, NULL, {no_keys}, NULL, l.collection, NULL, NULL, NULL, NULL, l.face_id, l.external_image_id, 1
FROM pg_temp.seedtool_listed l
WHERE l.collection = ANY ({numbers}) AND (
    l.external_image_id IS NULL OR starts_with(l.external_image_id, {temporary}) OR NOT EXISTS (
        SELECT FROM {rows} r WHERE r.collection = l.collection AND r.external_image_id = l.external_image_id))"""

# without statistics the planner takes a join of thousands for one of a few, and loops
ANALYZE_REST = "ANALYZE pg_temp.seedtool_rest"

# A row keeps its face while the collection has it under the row's id. The others under that id are duplicates.
KEEP = """
UPDATE pg_temp.seedtool_rest x SET rank = x.rank + 1
FROM pg_temp.seedtool_listed l
WHERE x.is_row AND x.held IS NOT NULL AND x.face_id IS NOT NULL
    AND l.collection = x.collection AND l.external_image_id = x.external_image_id AND l.face_id = x.held"""

# A face that moved between pages may have been listed twice.
TWICE = """
DELETE FROM pg_temp.seedtool_rest x USING pg_temp.seedtool_rest o
WHERE x.is_row AND o.is_row AND x.rank > 1 AND o.rank = 1
    AND o.collection = x.collection AND o.external_image_id = x.external_image_id AND o.face_id = x.face_id"""

COUNTS = """
SELECT is_row, collection_id,
    count(*) FILTER (WHERE rank = 1 AND face_id IS NOT NULL AND held IS NULL) AS synced,
    count(*) FILTER (WHERE rank = 1 AND face_id IS NOT NULL AND held IS NOT NULL) AS relinked,
    count(*) FILTER (WHERE face_id IS NULL AND held IS NOT NULL) AS unsure,
    count(*) FILTER (WHERE face_id IS NULL AND held IS NULL) AS without,
    count(*) FILTER (WHERE rank > 1) AS further
FROM pg_temp.seedtool_rest GROUP BY 1, 2"""

# Whose face is it? A row without an external image id is believed.
UNSURE = """
CREATE TEMPORARY TABLE seedtool_unsure ON COMMIT DROP AS
SELECT r.key, {keys}, r.collection_id, r.held, bool_or(l.face_id IS NOT NULL) AS listed,
    bool_or(o.external_image_id IS NOT NULL) AS others
FROM pg_temp.seedtool_rest r
LEFT JOIN pg_temp.seedtool_listed l ON l.collection = r.collection AND l.face_id = r.held
LEFT JOIN {rows} o ON o.collection = l.collection AND o.external_image_id = l.external_image_id
    AND o.external_image_id <> r.external_image_id
WHERE r.is_row AND r.face_id IS NULL AND r.held IS NOT NULL
GROUP BY r.key, {keys}, r.collection_id, r.held"""

MISASSIGNED = "SELECT collection_id, key AS id FROM pg_temp.seedtool_unsure WHERE others"
# A face that another row of the same photo has is no longer this row's. It is reported, and left as it is.
ELSEWHERE = "SELECT collection_id, key AS id FROM pg_temp.seedtool_unsure WHERE listed AND NOT others"
MISSING = "SELECT collection_id, key AS id FROM pg_temp.seedtool_unsure WHERE NOT listed"

UNASSIGN = """
UPDATE {table} t SET {face_id} = {empty}
FROM pg_temp.seedtool_unsure u WHERE u.others AND {same_u} AND u.held = t.{face_id}::text"""

UNASSIGNED = """
UPDATE pg_temp.seedtool_rest r SET held = NULL
FROM pg_temp.seedtool_unsure u WHERE u.others AND r.is_row AND u.key = r.key"""

MEMORY = "SELECT setting::int FROM pg_settings WHERE name = 'work_mem'"
SET_MEMORY = "SELECT set_config('work_mem', %s, true)"

LET_GO = """
UPDATE {table} t SET {face_id} = {empty}
FROM pg_temp.seedtool_rest p
WHERE p.is_row AND p.rank = 1 AND p.face_id IS NOT NULL
    AND {same_p} AND p.external_image_id = t.{external_image_id}::text COLLATE "C" """

# a row whose image has changed since it was read stays as it is
UPDATE = """
UPDATE {table} t SET {face_id} = p.face_id::{face_type}
FROM pg_temp.seedtool_rest p
WHERE p.is_row AND p.rank = 1 AND p.face_id IS NOT NULL
    AND {same_p} AND p.external_image_id = t.{external_image_id}::text COLLATE "C" """

# "Indexed otherwise": under the photo's path, or under the id in another spelling. Only letters and digits count.
UNLINKED = """
CREATE TEMPORARY TABLE seedtool_unlinked ON COMMIT DROP AS
WITH without AS (
    SELECT * FROM pg_temp.seedtool_rest WHERE is_row AND face_id IS NULL AND held IS NULL
), orphan AS (
    SELECT l.collection, lower(regexp_replace(l.listed_id, '[^a-zA-Z0-9]+', '', 'g')) AS bare,
        min(l.listed_id) AS external_image_id
    FROM pg_temp.seedtool_rest l
    WHERE NOT l.is_row AND NOT starts_with(l.listed_id, {temporary}) AND NOT EXISTS (
        SELECT FROM pg_temp.seedtool_shared s WHERE s.collection = l.collection AND s.external_image_id = l.listed_id)
    GROUP BY 1, 2
), spelling AS (
    SELECT r.key, r.collection, lower(regexp_replace(unnest(ARRAY[
        r.external_image_id, r.photo, regexp_replace(r.photo, '\\.[a-zA-Z]+$', '')
    ]), '[^a-zA-Z0-9]+', '', 'g')) AS bare
    FROM without r
), otherwise AS (
    SELECT s.key, min(o.external_image_id) AS external_image_id
    FROM spelling s JOIN orphan o ON o.collection = s.collection AND o.bare = s.bare GROUP BY s.key
), indexed AS (
    SELECT DISTINCT r.key
    FROM without r
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
FROM without r
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
SELECT DISTINCT collection_id, listed_id || ' ' || face_id AS id
FROM pg_temp.seedtool_rest WHERE is_row AND rank > 1"""

ORPHANS = """
SELECT k.id AS collection_id, l.listed_id AS id
FROM pg_temp.seedtool_rest l JOIN pg_temp.seedtool_collections k ON k.number = l.collection
WHERE NOT l.is_row AND NOT starts_with(l.listed_id, {temporary}) AND NOT EXISTS (
    SELECT FROM {known} r WHERE r.collection = l.collection AND r.external_image_id = l.listed_id)"""

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
FROM pg_temp.seedtool_rest l JOIN pg_temp.seedtool_collections k ON k.number = l.collection
WHERE NOT l.is_row AND l.listed_id IS NULL
    AND NOT EXISTS (SELECT FROM {rows} r WHERE r.collection = l.collection AND r.face_id = l.face_id)"""

TEMPORARY = """
SELECT k.id AS collection_id, l.listed_id AS id
FROM pg_temp.seedtool_rest l JOIN pg_temp.seedtool_collections k ON k.number = l.collection
WHERE NOT l.is_row AND starts_with(l.listed_id, {temporary})"""

TALLY = """
SELECT collection_id, max(total), array_agg(id ORDER BY id) FROM (
    SELECT collection_id, id, row_number() OVER (PARTITION BY collection_id ORDER BY id) AS place,
        count(*) OVER (PARTITION BY collection_id) AS total
    FROM ({query}) q
) q WHERE place <= {examples} GROUP BY collection_id"""
