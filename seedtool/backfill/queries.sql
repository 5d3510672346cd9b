-- The SQL statements of the backfill. `queries.py` reads them: a line `-- name --` begins a statement.
--
-- {users}, {assets}, {collections}, {persons}, {faces} and {links} are the library's tables for reading. Their columns
-- have the names of the shipped migration (revision 0004), whatever the library's are (`shape.py`). {faces_table} is a
-- table for writing, {faces.box} a column of it, {face_key} the type of its key. A line that ends with `--? faces.box` is
-- left out where there is no such column, and lines between `--[ links` and `--]` where there is no such table.
--
-- {eligible}, {to_process} and {waits} stand for the conditions below; {journal} and {matches} for the journal's tables,
-- or for an empty table where the database has no journal and none may be created.


-- Conditions and tables that several statements share.

-- eligible --
-- An asset `a` that a backfill is for.
(a.approved AND NOT a.deleted AND starts_with(lower(a.mime_type), 'image/') AND coalesce(a.storage_url, '') <> '')

-- to_process --
-- An asset `a` with the journal's line `j` (or without one) that this run processes. An asset that the application has
-- processed has no line: the run leaves it to the application.
{eligible} AND CASE j.state
    WHEN 'started' THEN true
    WHEN 'skipped' THEN true
    WHEN 'failed' THEN %(retry)s AND coalesce(j.finished_at < %(before)s::timestamptz, true)
        OR coalesce(j.finished_at < %(since)s::timestamptz, false) OR %(gone)s AND j.reindex
    WHEN 'done' THEN coalesce(j.finished_at < %(since)s::timestamptz, false) OR %(gone)s AND j.reindex
    ELSE a.face_detection_processed_at IS NULL
END

-- selected --
-- An asset `a` that whoever runs the backfill has asked for.
(%(chosen)s::{asset_key}[] IS NULL OR a.id = ANY(%(chosen)s::{asset_key}[]))
    AND (%(newer)s::timestamptz IS NULL OR a.created_at >= %(newer)s::timestamptz)

-- waits --
-- A face `f` that waits for a person.
(f.needs_assignment AND NOT f.skipped AND NOT f.deleted)

-- heads --
-- A waiting face `f` on an asset `a` that stands for the waiting faces that are as alike as `alike`: none that it is like
-- directly is on an earlier asset. Suggestions lead to earlier photos, so most groups have one such face; each has one.
NOT EXISTS (
    SELECT FROM {matches} m JOIN {faces} g ON g.id = m.matched_face_id JOIN {assets} b ON b.id = g.asset_id
    WHERE m.face_id = f.id AND m.similarity >= %(alike)s::float8 AND (b.created_at, b.id) < (a.created_at, a.id)
        AND g.needs_assignment AND NOT g.skipped AND NOT g.deleted AND NOT b.deleted
) AND NOT EXISTS (
    SELECT FROM {matches} m JOIN {faces} g ON g.id = m.face_id JOIN {assets} b ON b.id = g.asset_id
    WHERE m.matched_face_id = f.id AND m.similarity >= %(alike)s::float8 AND (b.created_at, b.id) < (a.created_at, a.id)
        AND g.needs_assignment AND NOT g.skipped AND NOT g.deleted AND NOT b.deleted
)

-- no_journal --
(SELECT NULL::{asset_key} AS asset_id, NULL::{user_key} AS user_id, NULL::text AS state, NULL::timestamptz AS finished_at,
    NULL::text[] AS dropping, NULL::int AS faces, NULL::boolean AS reindex, NULL::uuid AS run, NULL::timestamptz AS started_at,
    NULL::int AS index_calls, NULL::int AS search_calls WHERE false)

-- no_matches --
(SELECT NULL::{face_key} AS face_id, NULL::{face_key} AS matched_face_id, NULL::numeric AS similarity WHERE false)


-- The journal's tables.

-- create_schema --
CREATE SCHEMA seedtool

-- create_backfill_users --
CREATE TABLE seedtool.backfill_users (user_id {user_key} PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now());
COMMENT ON TABLE seedtool.backfill_users IS
'Users of seedtool backfill. A run locks the row of a user while it processes the user';

-- create_backfill_assets --
CREATE TABLE seedtool.backfill_assets (
    asset_id {asset_key} PRIMARY KEY,
    user_id {user_key} NOT NULL,
    state text NOT NULL CHECK (state IN ('started', 'done', 'failed', 'skipped')),
    run uuid NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    reindex boolean NOT NULL DEFAULT false,
    faces integer,
    cause text,
    remedy text,
    index_calls integer NOT NULL DEFAULT 0,
    search_calls integer NOT NULL DEFAULT 0,
    dropping text[],
    started_at timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE INDEX backfill_assets_open ON seedtool.backfill_assets (user_id)
WHERE state IN ('started', 'failed') OR dropping IS NOT NULL;
COMMENT ON TABLE seedtool.backfill_assets IS
'The state of each asset in seedtool backfill, and the AWS calls that it took and that AWS bills';
COMMENT ON COLUMN seedtool.backfill_assets.dropping IS
'FaceIds to delete from the collection: too small, or of an asset that was deleted during the run';

-- create_backfill_reindex --
CREATE TABLE seedtool.backfill_reindex (scope text PRIMARY KEY, began_at timestamptz NOT NULL);
COMMENT ON TABLE seedtool.backfill_reindex IS
'Rounds of seedtool backfill --reindex that are not complete. Assets done since began_at are not indexed again';

-- create_backfill_collections --
CREATE TABLE seedtool.backfill_collections (
    user_id {user_key} PRIMARY KEY,
    collection_id text NOT NULL,
    database oid NOT NULL
);
COMMENT ON TABLE seedtool.backfill_collections IS
'Collections that hold no face of an asset that seedtool backfill has still to process. A line counts only in the database where it was written: in a copy, the rows may be older than the collection';

-- create_backfill_again --
CREATE TABLE seedtool.backfill_again (asset_id {asset_key} PRIMARY KEY, user_id {user_key} NOT NULL);
CREATE INDEX backfill_again_user ON seedtool.backfill_again (user_id);
COMMENT ON TABLE seedtool.backfill_again IS
'Assets to decide about again, by SearchFaces only: a photo before them was done after them, because it had failed';

-- create_face_matches --
CREATE TABLE seedtool.face_matches (
    face_id {face_key} NOT NULL,
    matched_face_id {face_key} NOT NULL,
    similarity numeric(7, 4) NOT NULL,
    PRIMARY KEY (face_id, matched_face_id)
);
CREATE INDEX face_matches_matched ON seedtool.face_matches (matched_face_id);
COMMENT ON TABLE seedtool.face_matches IS
'Suggestions for faces that wait for a person: two rows of faces, and their similarity (0 to 100)';

-- create_face_exclusions --
CREATE TABLE seedtool.face_exclusions (
    face_id {face_key} NOT NULL, person_id {person_key} NOT NULL, PRIMARY KEY (face_id, person_id)
);
COMMENT ON TABLE seedtool.face_exclusions IS
'Faces that somebody took away from a person. Nothing links them to this person again by itself'

-- create_review_actions --
CREATE TABLE seedtool.review_actions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    done_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    reviewer text NOT NULL,
    person_id {person_key},
    what json NOT NULL,
    followed {face_key}[] NOT NULL DEFAULT '{{}}',
    undone boolean NOT NULL DEFAULT false
);
CREATE INDEX review_actions_person ON seedtool.review_actions (person_id) WHERE NOT undone;
COMMENT ON TABLE seedtool.review_actions IS
'What people did on the page of seedtool faces review, the last 1,000 actions, so that they can be undone';
COMMENT ON COLUMN seedtool.review_actions.followed IS
'Faces that searches linked to the person since; undoing a link parts them from it, too'

