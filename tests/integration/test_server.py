def test_a_fresh_database_is_empty(connection):
    assert connection.execute("select count(*) from pg_class where relnamespace = 'public'::regnamespace").fetchone() == (0,)
