-- The key server's database as it is now. Older files are brought here by migrations/, one after
-- the other; a test compares the two. No key of any kind is in here but public ones,
-- and no secret but by its hash, with one exception: users.totp, which the server has to know as
-- it is, and which the seal does not cover.
--
-- Times: `approved`, `expires`, `since` in seconds since 1970, `at` in milliseconds.

CREATE TABLE groups (
    name       TEXT PRIMARY KEY,
    settings   TEXT NOT NULL,             -- JSON: tsg_control::group::Settings
    policy     TEXT NOT NULL,             -- JSON: the newest PolicyRecord
    previous   TEXT,                      -- JSON: the one in force while the newest is prepared
    last_epoch INTEGER NOT NULL,
    epochs     TEXT NOT NULL              -- JSON: those in which members may seal
) STRICT;

CREATE TABLE gateways (
    key        TEXT PRIMARY KEY,          -- CURVE public key, base64
    name       TEXT NOT NULL UNIQUE,
    group_name TEXT NOT NULL REFERENCES groups (name),
    revoked    TEXT,                      -- why; NULL for a member
    approved   INTEGER NOT NULL,
    aes        INTEGER NOT NULL,
    machines   TEXT NOT NULL,             -- JSON: addresses that it reports
    pinned     TEXT NOT NULL,             -- JSON: addresses that an operator gave
    tags       TEXT NOT NULL DEFAULT '[]' -- JSON: words that an operator gave
) STRICT;

CREATE INDEX gateways_by_group ON gateways (group_name);

CREATE TABLE tokens (
    id         INTEGER PRIMARY KEY,
    hash       BLOB NOT NULL UNIQUE,      -- SHA-256 of the secret
    group_name TEXT NOT NULL,
    expires    INTEGER NOT NULL,
    used_by    TEXT                       -- key of the gateway that used it up
) STRICT;

-- Who may use the pages and the API.
CREATE TABLE users (
    name       TEXT PRIMARY KEY,
    role       TEXT NOT NULL,             -- tsg_server::accounts::Role
    password   TEXT NOT NULL,             -- argon2id, in its text form
    since      INTEGER NOT NULL,
    version    INTEGER NOT NULL,          -- counts the changes: each ends the user's sessions
    totp       TEXT                       -- secret of the second factor, in base32 and in clear
) STRICT;

CREATE TABLE api_tokens (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    role       TEXT NOT NULL,
    hash       BLOB NOT NULL UNIQUE,      -- SHA-256 of the secret
    made_by    TEXT NOT NULL,
    since      INTEGER NOT NULL,
    expires    INTEGER NOT NULL
) STRICT;

-- Every policy version that was ever accepted.
CREATE TABLE policy_history (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    who        TEXT NOT NULL,
    group_name TEXT NOT NULL,
    version    INTEGER NOT NULL,
    policy     TEXT NOT NULL              -- JSON: PolicyRecord
) STRICT;

CREATE INDEX policy_history_by_group ON policy_history (group_name, id);

-- What operators ordered and what came of it. Rows are only ever added.
CREATE TABLE audit (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    who        TEXT NOT NULL,
    action     TEXT NOT NULL,
    object     TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    chain      BLOB                       -- SHA-256 over this row and the one before; see database/chain.rs
) STRICT;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE (ABORT, 'the audit trail is append-only');
END;

CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE (ABORT, 'the audit trail is append-only');
END;