-- create_backfill_runs --
CREATE TABLE seedtool.backfill_runs (
    run uuid PRIMARY KEY,
    began_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL,
    ended boolean NOT NULL,
    report json NOT NULL
);
COMMENT ON TABLE seedtool.backfill_runs IS
'The reports of seedtool backfill, the last 100: of a run that goes on, as it was at updated_at'

-- create_face_collections --
CREATE TABLE seedtool.face_collections (
    user_id {user_key} PRIMARY KEY, aws_collection_id text NOT NULL, rekognition_arn text
);
COMMENT ON TABLE seedtool.face_collections IS 'The collections of the users, as the library has no table of them'

-- create_face_details --
CREATE TABLE seedtool.face_details (face_id {face_key} PRIMARY KEY, box jsonb, skipped boolean);
COMMENT ON TABLE seedtool.face_details IS
'Where faces are on their photos, and which need no person, as the table of the faces has no columns for that'


-- What there is to process.

-- user_is_deleted --
SELECT deleted FROM {users} WHERE id = %s

-- census --
SELECT count(*) FILTER (WHERE to_process > 0), coalesce(sum(least(to_process, %(limit)s::bigint)), 0)::bigint,
    coalesce(sum(eligible - to_process), 0)::bigint, coalesce(sum(failed), 0)::bigint,
    count(c.user_id) FILTER (WHERE to_process > 0)
FROM (
    SELECT a.user_id, count(*) AS eligible, count(*) FILTER (WHERE {to_process}) AS to_process,
        count(*) FILTER (WHERE j.state = 'failed' AND NOT ({to_process})) AS failed
    FROM {assets} a LEFT JOIN {journal} j ON j.asset_id = a.id
    WHERE {eligible} AND {selected} AND (%(user)s::{user_key} IS NULL OR a.user_id = %(user)s::{user_key})
    GROUP BY a.user_id
) s JOIN {users} u ON u.id = s.user_id AND NOT u.deleted
LEFT JOIN {collections} c ON c.user_id = s.user_id AND NOT c.deleted

-- counts --
SELECT u.id::text, least(s.to_process, %(limit)s::bigint)::bigint
FROM {users} u JOIN (
    SELECT a.user_id, count(*) AS to_process FROM {assets} a LEFT JOIN {journal} j ON j.asset_id = a.id
    WHERE {to_process} AND {selected} AND (%(user)s::{user_key} IS NULL OR a.user_id = %(user)s::{user_key}) GROUP BY a.user_id
) s ON s.user_id = u.id
WHERE NOT u.deleted
ORDER BY u.created_at, u.id

-- listing --
SELECT listed.user_id::text, listed.id::text, file_name, label FROM (
    SELECT a.user_id, a.id, a.file_name, u.label, u.created_at AS user_since, a.created_at,
        CASE WHEN %(limit)s::bigint IS NOT NULL
            THEN row_number() OVER (PARTITION BY a.user_id ORDER BY a.created_at, a.id) END AS number
    FROM {assets} a JOIN {users} u ON u.id = a.user_id LEFT JOIN {journal} j ON j.asset_id = a.id
    WHERE NOT u.deleted AND {to_process} AND {selected} AND (%(user)s::{user_key} IS NULL OR a.user_id = %(user)s::{user_key})
) listed
WHERE number IS NULL OR number <= %(limit)s::bigint
ORDER BY user_since, listed.user_id, created_at, listed.id

-- labels --
SELECT u.id::text, coalesce(nullif(u.label, ''), u.id::text) FROM {users} u WHERE u.id = ANY(%s::{user_key}[])

-- users --
-- Also users for whom an interrupted run may have left faces in the collection. They need not have assets to process,
-- and may have been deleted since.
SELECT s.user_id::text, least(sum(s.to_process), %(limit)s::bigint)::bigint, coalesce(u.deleted, true)
FROM (
    SELECT a.user_id, count(*) AS to_process
    FROM {assets} a JOIN {users} u ON u.id = a.user_id LEFT JOIN {journal} j ON j.asset_id = a.id
    WHERE NOT u.deleted AND {to_process} AND {selected} AND (%(user)s::{user_key} IS NULL OR a.user_id = %(user)s::{user_key})
    GROUP BY a.user_id
    UNION ALL
    SELECT j.user_id, 0 FROM {journal} j WHERE j.state = 'started' OR j.dropping IS NOT NULL
    UNION ALL
    SELECT user_id, 0 FROM seedtool.backfill_again
) s LEFT JOIN {users} u ON u.id = s.user_id
WHERE %(user)s::{user_key} IS NULL OR s.user_id = %(user)s::{user_key}
GROUP BY s.user_id, u.created_at, u.deleted
ORDER BY u.created_at, s.user_id

-- assets --
SELECT a.id::text FROM {assets} a JOIN {users} u ON u.id = a.user_id LEFT JOIN {journal} j ON j.asset_id = a.id
WHERE a.user_id = %(user)s::{user_key} AND NOT u.deleted AND {to_process} AND {selected}
ORDER BY a.created_at, a.id LIMIT %(limit)s


-- A user's collection.

-- collection_of --
SELECT aws_collection_id, rekognition_arn FROM {collections} WHERE user_id = %s AND NOT deleted

-- collections --
-- Placeholders stand for faces that nobody has indexed yet.
SELECT * FROM (
    SELECT u.id::text, coalesce(c.aws_collection_id, %(prefix)s || u.id), c.rekognition_arn, EXISTS (
        SELECT FROM {faces} f WHERE f.user_id = u.id AND NOT f.deleted
            AND NOT starts_with(f.rekognition_face_id, 'placeholder:')) AS has_faces
    FROM {users} u LEFT JOIN {collections} c ON c.user_id = u.id AND NOT c.deleted
    WHERE NOT u.deleted AND (%(user)s::{user_key} IS NULL OR u.id = %(user)s::{user_key})
) s
WHERE has_faces OR rekognition_arn IS NOT NULL

-- forget_collection --
--[ collections.arn
WITH unknown AS (
    DELETE FROM seedtool.backfill_collections WHERE user_id = %(user)s
)
UPDATE {collections_table} c SET {collections.arn} = NULL WHERE c.{collections.user} = %(user)s
--]
--[ not collections.arn
DELETE FROM seedtool.backfill_collections WHERE user_id = %(user)s
--]

-- faces_to_index_again --
SELECT f.rekognition_face_id FROM seedtool.backfill_assets j JOIN {faces} f ON f.asset_id = j.asset_id AND NOT f.deleted
WHERE j.user_id = %s AND j.state = 'done' AND j.reindex

-- faces_are_there --
WITH there AS (
    SELECT j.asset_id, j.attempts FROM seedtool.backfill_assets j
    WHERE j.user_id = %(user)s AND j.state = 'done' AND j.reindex AND NOT EXISTS (
        SELECT FROM {faces} f WHERE f.asset_id = j.asset_id AND NOT f.deleted AND f.rekognition_face_id <> ALL(%(faces)s))
),
of_the_application AS (
    DELETE FROM seedtool.backfill_assets j USING there WHERE j.asset_id = there.asset_id AND there.attempts = 0
)
UPDATE seedtool.backfill_assets j SET reindex = false FROM there WHERE j.asset_id = there.asset_id AND there.attempts > 0

