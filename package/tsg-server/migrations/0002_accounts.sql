-- Who may use the pages and the API.

CREATE TABLE users (
    name       TEXT PRIMARY KEY,
    role       TEXT NOT NULL,
    password   TEXT NOT NULL,
    since      INTEGER NOT NULL,
    version    INTEGER NOT NULL
) STRICT;

CREATE TABLE api_tokens (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    role       TEXT NOT NULL,
    hash       BLOB NOT NULL UNIQUE,
    made_by    TEXT NOT NULL,
    since      INTEGER NOT NULL,
    expires    INTEGER NOT NULL
) STRICT;
