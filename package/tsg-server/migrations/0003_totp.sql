-- The second factor of users.

ALTER TABLE users ADD COLUMN totp TEXT;