-- faces_are_gone --
-- Mark the assets of a user whose faces are gone: `done` with `reindex` is to be indexed again. The application's assets
-- get a line for that, with no attempts.
WITH marked AS (
    INSERT INTO seedtool.backfill_assets AS j
        (asset_id, user_id, state, run, attempts, reindex, faces, started_at, finished_at)
    SELECT a.id, a.user_id, 'done', %(run)s, 0, true, count(*), clock_timestamp(), clock_timestamp()
    FROM {assets} a JOIN {faces} f ON f.asset_id = a.id AND NOT f.deleted
        AND NOT starts_with(f.rekognition_face_id, 'placeholder:')
    WHERE a.user_id = %(user)s AND {eligible}
    GROUP BY a.id, a.user_id
    ON CONFLICT (asset_id) DO UPDATE SET reindex = true WHERE j.state IN ('done', 'failed')
    RETURNING asset_id
),
unknown AS (
    DELETE FROM seedtool.backfill_collections WHERE user_id = %(user)s
)
SELECT count(*) FROM marked

-- users_to_index_again --
SELECT j.user_id::text, count(*) FROM seedtool.backfill_assets j
JOIN {assets} a ON a.id = j.asset_id JOIN {users} u ON u.id = j.user_id
WHERE j.state = 'done' AND j.reindex AND {eligible} AND NOT u.deleted
    AND (%(user)s::{user_key} IS NULL OR j.user_id = %(user)s::{user_key})
GROUP BY j.user_id

-- remember_collection --
WITH changed AS (
    UPDATE {collections_table} c SET
        , {collections.collection} = %(collection)s
        , {collections.arn} = %(arn)s --? collections.arn
        , {collections.deleted} = {collections.no} --? collections.deleted
    FROM {users} u
    WHERE c.{collections.user} = u.id AND u.id = %(user)s AND NOT u.deleted AND (false
        OR NOT {collections.live} --? collections.deleted
        OR c.{collections.arn} IS DISTINCT FROM %(arn)s --? collections.arn
        OR c.{collections.collection} <> %(collection)s)
)
INSERT INTO {collections_table} (
    , {collections.user}
    , {collections.collection}
    , {collections.arn} --? collections.arn
)
SELECT
    , u.id
    , %(collection)s
    , %(arn)s --? collections.arn
FROM {users} u WHERE u.id = %(user)s AND NOT u.deleted
    AND NOT EXISTS (SELECT FROM {collections_table} c WHERE c.{collections.user} = %(user)s)

-- database_and_time --
SELECT oid::int8, clock_timestamp() FROM pg_database WHERE datname = current_database()

-- collection_is_known --
SELECT FROM seedtool.backfill_collections c JOIN pg_database d ON d.oid = c.database
WHERE c.user_id = %(user)s AND c.collection_id = %(collection)s AND d.datname = current_database()

-- know_collection --
INSERT INTO seedtool.backfill_collections (user_id, collection_id, database)
SELECT %(user)s, %(collection)s, oid FROM pg_database WHERE datname = current_database()
ON CONFLICT (user_id) DO UPDATE SET collection_id = excluded.collection_id, database = excluded.database

-- may_be_processed_later --
SELECT EXISTS (
    SELECT FROM {assets} a LEFT JOIN seedtool.backfill_assets j ON j.asset_id = a.id
    WHERE a.user_id = %s AND a.id::text = ANY(%s) AND NOT a.deleted AND CASE
        WHEN j.asset_id IS NULL THEN a.face_detection_processed_at IS NULL ELSE j.state <> 'done' END
)


-- The journal of an asset.

-- insert_user --
INSERT INTO seedtool.backfill_users (user_id) VALUES (%s) ON CONFLICT DO NOTHING

-- lock_user --
SELECT FROM seedtool.backfill_users WHERE user_id = %s FOR UPDATE SKIP LOCKED

-- unfinished --
SELECT j.asset_id::text, coalesce({eligible} AND NOT u.deleted, false)
FROM seedtool.backfill_assets j LEFT JOIN {assets} a ON a.id = j.asset_id LEFT JOIN {users} u ON u.id = a.user_id
WHERE j.user_id = %s AND j.state IN ('started', 'failed') AND j.state = ANY(%s)

-- faces_to_delete --
SELECT asset_id::text, dropping FROM seedtool.backfill_assets WHERE user_id = %s AND dropping IS NOT NULL

-- start --
-- The call of IndexFaces that comes next is counted here already. The statement that ends the attempt corrects the
-- number. So the call is counted even if the run is killed and the next run adopts its faces.
WITH begun AS (
    INSERT INTO seedtool.backfill_assets AS j (asset_id, user_id, state, run, reindex, started_at, index_calls)
    SELECT a.id, a.user_id, 'started', %(run)s, false, clock_timestamp(), %(index_calls)s
    FROM {assets} a JOIN {users} u ON u.id = a.user_id
    WHERE a.id = ANY(%(ids)s::{asset_key}[]) AND {eligible} AND NOT u.deleted
    ON CONFLICT (asset_id) DO UPDATE SET
        state = 'started', run = excluded.run, started_at = excluded.started_at, finished_at = NULL,
        attempts = j.attempts + 1, cause = NULL, remedy = NULL,
        reindex = j.reindex OR %(reindex)s AND j.state <> 'started', index_calls = j.index_calls + %(index_calls)s
    RETURNING j.asset_id, j.attempts, j.reindex
)
SELECT a.id::text, a.user_id::text, a.storage_url, a.file_name, b.attempts, b.reindex,
    ARRAY(SELECT f.rekognition_face_id FROM {faces} f WHERE f.asset_id = a.id AND NOT f.deleted AND b.reindex)
FROM begun b JOIN {assets} a ON a.id = b.asset_id
ORDER BY array_position(%(ids)s::{asset_key}[], a.id)

-- still_eligible --
SELECT {eligible} AND NOT u.deleted FROM {assets} a JOIN {users} u ON u.id = a.user_id WHERE a.id = %s

-- to_decide_again --
SELECT a.id::text, a.user_id::text, a.storage_url, a.file_name, j.attempts, (
    SELECT coalesce(jsonb_agg(jsonb_build_object('FaceId', f.rekognition_face_id, 'BoundingBox', f.bounding_box,
        'Confidence', f.confidence * 100)), '[]')
    FROM {faces} f WHERE f.asset_id = a.id AND NOT f.deleted)
FROM seedtool.backfill_again g JOIN {assets} a ON a.id = g.asset_id
JOIN seedtool.backfill_assets j ON j.asset_id = a.id AND j.state = 'done'
WHERE g.user_id = %(user)s AND {eligible} AND g.asset_id <> ALL(%(queued)s::{asset_key}[])
ORDER BY a.created_at, a.id LIMIT %(limit)s

-- new_face_keys --
SELECT ({new_face_key})::text FROM generate_series(1, %s)

-- is_decided_again --
DELETE FROM seedtool.backfill_again WHERE asset_id = %s

-- finish --
UPDATE seedtool.backfill_assets SET state = 'done', faces = %(faces)s, reindex = false, cause = NULL, remedy = NULL,
    finished_at = clock_timestamp(),
    index_calls = index_calls + %(index_calls)s, search_calls = search_calls + %(search_calls)s
WHERE asset_id = %(asset)s AND run = %(run)s AND state = 'started' RETURNING asset_id

