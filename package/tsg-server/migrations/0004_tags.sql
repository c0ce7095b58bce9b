-- Words that operators put on gateways.

ALTER TABLE gateways ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
