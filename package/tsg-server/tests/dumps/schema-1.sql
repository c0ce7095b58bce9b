PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE groups (
    name       TEXT PRIMARY KEY,
    settings   TEXT NOT NULL,             -- JSON: tsg_control::group::Settings
    policy     TEXT NOT NULL,             -- JSON: the newest PolicyRecord
    previous   TEXT,                      -- JSON: the one in force while the newest is prepared
    last_epoch INTEGER NOT NULL,
    epochs     TEXT NOT NULL              -- JSON: those in which members may seal
) STRICT;
INSERT INTO "groups" VALUES('plant','{"mode":"migrate","default_action":"bypass","non_ip":"pass","encap":"protocol","encap_port":4253,"protocol":253,"cipher":"auto","replay_window":4,"activation_delay":15,"revoke_delay":5,"key_lifetime":86400,"island_time":86400,"fail":"closed","local_bypass":false}','{"version":3,"policy":{"rules":[{"name":"modbus","action":"encrypt","proto":["tcp"],"dest_port":["502"]}],"default_action":"bypass"},"mode":"migrate","non_ip":"pass","fail":"closed"}','{"version":2,"policy":{"rules":[],"default_action":"bypass"},"mode":"migrate","non_ip":"pass","fail":"closed"}',1,'[{"id":1,"ends":1795275985846}]');
CREATE TABLE gateways (
    key        TEXT PRIMARY KEY,          -- CURVE public key, base64
    name       TEXT NOT NULL UNIQUE,
    group_name TEXT NOT NULL REFERENCES groups (name),
    revoked    TEXT,                      -- why; NULL for a member
    approved   INTEGER NOT NULL,
    aes        INTEGER NOT NULL,
    machines   TEXT NOT NULL,             -- JSON: addresses that it reports
    pinned     TEXT NOT NULL              -- JSON: addresses that an operator gave
) STRICT;
INSERT INTO gateways VALUES('AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=','gateway-6668','plant','lost',1795189585,0,'[]','["192.0.2.7"]');
CREATE TABLE tokens (
    id         INTEGER PRIMARY KEY,
    hash       BLOB NOT NULL UNIQUE,      -- SHA-256 of the secret
    group_name TEXT NOT NULL,
    expires    INTEGER NOT NULL,
    used_by    TEXT                       -- key of the gateway that used it up
) STRICT;
INSERT INTO tokens VALUES(1,X'd91df09bde20512565ec89ef83123c1d69a895f6f519cc2fc0b58c5e60f06a1d','plant',1795275985,NULL);
CREATE TABLE policy_history (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    who        TEXT NOT NULL,
    group_name TEXT NOT NULL,
    version    INTEGER NOT NULL,
    policy     TEXT NOT NULL              -- JSON: PolicyRecord
) STRICT;
INSERT INTO policy_history VALUES(1,1795189585763,'uid 0 (pid 11079)','plant',1,'{"version":1,"policy":{"rules":[],"default_action":"bypass"},"mode":"enforce","non_ip":"pass","fail":"closed"}');
INSERT INTO policy_history VALUES(2,1795189585801,'uid 0 (pid 11088)','plant',2,'{"version":2,"policy":{"rules":[],"default_action":"bypass"},"mode":"migrate","non_ip":"pass","fail":"closed"}');
INSERT INTO policy_history VALUES(3,1795189585812,'uid 0 (pid 11098)','plant',3,'{"version":3,"policy":{"rules":[{"name":"modbus","action":"encrypt","proto":["tcp"],"dest_port":["502"]}],"default_action":"bypass"},"mode":"migrate","non_ip":"pass","fail":"closed"}');
CREATE TABLE audit (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    who        TEXT NOT NULL,
    action     TEXT NOT NULL,
    object     TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    chain      BLOB                       -- room for a hash over this row and the one before
) STRICT;
INSERT INTO audit VALUES(1,1795189585763,'uid 0 (pid 11079)','group add','plant','done',NULL);
INSERT INTO audit VALUES(2,1795189585801,'uid 0 (pid 11088)','group set','plant: mode=migrate','done',NULL);
INSERT INTO audit VALUES(3,1795189585812,'uid 0 (pid 11098)','policy set','plant: 1 rules','done: version 3',NULL);
INSERT INTO audit VALUES(4,1795189585846,'uid 0 (pid 11105)','gateway approve','AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= into plant','done: 6668-7aad-f862-bd77-6c8f-c18b-8e9f-8e20',NULL);
INSERT INTO audit VALUES(5,1795189585869,'uid 0 (pid 11114)','gateway pin','gateway-6668: 192.0.2.7','done',NULL);
INSERT INTO audit VALUES(6,1795189585882,'uid 0 (pid 11118)','token create','plant, 86400 seconds','done: token 1',NULL);
INSERT INTO audit VALUES(7,1795189585890,'uid 0 (pid 11120)','gateway revoke','gateway-6668: lost','done',NULL);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('policy_history',3);
INSERT INTO sqlite_sequence VALUES('audit',7);
CREATE INDEX gateways_by_group ON gateways (group_name);
CREATE INDEX policy_history_by_group ON policy_history (group_name, id);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE (ABORT, 'the audit trail is append-only');
END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE (ABORT, 'the audit trail is append-only');
END;
COMMIT;