-- fail --
UPDATE seedtool.backfill_assets SET state = 'failed', cause = %(cause)s, remedy = %(remedy)s,
    finished_at = clock_timestamp(),
    index_calls = index_calls + %(index_calls)s, search_calls = search_calls + %(search_calls)s
WHERE asset_id = %(asset)s AND run = %(run)s AND state = 'started'

-- skip --
UPDATE seedtool.backfill_assets SET state = 'skipped', dropping = %(faces)s, finished_at = clock_timestamp(),
    cause = 'the asset was deleted or disapproved during the run, or its user was deleted'
WHERE asset_id = %(asset)s AND state <> 'done'

-- add_calls --
UPDATE seedtool.backfill_assets SET index_calls = index_calls + %(index_calls)s,
    search_calls = search_calls + %(search_calls)s
WHERE asset_id = %(asset)s AND run = %(run)s AND state = 'started'

-- faces_are_deleted --
UPDATE seedtool.backfill_assets SET dropping = NULL WHERE asset_id = ANY(%s::{asset_key}[])

-- state_and_run --
SELECT state, run::text FROM seedtool.backfill_assets WHERE asset_id = %s

-- begin_reindex --
INSERT INTO seedtool.backfill_reindex AS r (scope, began_at) VALUES (%s, clock_timestamp())
ON CONFLICT (scope) DO UPDATE SET began_at = r.began_at RETURNING began_at

-- count_to_process --
SELECT coalesce(sum(least(to_process, %(limit)s::bigint)), 0)::bigint FROM (
    SELECT count(*) AS to_process
    FROM {assets} a JOIN {users} u ON u.id = a.user_id LEFT JOIN {journal} j ON j.asset_id = a.id
    WHERE a.user_id = ANY(%(users)s::{user_key}[]) AND NOT u.deleted AND {to_process} AND {selected} GROUP BY a.user_id
) s

-- reindex_since --
SELECT began_at FROM seedtool.backfill_reindex WHERE scope = %s

-- end_reindex --
DELETE FROM seedtool.backfill_reindex WHERE scope = %s

-- faces_per_photo --
-- The 10,000 photos that were done last are enough. Fewer than 20 photos say nothing.
SELECT CASE WHEN count(*) >= 20 THEN avg(faces) END FROM (
    SELECT faces FROM seedtool.backfill_assets WHERE state = 'done' AND faces IS NOT NULL
    ORDER BY finished_at DESC NULLS LAST LIMIT 10000
) latest


-- The decision about an asset.

-- known_faces --
-- The asset's own faces, and those of the given FaceIds that are on earlier assets of the same user.
WITH this AS (SELECT id, user_id, created_at FROM {assets} WHERE id = %(asset)s),
found AS (
    SELECT f.* FROM {faces} f JOIN this ON f.asset_id = this.id WHERE NOT f.deleted
    UNION
    SELECT f.* FROM {faces} f JOIN this ON f.user_id = this.user_id
    WHERE NOT f.deleted AND f.rekognition_face_id = ANY(%(faces)s)
)
SELECT f.id::text, f.rekognition_face_id,
    (f.bounding_box ->> 'Left')::float8, (f.bounding_box ->> 'Top')::float8,
    (f.bounding_box ->> 'Width')::float8, (f.bounding_box ->> 'Height')::float8,
    p.id::text, f.asset_id = this.id, f.skipped, coalesce(l.assigned_by <> 'system', false),
    ARRAY(SELECT e.person_id::text FROM seedtool.face_exclusions e WHERE e.face_id = f.id)
FROM found f CROSS JOIN this JOIN {assets} a ON a.id = f.asset_id
LEFT JOIN {links} l ON l.face_id = f.id AND NOT l.deleted
LEFT JOIN {persons} p ON p.id = l.person_group_id AND NOT p.deleted
WHERE f.asset_id = this.id OR (a.created_at, a.id) < (this.created_at, this.id)
ORDER BY a.created_at, a.id, 3, 4, f.id

