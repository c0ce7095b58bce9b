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
INSERT INTO "groups" VALUES('plant','{"mode":"migrate","default_action":"bypass","non_ip":"pass","encap":"protocol","encap_port":4253,"protocol":253,"cipher":"auto","replay_window":4,"activation_delay":15,"revoke_delay":5,"key_lifetime":86400,"island_time":86400,"fail":"closed","local_bypass":false,"timed_bypass":true}','{"version":3,"policy":{"rules":[{"name":"modbus","action":"encrypt","proto":["tcp"],"dest_port":["502"]}],"default_action":"bypass"},"mode":"migrate","non_ip":"pass","fail":"closed"}','{"version":2,"policy":{"rules":[],"default_action":"bypass"},"mode":"migrate","non_ip":"pass","fail":"closed","retiring":true}',1,'[]');
CREATE TABLE gateways (
    key        TEXT PRIMARY KEY,          -- CURVE public key, base64
    name       TEXT NOT NULL UNIQUE,
    group_name TEXT NOT NULL REFERENCES groups (name),
    revoked    TEXT,                      -- why; NULL for a member
    approved   INTEGER NOT NULL,
    aes        INTEGER NOT NULL,
    machines   TEXT NOT NULL,             -- JSON: addresses that it reports
    pinned     TEXT NOT NULL              -- JSON: addresses that an operator gave
, tags TEXT NOT NULL DEFAULT '[]') STRICT;
INSERT INTO gateways VALUES('AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=','gateway-6668','plant','lost',1795932758,0,'[]','["192.0.2.7"]','["hall-3","line.b"]');
CREATE TABLE tokens (
    id         INTEGER PRIMARY KEY,
    hash       BLOB NOT NULL UNIQUE,      -- SHA-256 of the secret
    group_name TEXT NOT NULL,
    expires    INTEGER NOT NULL,
    used_by    TEXT                       -- key of the gateway that used it up
) STRICT;
INSERT INTO tokens VALUES(1,X'9f4f22af2d5c32b38194470656b53ff2ca049408efeccb97bb09e7b440809448','plant',1796019158,NULL);
CREATE TABLE users (
    name       TEXT PRIMARY KEY,
    role       TEXT NOT NULL,             -- tsg_server::accounts::Role
    password   TEXT NOT NULL,             -- argon2id, in its text form
    since      INTEGER NOT NULL,
    version    INTEGER NOT NULL,          -- counts the changes: each ends the user's sessions
    totp       TEXT                       -- secret of the second factor, in base32
) STRICT;
INSERT INTO users VALUES('ann','admin','$argon2id$v=19$m=65536,t=2,p=1$H7OOTX0xhNTefvWg8geIyA$3b6A6nwbS3pBJnprecUkgMCkCgPSOi5fhyJAdtCExCM',1795932758,1,'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ');
INSERT INTO users VALUES('ben','security-officer','$argon2id$v=19$m=65536,t=2,p=1$CZbG9VEAHhIzn/5AXN13JQ$+DqBwNGMto04voQzu52vZaARGehu29ndIyupNBCFxHU',1795932758,2,NULL);
CREATE TABLE api_tokens (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    role       TEXT NOT NULL,
    hash       BLOB NOT NULL UNIQUE,      -- SHA-256 of the secret
    made_by    TEXT NOT NULL,
    since      INTEGER NOT NULL,
    expires    INTEGER NOT NULL
) STRICT;
INSERT INTO api_tokens VALUES(1,'grafana','viewer',X'03fdc62e63bd303d18ada57badcbb7047298b6b4df0c13329c23e96c4494834c','uid 0 (pid 29195)',1795932758,1827468758);
CREATE TABLE policy_history (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    who        TEXT NOT NULL,
    group_name TEXT NOT NULL,
    version    INTEGER NOT NULL,
    policy     TEXT NOT NULL              -- JSON: PolicyRecord
) STRICT;
INSERT INTO policy_history VALUES(1,1795932758709,'uid 0 (pid 29175)','plant',1,'{"version":1,"policy":{"rules":[],"default_action":"bypass"},"mode":"enforce","non_ip":"pass","fail":"closed"}');
INSERT INTO policy_history VALUES(2,1795932758718,'uid 0 (pid 29177)','plant',2,'{"version":2,"policy":{"rules":[],"default_action":"bypass"},"mode":"migrate","non_ip":"pass","fail":"closed"}');
INSERT INTO policy_history VALUES(3,1795932758725,'uid 0 (pid 29179)','plant',3,'{"version":3,"policy":{"rules":[{"name":"modbus","action":"encrypt","proto":["tcp"],"dest_port":["502"]}],"default_action":"bypass"},"mode":"migrate","non_ip":"pass","fail":"closed"}');
CREATE TABLE audit (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    who        TEXT NOT NULL,
    action     TEXT NOT NULL,
    object     TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    chain      BLOB                       -- SHA-256 over this row and the one before; see database/chain.rs
) STRICT;
INSERT INTO audit VALUES(1,1795932758709,'uid 0 (pid 29175)','group add','plant','done',X'e0784f6efbf07e0edd4986d67102e926a78e26bb9319221b8f4d6083cb73d3b7');
INSERT INTO audit VALUES(2,1795932758718,'uid 0 (pid 29177)','group set','plant: mode=migrate','done',X'b21e3c6223d7c9487ef081078c9c9403ac01dd2d1b8ad501373db280dfab1c71');
INSERT INTO audit VALUES(3,1795932758725,'uid 0 (pid 29179)','policy set','plant: 1 rules','done: version 3',X'42507466756c42c5467d3d00f16c7853ba6c2840d0745cba320e5ca4aa47a212');
INSERT INTO audit VALUES(4,1795932758734,'uid 0 (pid 29181)','gateway approve','AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= into plant','done: 6668-7aad-f862-bd77-6c8f-c18b-8e9f-8e20',X'f573364bb160d30d4e795445f8a8fd5943c0b846c9958ff612449acdb73514b6');
INSERT INTO audit VALUES(5,1795932758741,'uid 0 (pid 29183)','gateway pin','gateway-6668: 192.0.2.7','done',X'dd60098acf212e67b29f45aa23f1f0577763161719b57b71b76854c08f8886c3');
INSERT INTO audit VALUES(6,1795932758749,'uid 0 (pid 29185)','token create','plant, 86400 seconds','done: token 1',X'cebf44f352d6015d517ca938cc6915b36d8074077fa514dce396034e4e115dc3');
INSERT INTO audit VALUES(7,1795932758834,'uid 0 (pid 29188)','user add','ann as admin','done',X'f426f8f6be4c9e71a8c29b20bb9bfad472bb526675c4efb645a0b96473a3532c');
INSERT INTO audit VALUES(8,1795932758935,'uid 0 (pid 29191)','user add','ben as viewer','done',X'84bc5fd178039b86058932fbc8b6ed0675130e2bf2d33678e7b7d6da82eb4d97');
INSERT INTO audit VALUES(9,1795932758943,'uid 0 (pid 29193)','user set role','ben: security-officer','done',X'0e36478ba7c67f75bfacba215665cf606872f06da77185a808121ec0534bd529');
INSERT INTO audit VALUES(10,1795932758950,'uid 0 (pid 29195)','api-token create','grafana as viewer, 31536000 seconds','done: API token 1',X'f9528c986482b76e7e98f46a31a4610096747282e6c7a08f589604a939dea568');
INSERT INTO audit VALUES(11,1795932758957,'uid 0 (pid 29197)','gateway revoke','gateway-6668: lost','done',X'2388cb257cdf5c1dc6c3560c9ae4b57692bf33e9a1467d0e40c7526aacfa6168');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('policy_history',3);
INSERT INTO sqlite_sequence VALUES('audit',11);
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