-- record --
-- One statement, so that a crash leaves all of it or nothing. It writes nothing unless the journal's line belongs to
-- this run and says `started`, the asset is neither deleted nor disapproved, and its user is not deleted. An asset that
-- is decided about again says `done`.
WITH line AS (
    UPDATE seedtool.backfill_assets j SET state = 'done', faces = %(count)s,
        dropping = CASE WHEN %(again)s THEN dropping ELSE %(faces_to_delete)s::text[] END,
        reindex = false, cause = NULL, remedy = NULL, finished_at = clock_timestamp(),
        index_calls = index_calls + %(index_calls)s, search_calls = search_calls + %(search_calls)s
    FROM {assets} a JOIN {users} u ON u.id = a.user_id
    WHERE j.asset_id = %(asset)s AND CASE WHEN %(again)s THEN j.state = 'done' AND NOT j.reindex
            ELSE j.run = %(run)s AND j.state = 'started' END
        AND a.id = j.asset_id AND a.approved AND NOT a.deleted AND NOT u.deleted
    RETURNING a.id AS asset_id, a.user_id
),
given AS MATERIALIZED (
    SELECT line.user_id, line.asset_id, t.* FROM line CROSS JOIN jsonb_to_recordset(%(faces)s) AS t (
        id {face_key}, stored boolean, keep boolean, relink boolean, face_id text, box jsonb, confidence numeric,
        needs_person boolean, person_id {person_key}, similarity numeric)
),
--[ faces.deleted
gone AS (
    UPDATE {faces_table} f SET
        , {faces.deleted} = {faces.yes}
        , {faces.updated_at} = now() --? faces.updated_at
    FROM line
    WHERE f.{faces.asset} = line.asset_id AND f.{faces.key} = ANY(%(gone)s::{face_key}[]) AND {faces.live}
    RETURNING f.{faces.key} AS id
),
--]
--[ not faces.deleted
gone AS (
    DELETE FROM {faces_table} f USING line
    WHERE f.{faces.asset} = line.asset_id AND f.{faces.key} = ANY(%(gone)s::{face_key}[])
    RETURNING f.{faces.key} AS id
),
--]
--[ persons.avatar and not faces.deleted
faceless AS (
    UPDATE {persons_table} p SET {persons.avatar} = NULL FROM gone WHERE p.{persons.avatar} = gone.id
),
--]
--[ links and links.deleted and faces.deleted
unlinked AS (
    UPDATE {links_table} l SET
        , {links.deleted} = {links.yes}
        , {links.updated_at} = now() --? links.updated_at
    FROM gone WHERE l.{links.face} = gone.id AND {links.live}
),
--]
--[ links and not links.deleted
unlinked AS (
    DELETE FROM {links_table} l USING gone WHERE l.{links.face} = gone.id
),
--]
--[ links and links.deleted and not faces.deleted
unlinked AS (
    DELETE FROM {links_table} l USING gone WHERE l.{links.face} = gone.id
),
--]
updated AS (
    UPDATE {faces_table} f SET
        , {faces.face_id} = t.face_id::{face_id_type}
        , {faces.external_image_id} = t.asset_id::text --? faces.external_image_id
        , {faces.box} = t.box --? faces.box
        , {faces.confidence} = t.confidence --? faces.confidence
        , {faces.waits} = CASE WHEN t.keep THEN f.{faces.waits} ELSE t.needs_person END --? faces.waits
        , {faces.auto_assigned} = CASE WHEN t.keep THEN f.{faces.auto_assigned} ELSE t.person_id IS NOT NULL END --? faces.auto_assigned
        , {faces.updated_at} = now() --? faces.updated_at
--[ faces.person
        , {faces.person} = CASE WHEN t.links THEN t.person_id ELSE f.{faces.person} END
        , {faces.similarity} = CASE WHEN t.links THEN t.similarity ELSE f.{faces.similarity} END --? faces.similarity
        , {faces.assigned_by} = CASE WHEN t.links THEN {by_system} ELSE f.{faces.assigned_by} END --? faces.assigned_by
--]
    FROM (
        SELECT t.*, t.person_id IS NOT NULL AND (NOT t.keep AND NOT t.relink AND o.person_group_id IS NULL
            OR t.relink AND o.assigned_by = 'system') AS links
        FROM given t LEFT JOIN {links} o ON o.face_id = t.id AND NOT o.deleted --? faces.person
        FROM given t LEFT JOIN (SELECT NULL::{face_key} AS face_id, NULL AS person_group_id, NULL AS assigned_by WHERE false) o ON o.face_id = t.id --? not faces.person
    ) t
    WHERE f.{faces.key} = t.id AND t.stored AND {faces.live} RETURNING f.{faces.key} AS id
),
inserted AS (
    INSERT INTO {faces_table} (
        , {faces.key}
        , {faces.user} --? faces.user
        , {faces.asset}
        , {faces.face_id}
        , {faces.external_image_id} --? faces.external_image_id
        , {faces.box} --? faces.box
        , {faces.confidence} --? faces.confidence
        , {faces.waits} --? faces.waits
        , {faces.auto_assigned} --? faces.auto_assigned
        , {faces.person} --? faces.person
        , {faces.similarity} --? faces.similarity
        , {faces.assigned_by} --? faces.assigned_by
    ) OVERRIDING SYSTEM VALUE
    SELECT
        , id
        , user_id --? faces.user
        , asset_id
        , face_id::{face_id_type}
        , asset_id::text --? faces.external_image_id
        , box --? faces.box
        , confidence --? faces.confidence
        , needs_person --? faces.waits
        , person_id IS NOT NULL --? faces.auto_assigned
        , person_id --? faces.person
        , CASE WHEN person_id IS NOT NULL THEN similarity END --? faces.similarity
        , CASE WHEN person_id IS NOT NULL THEN {by_system} END --? faces.assigned_by
    FROM given t WHERE NOT t.stored
    {faces_conflict}
    RETURNING {faces.key} AS id
),
written AS (SELECT id FROM inserted UNION ALL SELECT id FROM updated),
--[ details
details AS (
    INSERT INTO seedtool.face_details AS d (face_id, box) SELECT t.id, t.box FROM given t JOIN written USING (id)
    ON CONFLICT (face_id) DO UPDATE SET box = excluded.box
),
--]
--[ links
links AS (
    INSERT INTO {links_table} (
        , {links.face}
        , {links.person}
        , {links.confidence} --? links.confidence
        , {links.assigned_by} --? links.assigned_by
    )
    SELECT
        , t.id
        , t.person_id
        , t.similarity --? links.confidence
        , {by_system} --? links.assigned_by
    FROM given t JOIN written USING (id)
    WHERE t.person_id IS NOT NULL AND NOT t.keep AND NOT t.relink
        AND NOT EXISTS (SELECT FROM {links} o WHERE o.face_id = t.id AND NOT o.deleted)
    {links_conflict}
),
relinked AS (
    UPDATE {links_table} l SET
        , {links.person} = t.person_id
        , {links.confidence} = t.similarity --? links.confidence
        , {links.updated_at} = now() --? links.updated_at
    FROM given t JOIN written USING (id)
    WHERE l.{links.face} = t.id AND t.relink AND {links.live}
        AND l.{links.assigned_by} = {by_system} --? links.assigned_by
),
--]
suggested AS MATERIALIZED (
    SELECT s.* FROM jsonb_to_recordset(%(suggestions)s) AS s (
        face_id {face_key}, matched_face_id {face_key}, similarity numeric)
    JOIN written ON written.id = s.face_id
),
outdated AS (
    DELETE FROM seedtool.face_matches m USING given t
    WHERE m.face_id = t.id AND NOT EXISTS (SELECT FROM suggested s
        WHERE s.face_id = m.face_id AND s.matched_face_id = m.matched_face_id)
),
matches AS (
    INSERT INTO seedtool.face_matches (face_id, matched_face_id, similarity)
    SELECT face_id, matched_face_id, similarity FROM suggested
    ON CONFLICT (face_id, matched_face_id) DO UPDATE SET similarity = excluded.similarity
),
--[ assets.found
asset AS (
    UPDATE {assets_table} a SET
        , {assets.data} = (CASE WHEN %(again)s THEN %(summary)s --? assets.data
            || jsonb_build_object('dropped', coalesce(a.{assets.data} -> 'dropped', '0')::jsonb) ELSE %(summary)s END)::{assets.data_type} --? assets.data
        , {assets.provider} = %(provider)s --? assets.provider
        , {assets.processed_at} = now() --? assets.processed_at
    FROM line WHERE a.{assets.key} = line.asset_id
),
--]
--[ collections.counts
collection AS (
    UPDATE {collections_table} c SET
        , {collections.indexed_at} = now() --? collections.indexed_at
        , {collections.face_count} = greatest(0, c.{collections.face_count} + (SELECT count(*) FROM inserted) - (SELECT count(*) FROM gone)) --? collections.face_count
    FROM line WHERE c.{collections.user} = line.user_id
),
--]
decided_again AS (
    DELETE FROM seedtool.backfill_again g USING line WHERE g.asset_id = line.asset_id AND %(again)s
),
again AS (
    INSERT INTO seedtool.backfill_again (asset_id, user_id)
    SELECT DISTINCT later.id, later.user_id
    FROM line JOIN {assets} this ON this.id = line.asset_id
    JOIN {faces} f ON f.user_id = line.user_id AND f.rekognition_face_id = ANY(%(look_again)s) AND NOT f.deleted
    JOIN {assets} later ON later.id = f.asset_id AND (later.created_at, later.id) > (this.created_at, this.id)
    JOIN seedtool.backfill_assets j ON j.asset_id = later.id AND j.state = 'done'
    ON CONFLICT DO NOTHING
)
SELECT count(*)::int FROM line


-- The review: faces that wait for a person.

-- waiting --
-- The rows are chosen before their suggestions are looked up, so that a page costs as much as its own suggestions.
SELECT f.id::text, f.user_id::text, f.asset_id::text, f.file_name, f.bounding_box, f.confidence::float8,
    coalesce(s.suggestions, '[]')
FROM (
    SELECT f.id, f.user_id, f.asset_id, a.file_name, f.bounding_box, f.confidence, u.created_at AS user_since,
        a.created_at, (f.bounding_box ->> 'Left')::float8 AS "left", (f.bounding_box ->> 'Top')::float8 AS top
    FROM {faces} f JOIN {assets} a ON a.id = f.asset_id JOIN {users} u ON u.id = f.user_id
    WHERE {waits} AND NOT a.deleted AND NOT u.deleted AND (%(user)s::{user_key} IS NULL OR f.user_id = %(user)s::{user_key})
        AND (%(among)s::{face_key}[] IS NULL OR f.id = ANY(%(among)s::{face_key}[])) AND {heads}
        AND (%(after)s::{face_key} IS NULL OR (u.created_at, u.id, a.created_at, a.id,
            (f.bounding_box ->> 'Left')::float8, (f.bounding_box ->> 'Top')::float8, f.id) > (
            SELECT u.created_at, u.id, a.created_at, a.id,
                (f.bounding_box ->> 'Left')::float8, (f.bounding_box ->> 'Top')::float8, f.id
            FROM {faces} f JOIN {assets} a ON a.id = f.asset_id JOIN {users} u ON u.id = f.user_id
            WHERE f.id = %(after)s::{face_key}))
    ORDER BY user_since, f.user_id, a.created_at, f.asset_id, "left", top, f.id
    LIMIT %(limit)s
) f LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('face_id', g.id::text, 'similarity', m.similarity, 'person_id', p.id::text,
        'name', coalesce(nullif(p.display_name, ''), p.name)) ORDER BY m.similarity DESC, g.id) AS suggestions
    FROM {matches} m JOIN {faces} g ON g.id = m.matched_face_id AND NOT g.deleted
    LEFT JOIN {links} l ON l.face_id = g.id AND NOT l.deleted
    LEFT JOIN {persons} p ON p.id = l.person_group_id AND NOT p.deleted
    WHERE m.face_id = f.id
) s ON true
ORDER BY f.user_since, f.user_id, f.created_at, f.asset_id, f."left", f.top, f.id

-- order_of_waiting --
SELECT f.id::text FROM {faces} f JOIN {assets} a ON a.id = f.asset_id
WHERE f.user_id = %s AND {waits} AND NOT a.deleted
ORDER BY a.created_at, a.id, (f.bounding_box ->> 'Left')::float8, (f.bounding_box ->> 'Top')::float8, f.id

-- alike --
-- The waiting faces that are as alike as `alike` to these, or to one that is, each with its photo. Each list ends early.
SELECT h.id::text, m.id::text, f.asset_id::text, a.file_name
FROM unnest(%(faces)s::{face_key}[]) WITH ORDINALITY h (id, place) CROSS JOIN LATERAL (
    WITH RECURSIVE member AS (
        SELECT h.id AS id
        UNION
        SELECT e.id FROM member CROSS JOIN LATERAL (
            SELECT m.matched_face_id AS id FROM {matches} m
            WHERE m.face_id = member.id AND m.similarity >= %(alike)s::float8
            UNION ALL
            SELECT m.face_id FROM {matches} m
            WHERE m.matched_face_id = member.id AND m.similarity >= %(alike)s::float8
        ) e JOIN {faces} f ON f.id = e.id AND {waits} JOIN {assets} a ON a.id = f.asset_id AND NOT a.deleted
    )
    SELECT id, row_number() OVER () AS number FROM member LIMIT %(limit)s
) m JOIN {faces} f ON f.id = m.id JOIN {assets} a ON a.id = f.asset_id
WHERE m.id <> h.id
ORDER BY h.place, m.number

-- count_waiting --
SELECT count(*) FROM {faces} f JOIN {assets} a ON a.id = f.asset_id JOIN {users} u ON u.id = f.user_id
WHERE {waits} AND NOT a.deleted AND NOT u.deleted AND (%(user)s::{user_key} IS NULL OR f.user_id = %(user)s::{user_key})

-- users_waiting --
SELECT u.id::text FROM {users} u
WHERE NOT u.deleted AND (%(user)s::{user_key} IS NULL OR u.id = %(user)s::{user_key}) AND EXISTS (
    SELECT FROM {faces} f JOIN {assets} a ON a.id = f.asset_id WHERE f.user_id = u.id AND {waits} AND NOT a.deleted)
ORDER BY u.created_at, u.id

-- faces_by_id --
SELECT f.id::text, f.needs_assignment AND NOT EXISTS (
    SELECT FROM {links} l WHERE l.face_id = f.id AND NOT l.deleted)
FROM {faces} f WHERE NOT f.deleted
    AND f.id BETWEEN %(first)s::{face_key} AND %(last)s::{face_key} --? faces.uuid
    AND f.id::text = %(given)s --? not faces.uuid
ORDER BY f.id LIMIT 100

-- lock_faces --
SELECT FROM {faces_table} f WHERE f.{faces.key} = ANY(%s::{face_key}[]) ORDER BY f.{faces.key} FOR UPDATE

-- locked_faces --
-- A statement of its own: it sees what those have written that the lock waited for.
SELECT f.id::text, f.user_id::text, l.person_group_id::text, f.needs_assignment, f.skipped
FROM {faces} f LEFT JOIN {links} l ON l.face_id = f.id AND NOT l.deleted
WHERE f.id = ANY(%s::{face_key}[]) AND NOT f.deleted ORDER BY f.id

-- lock_owner --
SELECT FROM {users_table} u WHERE u.{users.key} = %s FOR NO KEY UPDATE

-- persons --
SELECT id::text, name, display_name FROM {persons} WHERE user_id = %s AND NOT deleted ORDER BY id

-- person_exists --
SELECT FROM {persons} WHERE id = %s

-- insert_person --
INSERT INTO {persons_table} (
    , {persons.key} --? persons.needs_key
    , {persons.user}
    , {persons.person_name}
    , {persons.avatar} --? persons.avatar
) VALUES (
    , {new_person_key} --? persons.needs_key
    , %(user)s
    , %(name)s
    , %(face)s --? persons.avatar
) RETURNING {persons.key}::text

-- link_by_user --
--[ links
INSERT INTO {links_table} (
    , {links.face}
    , {links.person}
    , {links.confidence} --? links.confidence
    , {links.assigned_by} --? links.assigned_by
) VALUES (
    , %(face)s
    , %(person)s
    , 1 --? links.confidence
    , {by_user} --? links.assigned_by
)
--]
--[ faces.person
UPDATE {faces_table} f SET
    , {faces.person} = %(person)s
    , {faces.similarity} = 1 --? faces.similarity
    , {faces.assigned_by} = {by_user} --? faces.assigned_by
WHERE f.{faces.key} = %(face)s
--]

-- set_waiting --
--[ details and not faces.skipped
WITH kept AS (
    UPDATE seedtool.face_details d SET skipped = false WHERE d.face_id = ANY(%(faces)s::{face_key}[]) AND d.skipped
)
--]
--[ faces.flags
UPDATE {faces_table} f SET
    , {faces.waits} = %(waits)s --? faces.waits
    , {faces.auto_assigned} = %(by_system)s --? faces.auto_assigned
    , {faces.skipped} = false --? faces.skipped
    , {faces.updated_at} = now() --? faces.updated_at
WHERE f.{faces.key} = ANY(%(faces)s::{face_key}[])
--]
--[ not faces.flags
SELECT %(faces)s::{face_key}[]
--]

-- skip_face --
--[ faces.skipped
UPDATE {faces_table} f SET
    , {faces.skipped} = true
    , {faces.updated_at} = now() --? faces.updated_at
WHERE f.{faces.key} = %(face)s
--]
--[ not faces.skipped
INSERT INTO seedtool.face_details (face_id, skipped) VALUES (%(face)s, true)
ON CONFLICT (face_id) DO UPDATE SET skipped = true
--]

-- delete_suggestions --
DELETE FROM seedtool.face_matches WHERE face_id = ANY(%s::{face_key}[])

-- waiting_of_user --
SELECT f.id::text, f.asset_id::text, f.rekognition_face_id
FROM {faces} f JOIN {assets} a ON a.id = f.asset_id JOIN {users} u ON u.id = f.user_id
WHERE f.user_id = %s AND {waits} AND NOT a.deleted AND NOT u.deleted
ORDER BY a.created_at, a.id, (f.bounding_box ->> 'Left')::float8, (f.bounding_box ->> 'Top')::float8, f.id

-- faces_of_user --
SELECT f.rekognition_face_id, f.id::text, f.asset_id::text, p.id::text
FROM {faces} f JOIN {assets} a ON a.id = f.asset_id
LEFT JOIN {links} l ON l.face_id = f.id AND NOT l.deleted
LEFT JOIN {persons} p ON p.id = l.person_group_id AND NOT p.deleted
WHERE f.user_id = %(user)s AND NOT f.deleted AND f.rekognition_face_id = ANY(%(faces)s)
ORDER BY a.created_at, a.id, (f.bounding_box ->> 'Left')::float8, (f.bounding_box ->> 'Top')::float8, f.id

-- link_by_system --
-- One statement: it writes the link and the face's own columns, or neither. The face is locked before.
WITH face AS (
    SELECT f.id FROM {faces} f LEFT JOIN {links} l ON l.face_id = f.id AND NOT l.deleted
    WHERE f.id = %(face)s AND {waits} AND l.face_id IS NULL
),
person AS (
    SELECT p.{persons.key} AS id FROM {persons_table} p WHERE p.{persons.key} = %(person)s AND {persons.live} FOR SHARE
),
link AS (
    INSERT INTO {links_table} ( --? links
        , {links.face} --? links
        , {links.person} --? links
        , {links.confidence} --? links.confidence
        , {links.assigned_by} --? links.assigned_by
    ) --? links
    SELECT
        , face.id AS face_id
        , person.id AS person_id
        , %(confidence)s::numeric --? links.confidence
        , {by_system} --? links.assigned_by
    FROM face, person
    {links_conflict} RETURNING {links.face} AS face_id --? links
),
--[ faces.linked
marked AS (
    UPDATE {faces_table} f SET
        , {faces.waits} = false --? faces.waits
        , {faces.auto_assigned} = true --? faces.auto_assigned
        , {faces.skipped} = false --? faces.skipped
        , {faces.updated_at} = now() --? faces.updated_at
        , {faces.person} = link.person_id --? faces.person
        , {faces.similarity} = %(confidence)s --? faces.similarity
        , {faces.assigned_by} = {by_system} --? faces.assigned_by
    FROM link WHERE f.{faces.key} = link.face_id
),
--]
outdated AS (
    DELETE FROM seedtool.face_matches m USING link WHERE m.face_id = link.face_id
)
SELECT face_id FROM link

-- suggest --
WITH suggested AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(suggestions)s) AS s (matched_face_id {face_key}, similarity numeric)
),
outdated AS (
    DELETE FROM seedtool.face_matches m WHERE m.face_id = %(face)s
        AND NOT EXISTS (SELECT FROM suggested s WHERE s.matched_face_id = m.matched_face_id)
)
INSERT INTO seedtool.face_matches (face_id, matched_face_id, similarity)
SELECT %(face)s, matched_face_id, similarity FROM suggested
ON CONFLICT (face_id, matched_face_id) DO UPDATE SET similarity = excluded.similarity


-- The review page, and corrections.

-- users_with_faces --
SELECT id, label, waiting, count(*) OVER () FROM (
    SELECT u.id::text, coalesce(nullif(u.label, ''), u.id::text) AS label, count(*) AS waiting, u.created_at AS since
    FROM {faces} f JOIN {assets} a ON a.id = f.asset_id JOIN {users} u ON u.id = f.user_id
    WHERE {waits} AND NOT a.deleted AND NOT u.deleted
        AND starts_with(lower(coalesce(nullif(u.label, ''), u.id::text)), lower(%(begins)s))
    GROUP BY u.id, u.label, u.created_at
) counted
ORDER BY since, id LIMIT %(limit)s OFFSET %(offset)s

-- place_of_face --
SELECT a.storage_url, a.file_name, f.bounding_box FROM {faces} f JOIN {assets} a ON a.id = f.asset_id
WHERE f.id = %s AND NOT f.deleted AND NOT a.deleted

-- still_wait --
SELECT f.id::text FROM {faces} f JOIN {assets} a ON a.id = f.asset_id WHERE f.id = ANY(%s::{face_key}[]) AND {waits} AND NOT a.deleted

-- matches --
SELECT face_id::text, matched_face_id::text, similarity::float8 FROM {matches} m WHERE face_id = ANY(%s::{face_key}[])

-- lock_person --
SELECT FROM {persons_table} p WHERE p.{persons.key} = %s AND {persons.live} FOR SHARE

-- lock_person_to_change --
SELECT FROM {persons_table} p WHERE p.{persons.key} = %s AND {persons.live} FOR UPDATE

-- unlink --
--[ links.deleted
UPDATE {links_table} l SET
    , {links.deleted} = {links.yes}
    , {links.updated_at} = now() --? links.updated_at
WHERE l.{links.face} = ANY(%(faces)s::{face_key}[]) AND {links.live}
    AND (%(person)s::{person_key} IS NULL OR l.{links.person} = %(person)s::{person_key})
--]
--[ links and not links.deleted
DELETE FROM {links_table} l WHERE l.{links.face} = ANY(%(faces)s::{face_key}[])
    AND (%(person)s::{person_key} IS NULL OR l.{links.person} = %(person)s::{person_key})
--]
--[ faces.person
UPDATE {faces_table} f SET
    , {faces.person} = NULL
    , {faces.similarity} = NULL --? faces.similarity
    , {faces.assigned_by} = NULL --? faces.assigned_by
WHERE f.{faces.key} = ANY(%(faces)s::{face_key}[])
    AND (%(person)s::{person_key} IS NULL OR f.{faces.person} = %(person)s::{person_key})
--]

-- delete_person_without_faces --
--[ persons.deleted
UPDATE {persons_table} p SET {persons.deleted} = {persons.yes} WHERE p.{persons.key} = %(person)s AND {persons.live}
--]
--[ not persons.deleted
DELETE FROM {persons_table} p WHERE p.{persons.key} = %(person)s
--]
    AND NOT EXISTS (SELECT FROM {links} l WHERE l.person_group_id = p.{persons.key} AND NOT l.deleted)

-- exclusions --
SELECT e.face_id::text, e.person_id::text FROM seedtool.face_exclusions e JOIN {faces} f ON f.id = e.face_id
WHERE f.user_id = %s

-- exclude --
INSERT INTO seedtool.face_exclusions (face_id, person_id) VALUES (%s, %s) ON CONFLICT DO NOTHING

-- include --
DELETE FROM seedtool.face_exclusions WHERE face_id = %s AND person_id = %s

-- take_away --
-- The link that is to be taken away. The face is locked.
SELECT l.confidence::float8, l.assigned_by FROM {links} l
WHERE l.face_id = %(face)s AND l.person_group_id = %(person)s AND NOT l.deleted

-- forget_avatar --
--[ persons.avatar
UPDATE {persons_table} p SET {persons.avatar} = NULL WHERE p.{persons.key} = %(person)s AND p.{persons.avatar} = %(face)s
--]
--[ not persons.avatar
SELECT %(person)s::{person_key}, %(face)s::{face_key}
--]

-- link_again --
--[ links.deleted
UPDATE {links_table} l SET
    , {links.deleted} = {links.no}
    , {links.updated_at} = now() --? links.updated_at
WHERE l.ctid = (
    SELECT o.ctid FROM {links_table} o WHERE o.{links.face} = %(face)s AND o.{links.person} = %(person)s
    ORDER BY
        , o.{links.updated_at} DESC --? links.updated_at
        , o.ctid DESC
    LIMIT 1)
--]
--[ links and not links.deleted
INSERT INTO {links_table} (
    , {links.face}
    , {links.person}
    , {links.confidence} --? links.confidence
    , {links.assigned_by} --? links.assigned_by
) VALUES (
    , %(face)s
    , %(person)s
    , %(confidence)s --? links.confidence
    , %(by)s --? links.assigned_by
)
--]
--[ faces.person
UPDATE {faces_table} f SET
    , {faces.person} = %(person)s
    , {faces.similarity} = %(confidence)s --? faces.similarity
    , {faces.assigned_by} = %(by)s --? faces.assigned_by
WHERE f.{faces.key} = %(face)s
--]

-- persons_with_faces --
SELECT p.id::text, coalesce(nullif(p.display_name, ''), p.name), count(f.id),
    count(f.id) FILTER (WHERE l.assigned_by <> 'user'), min(f.id::text), count(*) OVER ()
FROM {persons} p LEFT JOIN (
    {links} l JOIN {faces} f ON f.id = l.face_id AND NOT f.deleted
) ON l.person_group_id = p.id AND NOT l.deleted
WHERE p.user_id = %(user)s AND NOT p.deleted
GROUP BY p.id, p.display_name, p.name ORDER BY 2, p.id LIMIT %(limit)s OFFSET %(offset)s

-- all_users --
SELECT u.id::text, coalesce(nullif(u.label, ''), u.id::text), count(*), count(*) OVER ()
FROM {users} u JOIN {persons} p ON p.user_id = u.id AND NOT p.deleted
WHERE NOT u.deleted AND starts_with(lower(coalesce(nullif(u.label, ''), u.id::text)), lower(%(begins)s))
GROUP BY u.id, u.label, u.created_at ORDER BY u.created_at, u.id LIMIT %(limit)s OFFSET %(offset)s

-- person --
SELECT user_id::text, coalesce(nullif(display_name, ''), name) FROM {persons} WHERE id = %s AND NOT deleted

-- faces_of_person --
SELECT f.id::text, a.file_name, l.confidence::float8, l.assigned_by
FROM {links} l JOIN {faces} f ON f.id = l.face_id AND NOT f.deleted JOIN {assets} a ON a.id = f.asset_id
WHERE l.person_group_id = %(person)s AND NOT l.deleted AND (%(after)s::{face_key} IS NULL OR (l.confidence, f.id) > (
    SELECT confidence, face_id FROM {links} WHERE person_group_id = %(person)s AND face_id = %(after)s::{face_key}
    ORDER BY updated_at DESC LIMIT 1))
ORDER BY l.confidence, f.id LIMIT %(limit)s

-- rename --
UPDATE {persons_table} p SET
--[ persons.display_name
    {persons.person_name} = CASE WHEN coalesce(p.{persons.display_name}, '') = '' THEN %(name)s ELSE p.{persons.person_name} END,
    {persons.display_name} = CASE WHEN coalesce(p.{persons.display_name}, '') = '' THEN p.{persons.display_name} ELSE %(name)s END
WHERE p.{persons.key} = %(person)s AND {persons.live}
    AND coalesce(nullif(p.{persons.display_name}, ''), p.{persons.person_name}) = %(was)s
--]
--[ not persons.display_name
    {persons.person_name} = %(name)s
WHERE p.{persons.key} = %(person)s AND {persons.live} AND p.{persons.person_name} = %(was)s
--]
RETURNING p.{persons.user}::text

-- move_faces --
--[ links
UPDATE {links_table} l SET
    , {links.person} = %(into)s
    , {links.updated_at} = now() --? links.updated_at
WHERE l.{links.person} = %(person)s AND {links.live}
    AND (%(faces)s::{face_key}[] IS NULL OR l.{links.face} = ANY(%(faces)s::{face_key}[]))
RETURNING l.{links.face}::text
--]
--[ faces.person
UPDATE {faces_table} f SET
    , {faces.person} = %(into)s
    , {faces.updated_at} = now() --? faces.updated_at
WHERE f.{faces.person} = %(person)s AND {faces.live}
    AND (%(faces)s::{face_key}[] IS NULL OR f.{faces.key} = ANY(%(faces)s::{face_key}[]))
RETURNING f.{faces.key}::text
--]

-- delete_person --
--[ persons.deleted
UPDATE {persons_table} p SET {persons.deleted} = {persons.yes} WHERE p.{persons.key} = %s
--]
--[ not persons.deleted
DELETE FROM {persons_table} p WHERE p.{persons.key} = %s
--]

-- bring_person_back --
--[ persons.deleted
UPDATE {persons_table} p SET {persons.deleted} = {persons.no} WHERE p.{persons.key} = %s RETURNING p.{persons.key}
--]
--[ not persons.deleted
SELECT p.id FROM {persons} p WHERE p.id = %s
--]

-- lock_persons --
SELECT p.{persons.key}::text, p.{persons.user}::text FROM {persons_table} p
WHERE p.{persons.key} = ANY(%s::{person_key}[]) AND {persons.live} ORDER BY p.{persons.key} FOR UPDATE

-- runs --
SELECT run::text, min(started_at), max(coalesce(finished_at, started_at)), count(*) FILTER (WHERE state = 'done'),
    count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE state = 'started'),
    coalesce(sum(faces), 0)::bigint, sum(index_calls)::bigint, sum(search_calls)::bigint
FROM {journal} j GROUP BY run ORDER BY 2 DESC LIMIT 20

-- keep_report --
WITH old AS (
    DELETE FROM seedtool.backfill_runs WHERE run IN (
        SELECT run FROM seedtool.backfill_runs ORDER BY began_at DESC OFFSET 99) AND run <> %(run)s
)
INSERT INTO seedtool.backfill_runs AS r (run, began_at, updated_at, ended, report)
VALUES (%(run)s, clock_timestamp() - %(seconds)s * interval '1 s', clock_timestamp(), %(ended)s, %(report)s)
ON CONFLICT (run) DO UPDATE SET updated_at = excluded.updated_at, ended = excluded.ended, report = excluded.report

-- reports --
SELECT run::text, began_at, updated_at, ended, updated_at > clock_timestamp() - interval '30 s', report::text
FROM seedtool.backfill_runs WHERE %(run)s::uuid IS NULL OR run = %(run)s::uuid ORDER BY began_at DESC LIMIT 20

-- keep_action --
WITH old AS (
    DELETE FROM seedtool.review_actions WHERE id <= (
        SELECT id FROM seedtool.review_actions ORDER BY id DESC OFFSET 999 LIMIT 1)
)
INSERT INTO seedtool.review_actions (reviewer, person_id, what) VALUES (%(reviewer)s, %(person)s, %(what)s)

-- add_followers --
UPDATE seedtool.review_actions SET followed = followed || %(faces)s::{face_key}[] WHERE person_id = %(person)s AND NOT undone

-- last_action --
SELECT id FROM seedtool.review_actions WHERE reviewer = %s AND NOT undone ORDER BY id DESC LIMIT 1

-- actions --
SELECT id, done_at, reviewer, undone, what::text FROM seedtool.review_actions
WHERE %(before)s::bigint IS NULL OR id < %(before)s::bigint ORDER BY id DESC LIMIT %(limit)s

-- begin_undo --
UPDATE seedtool.review_actions SET undone = true WHERE id = %s AND NOT undone RETURNING what::text, followed::text[]

-- end_undo --
UPDATE seedtool.review_actions SET undone = false WHERE id = %s

-- names_of_persons --
SELECT id::text, coalesce(nullif(display_name, ''), name) FROM {persons} p WHERE id = ANY(%s::{person_key}[])
